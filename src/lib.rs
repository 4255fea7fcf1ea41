//! dropline: drop somebody a line, and it is there, in order, once, when they look.
//!
//! The three programs are one call each into this library; the daemon has an allocator of its own. In reading order:
//!
//! - `sys`: what we ask of the kernel, and the only unsafe code.
//! - `name`, `message`: what is said, and by whom; each value is checked once, in its constructor.
//! - `config`: the keys of droplined.toml with their defaults, and where things are by default.
//! - `wire`: what is said on the wire, as pure functions.
//! - `store`: where messages are kept; the interface, and behind it the spool.
//! - `server`: `droplined`, which forks a child for each connection.
//! - `client`: `dropline`, the menu and the commands.
//! - `admin`: `droplinectl`, for operators.
//!
//! Imports run down this list's dependencies only: `wire` knows names and messages, `store` the kernel
//! but not the wire, `server` and `client` never meet. A test reads the `use` lines.

//! # Where a change belongs
//!
//! What the compiler does not find is marked with (!). Texts for users are in README.md, `etc/man` and CHANGELOG.md (!).
//!
//! - **A sentence or a code of a refusal**: the table in `wire/line/refusal.rs`, for server and client, all dialects.
//! - **A request of the session dialect**: `wire/session/request.rs` (variant, reading in `simple` (!), writing), an arm of
//!   `Session::answer` in `server/talk/session/mod.rs` with a method in `mailbox.rs` beside it, and the client's method in
//!   `client/link/mailbox.rs`. A new form of answer: `wire/session/answer.rs`.
//! - **A key of the configuration, its default or range** (leases, limits, times): `config/keys.rs` alone; its head has the
//!   command that writes manual and shipped file anew. Clients are told the value, or take the default from there.
//! - **A command of dropline**: a file in `client/command`, a variant and an arm in `client/command/mod.rs`. A column or line
//!   of output: the command's file. **Of droplinectl**: `admin/cli.rs`, `admin/mod.rs`; lists of it are in `admin/list.rs`,
//!   the progress of long commands is in `admin/progress.rs`.
//! - **A line of the log about a request**: where the request is served, `server/talk/{line,framed,session}`.
//! - **A signal of the daemon**: trapped in `server/signals.rs`, acted upon in `Master::run` (!) in `server/master.rs`.
//! - **Which characters a name has**: `name.rs`; a dialect with a rule of its own has a list in `wire`.
//! - **A field of a message**: a type of `message::Fields`, which the spool, export and import keep without a change; then
//!   `wire/session/{request,answer}.rs` and the client's `message_view.rs`.
//! - **A kind of trust or of client**: `message::Trust` (from_number, FromStr (!)) and `server/principal.rs`, which decides.
//! - **A storage engine**: `Engine` and `open`, `look_at` in `store/mod.rs`; `tests/store_contract` holds it to its promises.
//! - **Another transport (TLS)**: an implementation of `Transport` in `server/transport.rs`, chosen in `server/child.rs`.
//! - **A helper process**: a task in `server/helpers.rs`; `server/supervisor.rs` starts it, and again when it ends.

mod admin;
mod client;
mod config;
mod message;
mod name;
mod server;
mod store;
mod sys;
mod wire;

#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;

pub use admin::main as droplinectl;
pub use client::main as dropline;
pub use server::main as droplined;
pub use sys::heap::Heap as DroplinedAllocator;
