//! The interface to the kernel, with all of the program's unsafe code.
//!
//! Other modules make system calls through these modules or the standard library only. Nothing here depends on
//! mailboxes or messages.
#![expect(
    unsafe_code,
    reason = "the one place where system calls without a safe wrapper are made"
)]

pub(crate) mod board;
pub(crate) mod clock;
pub(crate) mod connect;
pub(crate) mod dir;
pub(crate) mod file;
mod futex;
pub(crate) mod heap;
pub(crate) mod helper;
pub(crate) mod lock;
pub(crate) mod login;
pub(crate) mod machine;
pub(crate) mod new_dir;
#[cfg(test)]
pub(crate) mod operation_log;
pub(crate) mod own_path;
pub(crate) mod passing;
pub(crate) mod peer;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod sandbox;
pub(crate) mod shared;
pub(crate) mod signal;
pub(crate) mod sock_diag;
pub(crate) mod socket;
pub(crate) mod stdio;
pub(crate) mod submission_queue;
pub(crate) mod terminal;
pub(crate) mod title;

// Link the unwinder statically. The shared library (libgcc_s) would add five mappings that each fork copies.
#[cfg(target_env = "gnu")]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}
