//! dropline: a messaging daemon (`droplined`) with its client (`dropline`) and its operator's tool (`droplinectl`).
//!
//! Each program is one call into this library; the daemon also has its own allocator. In reading order:
//!
//! - `sys`: calls to the kernel, and the only unsafe code.
//! - `name`, `message`: domain values; each is validated once, in its constructor.
//! - `config`: the keys of droplined.toml with their defaults, and the default paths.
//! - `wire`: the protocols, as pure functions.
//! - `store`: the interface of a store of messages, and the spool that implements it.
//! - `server`: `droplined`, which forks a child for each connection.
//! - `client`: `dropline`, its menu and its commands.
//! - `admin`: `droplinectl`, for operators.
//!
//! A module imports only modules above it. In addition, `wire` imports only `name` and `message`, `store` and `admin`
//! do not import `wire`, `client` does not import `store`, and the programs do not import each other. `tests/house.rs`
//! checks the `use` lines.
//!
//! `docs/architecture.md` describes the processes, the path of a request, the lock order and the files on disk. For
//! each common change, it lists the places to edit, in particular those that the compiler does not find.

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
