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
//! - **A request of the session dialect**: `wire/session/request.rs` (variant of `Request`, reading in `simple` (!), writing in
//!   `encode_request`), an arm of `Session::answer` in `server/talk/session/mod.rs` with its method in `mailbox.rs` or
//!   `presence.rs` beside it, and the client's method in `client/link/mailbox.rs` or `presence.rs`. What the store knows of a
//!   mailbox is in `Mail` and `Reading` (`store/mod.rs`). A new form of answer: `wire/session/answer.rs`.
//! - **A key of the configuration, its default or range** (leases, limits, times): `config/keys.rs` alone; its head has the
//!   command that writes manual and shipped file anew. Clients are told the value, or take the default from there.
//! - **A command of dropline**: a file in `client/command`, a variant and an arm in `client/command/mod.rs`; its head says how
//!   manual and completions are written anew. A column or line of output: the command's file. **Of droplinectl**:
//!   `admin/cli.rs`, `admin/mod.rs`; its lists are in `admin/list.rs`, the progress of long commands in `admin/progress.rs`.
//! - **A line of the log about a request**: where the request is served, `server/talk/{line,framed,session}`.
//! - **A signal of the daemon**: trapped in `Signals::trapped` (`server/signals.rs`), acted upon in `Master::run` (!)
//!   (`server/master.rs`). **The log itself**: `server/logging/mod.rs` opens standard error or syslog (`syslog.rs` beside it
//!   reconnects); children, supervisor and helpers inherit the descriptor, and hear nothing from the master but their end.
//! - **Which characters a name has**: `Name::new` in `name.rs`; the framed dialect has a list of its own, `is_registrable` in
//!   `wire/framed.rs`.
//! - **A field of a message**: a type of `message::Fields`, which the spool, export and import keep without a change. It is
//!   filled where a draft is made, `server/talk/session/send.rs` (!) (and `talk/conversation.rs` for the other dialects), and
//!   goes out in `wire/session/{request,answer}.rs`. The client has it in `message_view.rs`, and keeps messages of its own in
//!   `outbox/entry.rs`, `inbox/entry.rs` and `wire/datagram.rs` (!).
//! - **A kind of trust or of client**: `message::Trust` (`from_number`, `FromStr` (!)) and `Principal` in
//!   `server/principal.rs`, which decides; a session says its name in `HELLO`, `server/talk/session/state.rs`.
//! - **A storage engine**: `Engine`, `open` and `look_at` in `store/mod.rs`, and a key in `config/keys.rs` to choose it;
//!   `hold!` of `tests/store_contract` in its tests (!) holds it to its promises.
//! - **Another transport (TLS)**: an implementation of `Transport` in `server/transport.rs`, chosen in `ChildContext::talk` in
//!   `server/child.rs`. What the master refuses before the fork goes out in plain text, `server/gate.rs` (!).
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
