//! The exit statuses. Those from 64 on are from sysexits.h.

pub(super) const DONE: u8 = 0;
/// `count` found no waiting message.
pub(super) const NOTHING: u8 = 1;
/// The command line is wrong.
pub(super) const USAGE: u8 = 64;
/// The message is invalid or too long.
pub(super) const BAD_DATA: u8 = 65;
/// Standard input cannot be read.
pub(super) const NO_INPUT: u8 = 66;
/// The user does not exist, or the dialect does not allow the name.
pub(super) const NO_USER: u8 = 67;
/// The server cannot be reached, or refuses the request.
pub(super) const UNAVAILABLE: u8 = 69;
/// The operating system failed.
pub(super) const SYSTEM: u8 = 71;
/// Standard output or the outbox cannot be written.
pub(super) const CANNOT_WRITE: u8 = 73;
/// A temporary failure: the message is queued, or another process holds the lock.
pub(super) const LATER: u8 = 75;
/// The peer is not a dropline server, or does not support the dialect.
pub(super) const PROTOCOL: u8 = 76;
/// The server denies permission.
pub(super) const NOT_ALLOWED: u8 = 77;
/// The configuration is wrong.
pub(super) const CONFIGURATION: u8 = 78;
