//! The answers of the session dialect, their encoder and their decoder.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::fields::{AnswerFields, MAX_LINE, first_line};
use crate::message::{Hex, LARGEST_MAX_BODY, MessageId, Speaks, Trust, from_hex};
use crate::name::Name;
use crate::wire::code::Code;
use crate::wire::datagram::{Ticket, TicketKey, TicketNonce};

/// The interval between `PING` lines to a client whose watch is idle.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(30);

/// An answer line under construction.
#[derive(Debug)]
pub(crate) struct AnswerLine<'o> {
    out: &'o mut Vec<u8>,
    text: String,
}

impl<'o> AnswerLine<'o> {
    /// Begins a line with this word.
    pub(crate) fn begin(out: &'o mut Vec<u8>, word: &str) -> Self {
        Self {
            out,
            text: word.to_owned(),
        }
    }

    /// Appends ` key=value`. The value must not contain a space.
    pub(crate) fn field(mut self, key: &str, value: impl fmt::Display) -> Self {
        let _ = write!(self.text, " {key}={value}");
        self
    }

    fn online_at(self, address: &SocketAddr, speaks: Speaks) -> Self {
        self.field("online", 1)
            .field("addr", address.ip())
            .field("port", address.port())
            .field("speaks", speaks)
    }

    /// Appends a word, or the sentence of an error.
    pub(crate) fn word(mut self, word: impl fmt::Display) -> Self {
        let _ = write!(self.text, " {word}");
        self
    }

    /// Ends the line and appends it to the output.
    pub(crate) fn end(self) {
        // Errors may quote untrusted input, which must neither break the line nor exceed its length.
        let text = self.text.replace(char::is_control, "?");
        let longest = text.len().min(MAX_LINE - 1);
        let most = (0..=longest).rev().find(|at| text.is_char_boundary(*at));
        let most = most.unwrap_or_default();
        self.out.extend_from_slice(&text.as_bytes()[..most]);
        self.out.push(b'\n');
    }
}

/// A delivered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// The number in the mailbox.
    pub(crate) seq: u64,
    pub(crate) id: MessageId,
    pub(crate) from: Name,
    /// How the sender's name was verified.
    pub(crate) trust: Trust,
    /// The time of acceptance, in milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) body: &'a [u8],
}

/// Appends the answer to a `SEND`.
pub(crate) fn encode_stored(out: &mut Vec<u8>, id: MessageId, to: &Name, seq: u64) {
    out.extend_from_slice(b"OK id=");
    out.extend_from_slice(&id.hex());
    out.extend_from_slice(b" to=");
    out.extend_from_slice(to.as_bytes());
    out.extend_from_slice(b" seq=");
    out.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
    out.push(b'\n');
}

/// Appends a message. For speed, this does not use [`AnswerLine`]: no field of a message can break the line.
pub(crate) fn encode_message(out: &mut Vec<u8>, message: &Message<'_>) {
    const MOST_FIELDS: usize = 256;
    // The pattern is exhaustive so that a new field cannot be forgotten here.
    let Message {
        seq,
        id,
        from,
        trust,
        at,
        body,
    } = message;
    let mut number = itoa::Buffer::new();
    out.reserve(MOST_FIELDS + body.len());
    out.extend_from_slice(b"MSG seq=");
    out.extend_from_slice(number.format(*seq).as_bytes());
    out.extend_from_slice(b" id=");
    out.extend_from_slice(&id.hex());
    out.extend_from_slice(b" from=");
    out.extend_from_slice(from.as_bytes());
    out.extend_from_slice(b" trust=");
    out.extend_from_slice(trust.as_str().as_bytes());
    out.extend_from_slice(b" at=");
    out.extend_from_slice(number.format(*at).as_bytes());
    out.extend_from_slice(b" len=");
    out.extend_from_slice(number.format(body.len()).as_bytes());
    out.push(b'\n');
    out.extend_from_slice(body);
    out.push(b'\n');
}

/// Where a name is online, and how to send an instant message to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Offline,
    /// It is online, but takes no instant messages from this client.
    Closed,
    /// Messages in the text form go to this UDP address.
    Text(SocketAddr),
    /// One message, sealed with this ticket, goes to this UDP address.
    Sealed(SocketAddr, Ticket),
}

/// Appends the answer to `LOOKUP`.
pub(crate) fn encode_location(out: &mut Vec<u8>, name: &Name, location: &Location) {
    let line = AnswerLine::begin(out, "OK").field("name", name);
    match location {
        Location::Offline => line.field("online", 0).end(),
        Location::Closed => line.field("online", 1).end(),
        Location::Text(address) => line.online_at(address, Speaks::Text).end(),
        Location::Sealed(address, Ticket { nonce, key }) => line
            .online_at(address, Speaks::Sealed)
            .field("nonce", Hex(&nonce.0))
            .field("key", Hex(&key.0))
            .end(),
    }
}

/// Appends a `USER` line. Times are in milliseconds since 1970. Without `online_since`, the name is offline.
pub(crate) fn encode_user(out: &mut Vec<u8>, name: &Name, since: u64, online_since: Option<u64>) {
    let line = AnswerLine::begin(out, "USER")
        .field("name", name)
        .field("online", u8::from(online_since.is_some()))
        .field("since", since);
    match online_since {
        Some(online_since) => line.field("online-since", online_since).end(),
        None => line.end(),
    }
}

/// Appends the `END` of `n` messages or users: whether there are more, and how many messages wait, if known.
pub(crate) fn encode_end(out: &mut Vec<u8>, n: u64, more: bool, waiting: Option<u64>) {
    let line = AnswerLine::begin(out, "END")
        .field("n", n)
        .field("more", u8::from(more));
    match waiting {
        Some(waiting) => line.field("waiting", waiting).end(),
        None => line.end(),
    }
}

impl AnswerFields<'_> {
    /// Decodes the answer to `LOOKUP`; `None` if it is malformed.
    pub(crate) fn location(self) -> Option<Location> {
        if !self.is_online() {
            return Some(Location::Offline);
        }
        // A form of datagrams that this version does not support is as good as none.
        let speaks = self.get("speaks").and_then(|speaks| speaks.parse().ok());
        let (Some(ip), Some(speaks)) = (self.get("addr"), speaks) else {
            return Some(Location::Closed);
        };
        let ip: IpAddr = ip.parse().ok()?;
        let address = SocketAddr::new(ip, u16::try_from(self.number("port")?).ok()?);
        Some(match (speaks, self.get("nonce"), self.get("key")) {
            (Speaks::Text, ..) => Location::Text(address),
            (Speaks::Sealed, Some(nonce), Some(key)) => {
                let (nonce, key) = (TicketNonce(from_hex(nonce)?), TicketKey(from_hex(key)?));
                Location::Sealed(address, Ticket { nonce, key })
            }
            (Speaks::Sealed, ..) => Location::Closed,
        })
    }

    /// Returns how far the server trusts this client, according to the answer to `HELLO`. `None` if the server has not
    /// said it, or in a word that this version does not support.
    pub(crate) fn trust(self) -> Option<Trust> {
        self.get("trust")?.parse().ok()
    }

    /// Decodes a `USER` line: the name, and whether it is online.
    pub(crate) fn user(self) -> Option<(Name, bool)> {
        Some((self.name("name")?, self.is_online()))
    }

    /// Returns whether an `END` line announces more.
    pub(crate) fn more(self) -> bool {
        self.number("more").unwrap_or(0) > 0
    }

    /// Returns how many messages wait according to an `END` line, or 0 if it has no such field.
    pub(crate) fn waiting(self) -> u64 {
        self.number("waiting").unwrap_or(0)
    }

    fn is_online(self) -> bool {
        self.number("online") == Some(1)
    }
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// Success.
    Ok(AnswerFields<'a>),
    /// Failure: the kind of the error, and a sentence for people.
    Err(Code, &'a str),
    Message(Message<'a>),
    /// A registered name.
    User(AnswerFields<'a>),
    /// The end of the messages or users.
    End(AnswerFields<'a>),
    /// The server is alive.
    Ping,
}

/// Decodes the part of an answer that `received` begins with, and its length in bytes. `None` while it is incomplete.
///
/// # Errors
/// When no server of this dialect sends such bytes.
pub(crate) fn decode_answer(received: &[u8]) -> Result<Option<(Answer<'_>, usize)>, &'static str> {
    let Some((line, end)) = first_line(received)? else {
        return Ok(None);
    };
    let line = line?;
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let fields = AnswerFields(rest);
    let answer = match word {
        "OK" => Answer::Ok(fields),
        "ERR" => {
            let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
            Answer::Err(Code::from_word(code), text)
        }
        "USER" => Answer::User(fields),
        "END" => Answer::End(fields),
        "PING" => Answer::Ping,
        "MSG" => return message(received, fields, end),
        _ => return Err("not an answer of the session dialect"),
    };
    Ok(Some((answer, end)))
}

fn message<'a>(
    received: &'a [u8],
    fields: AnswerFields<'a>,
    end: usize,
) -> Result<Option<(Answer<'a>, usize)>, &'static str> {
    const WRONG: &str = "a MSG line lacks a field or has an invalid one";
    let len = fields.number("len").ok_or(WRONG)?;
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= LARGEST_MAX_BODY)
        .ok_or("a message is longer than any server allows")?;
    let seq = fields.number("seq").ok_or(WRONG)?;
    let at = fields.number("at").ok_or(WRONG)?;
    let from = fields.name("from").ok_or(WRONG)?;
    let id = fields.get("id").and_then(|id| id.parse().ok());
    let trust = fields.get("trust").and_then(|trust| trust.parse().ok());
    match received.get(end + len) {
        None => Ok(None),
        Some(b'\n') => {
            let message = Message {
                seq,
                id: id.ok_or(WRONG)?,
                from,
                trust: trust.ok_or(WRONG)?,
                at,
                body: &received[end..end + len],
            };
            Ok(Some((Answer::Message(message), end + len + 1)))
        }
        Some(_) => Err("a message is not followed by a newline"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    #[test]
    fn lines_are_written_and_read() {
        let mut out = Vec::new();
        AnswerLine::begin(&mut out, "OK")
            .field("to", "bob")
            .field("seq", 17)
            .end();
        AnswerLine::begin(&mut out, "ERR")
            .word(Code::TooLong)
            .word("at most 3\nbytes")
            .end();
        assert_eq!(out, b"OK to=bob seq=17\nERR too-long at most 3?bytes\n");
        let Ok(Some((Answer::Ok(fields), len))) = decode_answer(&out) else {
            panic!("an answer");
        };
        assert_eq!(fields.number("seq"), Some(17));
        assert_eq!(fields.get("none"), None);
        let error = Answer::Err(Code::TooLong, "at most 3?bytes");
        assert_eq!(
            decode_answer(&out[len..]),
            Ok(Some((error, out.len() - len)))
        );
        let mut long = Vec::new();
        AnswerLine::begin(&mut long, "ERR")
            .word("ü".repeat(2_000))
            .end();
        assert!(long.len() <= MAX_LINE && decode_answer(&long).is_ok());
    }

    #[test]
    fn answers_about_names_are_decoded() {
        let name: Name = "bob".parse().expect("a name");
        let address: SocketAddr = "10.0.0.5:8283".parse().expect("an address");
        let ticket = Ticket {
            nonce: TicketNonce([0xa5; 16]),
            key: TicketKey([0x5a; 32]),
        };
        for location in [
            Location::Offline,
            Location::Closed,
            Location::Text(address),
            Location::Sealed(address, ticket),
        ] {
            let mut out = Vec::new();
            encode_location(&mut out, &name, &location);
            let Ok(Some((Answer::Ok(fields), _))) = decode_answer(&out) else {
                panic!("an answer");
            };
            assert_eq!(fields.location(), Some(location));
        }
        let mut out = Vec::new();
        encode_user(&mut out, &name, 1, Some(2));
        encode_end(&mut out, 1, true, Some(7));
        assert_eq!(
            out,
            b"USER name=bob online=1 since=1 online-since=2\nEND n=1 more=1 waiting=7\n"
        );
        let Ok(Some((Answer::User(user), len))) = decode_answer(&out) else {
            panic!("a user");
        };
        assert_eq!(user.user(), Some((name, true)));
        let Ok(Some((Answer::End(end), _))) = decode_answer(&out[len..]) else {
            panic!("the end");
        };
        assert!(end.more() && end.waiting() == 7);
    }

    #[test]
    fn malformed_answers_are_refused() {
        for wrong in [
            "Message declined. Bad verb\n",
            "MSG seq=1\n",
            "MSG seq=1 id=00 from=a trust=open at=1 len=1\nx\n",
            "MSG seq=1 id=9f86d081884c7d659a2feaa0c55ad015 from=a trust=open at=1 len=1\nxy\n",
            "MSG seq=1 id=9f86d081884c7d659a2feaa0c55ad015 from=a trust=open at=1 len=99999999\n",
        ] {
            assert!(decode_answer(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_message_is_decoded_as_it_was_encoded(
            seq: u64, id: [u8; 16], at: u64, local: bool,
            from in "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}",
            body in prop::collection::vec(any::<u8>(), 1..200),
        ) {
            let message = Message {
                seq,
                id: MessageId(id),
                from: from.parse().expect("a name"),
                trust: if local { Trust::Local } else { Trust::Open },
                at,
                body: &body,
            };
            let mut out = Vec::new();
            encode_message(&mut out, &message);
            let len = out.len();
            for cut in 0..len {
                assert_eq!(decode_answer(&out[..cut]), Ok(None));
            }
            out.extend_from_slice(b"END n=1 more=0\n");
            assert_eq!(decode_answer(&out), Ok(Some((Answer::Message(message), len))));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(word in "OK|ERR|MSG( seq=1)?|END|x", rest in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_answer(&[word.as_bytes(), b" ", &rest].concat());
        }
    }
}
