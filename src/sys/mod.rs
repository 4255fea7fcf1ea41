//! What we ask of the kernel, and the only unsafe code of the house.
//!
//! Everything above speaks to the kernel through these modules or through the standard library. They
//! know nothing of mailboxes and messages.
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
#[cfg(test)]
pub(crate) mod operation_log;
pub(crate) mod peer;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod sandbox;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod stdio;
pub(crate) mod submission_queue;
pub(crate) mod terminal;
pub(crate) mod title;

// What unwinds a panic is part of the program: as a library of its own (libgcc_s) it would be five more mappings to
// copy with each fork.
#[cfg(target_env = "gnu")]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}
