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
