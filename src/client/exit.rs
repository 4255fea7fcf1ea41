//! The exit statuses, those of sysexits.h.

/// It was done.
pub(super) const DONE: u8 = 0;
/// There is nothing.
pub(super) const NOTHING: u8 = 1;
/// The command line is wrong.
pub(super) const USAGE: u8 = 64;
/// The message cannot be sent.
pub(super) const BAD_DATA: u8 = 65;
/// Standard input cannot be read.
pub(super) const NO_INPUT: u8 = 66;
/// Nobody has that name.
pub(super) const NO_USER: u8 = 67;
/// There is no server, or it refuses.
pub(super) const UNAVAILABLE: u8 = 69;
/// The system has failed.
pub(super) const SYSTEM: u8 = 71;
/// Something cannot be written.
pub(super) const CANNOT_WRITE: u8 = 73;
/// Later: the message is queued, or somebody else is busy with it.
pub(super) const LATER: u8 = 75;
/// What answers is no server, or does not speak the dialect.
pub(super) const PROTOCOL: u8 = 76;
/// The server does not allow it.
pub(super) const NOT_ALLOWED: u8 = 77;
/// The configuration is wrong.
pub(super) const CONFIGURATION: u8 = 78;
