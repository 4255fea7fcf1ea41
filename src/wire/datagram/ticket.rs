//! Tickets: keys that the server derives, one for each message, from a secret that it shares with the receiver.
//!
//! The receiver derives the same key from the names and the trust in a datagram. If it opens the datagram, the server
//! has issued the ticket to this sender with this trust.

use std::fmt;
use std::time::Duration;

use ring::hmac;

use crate::message::{TicketSecret, Trust};
use crate::name::Name;

/// Distinguishes these keys from all others that might be derived from the secret.
const PURPOSE: &[u8] = b"dropline ticket 1";

/// How long a receiver takes messages sealed with a secret, unless it tells the server another one.
pub(crate) const SECRET_LIFETIME: Duration = Duration::from_secs(600);
/// How long it takes them after the server has replaced the secret.
pub(crate) const SECRET_OVERLAP: Duration = Duration::from_secs(90);

/// What the server issues to the sender of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) nonce: TicketNonce,
    pub(crate) key: TicketKey,
}

/// The random number of a ticket, which its datagram repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TicketNonce(pub(crate) [u8; 16]);

/// The key of a ticket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TicketKey(pub(crate) [u8; 32]);

impl TicketKey {
    /// Derives the key for a message from `from`, whom the server trusts this far, to `to`, whose secret this is.
    pub(crate) fn derive(
        secret: &TicketSecret,
        nonce: TicketNonce,
        trust: Trust,
        from: &Name,
        to: &Name,
    ) -> Self {
        let trust = [trust as u8];
        let (from, to) = (from.as_bytes(), to.as_bytes());
        Self(mac(
            &secret.0,
            &[
                PURPOSE,
                &nonce.0,
                &trust,
                &[byte(from.len())],
                from,
                &[byte(to.len())],
                to,
            ],
        ))
    }

    /// Derives a key for one purpose.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        mac(&self.0, parts)
    }
}

/// The key does not appear in error messages.
impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

/// Returns the length of a name as one byte.
pub(super) fn byte(len: usize) -> u8 {
    // A name has at most 50 bytes.
    u8::try_from(len).unwrap_or(u8::MAX)
}

/// Returns HMAC-SHA-256 (RFC 2104) of the concatenated parts.
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let tag = context.sign();
    // The tag of SHA-256 has 32 bytes.
    tag.as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::from_hex;

    /// RFC 4231, cases 2 and 6.
    #[test]
    fn the_mac_is_hmac_sha_256() {
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let parts: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
        assert_eq!(Some(mac(b"Jefe", &parts)), from_hex(expected));
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(Some(mac(&[0xaa; 131], &[text])), from_hex(expected));
    }

    #[test]
    fn every_part_of_a_ticket_changes_the_key() {
        let n = |text: &str| text.parse::<Name>().expect("a name");
        let (secret, nonce) = (TicketSecret([1; 32]), TicketNonce([2; 16]));
        let keys = [
            TicketKey::derive(&secret, nonce, Trust::Local, &n("al"), &n("bob")),
            TicketKey::derive(&secret, nonce, Trust::Open, &n("al"), &n("bob")),
            TicketKey::derive(&secret, nonce, Trust::Local, &n("alb"), &n("ob")),
            TicketKey::derive(&secret, nonce, Trust::Local, &n("bob"), &n("al")),
            TicketKey::derive(
                &secret,
                TicketNonce([3; 16]),
                Trust::Local,
                &n("al"),
                &n("bob"),
            ),
            TicketKey::derive(
                &TicketSecret([3; 32]),
                nonce,
                Trust::Local,
                &n("al"),
                &n("bob"),
            ),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
    }
}
