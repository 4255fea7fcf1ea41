//! One module a command.

pub(super) mod read;
pub(super) mod send;
pub(super) mod who;
