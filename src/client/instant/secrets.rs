//! The secrets that this client has given to the server, with which it opens sealed messages.
//!
//! The menu announces a secret to the listener before the server gets it. A secret stays valid for some time after the
//! server has replaced it, because senders may have tickets for it.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::message::{Hex, MessageId, MessageKey, TicketSecret, Trust, from_hex};
use crate::sys::clock::Deadline;
use crate::wire::datagram::{Opened, Sealed, TicketNonce};

/// Most tickets of one secret that are remembered. Messages under further ones are dropped, and their senders store them
/// on the server.
const MOST_TICKETS: usize = 65_536;

/// A secret, as the menu announces it to the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) struct HeldSecret {
    pub(in crate::client) secret: TicketSecret,
    /// Whether the server that has it is verified. If not, senders are shown as unverified.
    pub(in crate::client) is_verified: bool,
    /// For how much longer it is valid.
    pub(in crate::client) left: Duration,
}

/// The form in which the menu sends it: the secret, the seconds, and 1 if the server is verified.
impl fmt::Display for HeldSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secret, left) = (Hex(&self.secret.0), self.left.as_secs());
        write!(f, "{secret} {left} {}", u8::from(self.is_verified))
    }
}

impl FromStr for HeldSecret {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut fields = text.split(' ');
        let mut field = || fields.next().ok_or(());
        Ok(Self {
            secret: TicketSecret(from_hex(field()?).ok_or(())?),
            left: Duration::from_secs(field()?.parse().map_err(drop)?),
            is_verified: field()? == "1",
        })
    }
}

/// The secrets of one listener.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<KnownSecret>);

#[derive(Debug)]
struct KnownSecret {
    secret: TicketSecret,
    is_verified: bool,
    until: Deadline,
    /// The message of each ticket used so far.
    used: HashMap<TicketNonce, MessageId>,
}

impl Secrets {
    /// Adds a secret, or changes how long it is valid.
    pub(super) fn hold(&mut self, held: HeldSecret) {
        let HeldSecret {
            secret,
            is_verified,
            left,
        } = held;
        let until = Deadline::after(left);
        match self.0.iter_mut().find(|known| known.secret == secret) {
            Some(known) => {
                // A server that was not verified when it got the secret may be another one than that of today.
                known.is_verified &= is_verified;
                known.until = until;
            }
            None => self.0.push(KnownSecret {
                secret,
                is_verified,
                until,
                used: HashMap::new(),
            }),
        }
    }

    /// Opens a message. Returns its key, with the trust that this client has in the sender, and its content. `None` if
    /// no secret opens it, or if its ticket was used for another message.
    pub(super) fn open(&mut self, sealed: &Sealed<'_>) -> Option<(MessageKey, Opened)> {
        self.0.retain(|known| !known.until.passed());
        let (opened, known) = self
            .0
            .iter_mut()
            .find_map(|known| Some((sealed.open(&known.secret)?, known)))?;
        if known.used.len() >= MOST_TICKETS && !known.used.contains_key(&sealed.nonce) {
            return None;
        }
        let used = *known.used.entry(sealed.nonce).or_insert(sealed.key.id);
        if used != sealed.key.id {
            return None;
        }
        let mut key = sealed.key.clone();
        if !known.is_verified {
            key.trust = Trust::Open;
        }
        Some((key, opened))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::datagram::{
        Datagram, Letter, SECRET_LIFETIME, Ticket, TicketKey, decode, seal,
    };

    fn held(number: u8, is_verified: bool, left: Duration) -> HeldSecret {
        HeldSecret {
            secret: TicketSecret([number; 32]),
            is_verified,
            left,
        }
    }

    fn datagram(secret: u8, nonce: u8, id: u8) -> Vec<u8> {
        let letter = Letter {
            id: MessageId([id; 16]),
            at: 1,
            from: "al".parse().expect("a name"),
            to: "bob".parse().expect("a name"),
            body: b"hi",
        };
        let (secret, nonce) = (TicketSecret([secret; 32]), TicketNonce([nonce; 16]));
        let key = TicketKey::derive(&secret, nonce, Trust::Local, &letter.from, &letter.to);
        seal(&letter, Trust::Local, &Ticket { nonce, key }).expect("fits")
    }

    /// Returns the trust in the sender.
    fn open(secrets: &mut Secrets, bytes: &[u8]) -> Option<Trust> {
        let Ok(Datagram::Sealed(sealed)) = decode(bytes) else {
            panic!("a sealed datagram");
        };
        secrets.open(&sealed).map(|(key, _)| key.trust)
    }

    #[test]
    fn a_secret_is_written_and_read() {
        let held = held(0xa5, true, SECRET_LIFETIME);
        assert_eq!(held.to_string().parse(), Ok(held));
        for wrong in [
            "",
            "00 1 1",
            &"0".repeat(64),
            &format!("{} x 1", "0".repeat(64)),
        ] {
            assert_eq!(wrong.parse::<HeldSecret>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn only_held_secrets_open_messages() {
        let mut secrets = Secrets::default();
        assert_eq!(open(&mut secrets, &datagram(1, 1, 1)), None);
        secrets.hold(held(1, true, SECRET_LIFETIME));
        secrets.hold(held(2, false, SECRET_LIFETIME));
        assert_eq!(open(&mut secrets, &datagram(1, 1, 1)), Some(Trust::Local));
        assert_eq!(
            open(&mut secrets, &datagram(2, 1, 1)),
            Some(Trust::Open),
            "from a server that is not verified"
        );
        assert_eq!(open(&mut secrets, &datagram(3, 1, 1)), None);
        secrets.hold(held(2, true, SECRET_LIFETIME));
        assert_eq!(
            open(&mut secrets, &datagram(2, 1, 1)),
            Some(Trust::Open),
            "the server that got it was not verified"
        );
        secrets.hold(held(1, true, Duration::ZERO));
        assert_eq!(open(&mut secrets, &datagram(1, 1, 1)), None, "it has ended");
        assert_eq!(secrets.0.len(), 1);
    }

    #[test]
    fn a_ticket_opens_one_message_as_often_as_it_comes() {
        let mut secrets = Secrets::default();
        secrets.hold(held(1, true, SECRET_LIFETIME));
        assert!(open(&mut secrets, &datagram(1, 1, 1)).is_some());
        assert!(open(&mut secrets, &datagram(1, 1, 1)).is_some());
        assert_eq!(open(&mut secrets, &datagram(1, 1, 2)), None);
        assert!(open(&mut secrets, &datagram(1, 2, 2)).is_some());
    }
}
