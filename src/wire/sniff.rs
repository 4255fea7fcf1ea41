//! Detects a client's dialect from its first bytes.

use super::session::OPENING;

/// A dialect of the TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `store;...` and `fetch;...`, one request per connection.
    Line,
    /// Text lines and counted bodies, many requests per connection.
    Session,
    /// The frames of the older chat client.
    Framed,
    /// A TLS handshake.
    Tls,
}

/// Returns the dialect of a client whose first bytes are `first`, or `None` if more bytes are needed.
pub(crate) fn sniff(first: &[u8]) -> Option<Dialect> {
    match first {
        [] => None,
        [0x00, ..] => Some(Dialect::Framed),
        [0x16, ..] => Some(Dialect::Tls),
        _ if first.starts_with(OPENING) => Some(Dialect::Session),
        _ if OPENING.starts_with(first) => None,
        _ => Some(Dialect::Line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_dialect() {
        assert_eq!(sniff(b""), None);
        assert_eq!(sniff(b"\0"), Some(Dialect::Framed));
        assert_eq!(sniff(b"\x16\x03\x01"), Some(Dialect::Tls));
        assert_eq!(sniff(b"store;a;b;c"), Some(Dialect::Line));
        assert_eq!(sniff(b"\n"), Some(Dialect::Line));
        assert_eq!(sniff(b"HEL"), None);
        assert_eq!(sniff(b"HELP"), Some(Dialect::Line));
        assert_eq!(sniff(b"HELLO dropline/1 name=a"), Some(Dialect::Session));
    }
}
