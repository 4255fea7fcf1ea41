//! The wire formats as pure functions: bytes in, values out. No I/O, no clock.
#![forbid(unsafe_code)]

pub(crate) mod code;
pub(crate) mod datagram;
pub(crate) mod framed;
pub(crate) mod line;
pub(crate) mod session;
pub(crate) mod sniff;
mod visible;

#[cfg(test)]
mod tests;
