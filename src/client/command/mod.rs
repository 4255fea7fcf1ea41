//! One module a command, or a few that belong together.

pub(super) mod config;
pub(super) mod follow;
pub(super) mod look;
pub(super) mod outbox;
pub(super) mod read;
pub(super) mod reference;
pub(super) mod run;
pub(super) mod send;
