//! What a server answers in a session.

use std::fmt::{self, Write as _};

use super::{Code, first_line};
use crate::message::{LARGEST_MAX_BODY, MessageId, Trust};
use crate::name::Name;

/// A line on its way to the client.
#[derive(Debug)]
pub(crate) struct Line<'o> {
    out: &'o mut Vec<u8>,
    text: String,
}

impl<'o> Line<'o> {
    /// A line that begins with this word.
    pub(crate) fn begin(out: &'o mut Vec<u8>, word: &str) -> Self {
        Self {
            out,
            text: word.to_owned(),
        }
    }

    /// `key=value`. The value must have no space.
    pub(crate) fn field(mut self, key: &str, value: impl fmt::Display) -> Self {
        let _ = write!(self.text, " {key}={value}");
        self
    }

    /// A word, or the text for a person at the end of an error.
    pub(crate) fn word(mut self, word: impl fmt::Display) -> Self {
        let _ = write!(self.text, " {word}");
        self
    }

    /// The line is whole.
    pub(crate) fn end(self) {
        // What came from outside is quoted in some errors: it must not break the line, or grow it too long.
        let text = self.text.replace(char::is_control, "?");
        let longest = text.len().min(super::MAX_LINE - 1);
        let most = (0..=longest).rev().find(|at| text.is_char_boundary(*at));
        let most = most.unwrap_or_default();
        self.out.extend_from_slice(&text.as_bytes()[..most]);
        self.out.push(b'\n');
    }
}

/// A message as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Its number in the mailbox.
    pub(crate) seq: u64,
    /// Its id.
    pub(crate) id: MessageId,
    /// Who sent it.
    pub(crate) from: Name,
    /// How far that can be believed.
    pub(crate) trust: Trust,
    /// When it was accepted, in milliseconds since 1970.
    pub(crate) at: u64,
    /// What it says.
    pub(crate) body: &'a [u8],
}

/// Appends what a client is told of a message that was stored.
pub(crate) fn encode_stored(out: &mut Vec<u8>, id: MessageId, to: &Name, seq: u64) {
    out.extend_from_slice(b"OK id=");
    out.extend_from_slice(&id.hex());
    out.extend_from_slice(b" to=");
    out.extend_from_slice(to.as_bytes());
    out.extend_from_slice(b" seq=");
    out.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
    out.push(b'\n');
}

/// Appends a message to an answer. Not by [`Line`]: there are millions of them, and nothing in them can break a line.
pub(crate) fn encode_message(out: &mut Vec<u8>, message: &Message<'_>) {
    const MOST_FIELDS: usize = 256;
    let mut number = itoa::Buffer::new();
    out.reserve(MOST_FIELDS + message.body.len());
    out.extend_from_slice(b"MSG seq=");
    out.extend_from_slice(number.format(message.seq).as_bytes());
    out.extend_from_slice(b" id=");
    out.extend_from_slice(&message.id.hex());
    out.extend_from_slice(b" from=");
    out.extend_from_slice(message.from.as_bytes());
    out.extend_from_slice(b" trust=");
    out.extend_from_slice(message.trust.as_str().as_bytes());
    out.extend_from_slice(b" at=");
    out.extend_from_slice(number.format(message.at).as_bytes());
    out.extend_from_slice(b" len=");
    out.extend_from_slice(number.format(message.body.len()).as_bytes());
    out.push(b'\n');
    out.extend_from_slice(message.body);
    out.push(b'\n');
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// It was done.
    Ok(Fields<'a>),
    /// It was not done: the code (`None` for one that this client does not know), and why.
    Err(Option<Code>, &'a str),
    /// A message.
    Message(Message<'a>),
    /// Somebody who is registered.
    User(Fields<'a>),
    /// The end of messages or users.
    End(Fields<'a>),
    /// The server lives.
    Ping,
}

/// The `key=value` fields of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    /// The value of a field.
    pub(crate) fn get(self, key: &str) -> Option<&'a str> {
        self.0
            .split(' ')
            .filter_map(|field| field.split_once('='))
            .find(|(this, _)| *this == key)
            .map(|(_, value)| value)
    }

    /// The value of a field that is a number.
    pub(crate) fn number(self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// The value of a field that is a name.
    pub(crate) fn name(self, key: &str) -> Option<Name> {
        self.get(key)?.parse().ok()
    }

    /// Whether this word stands first.
    pub(crate) fn begins_with(self, word: &str) -> bool {
        self.0.split(' ').next() == Some(word)
    }
}

/// What `received` begins with, and how many bytes that is; `None` while it is not whole.
///
/// # Errors
/// When it is nothing that a server of this dialect says.
pub(crate) fn decode_answer(received: &[u8]) -> Result<Option<(Answer<'_>, usize)>, &'static str> {
    let Some((line, end)) = first_line(received)? else {
        return Ok(None);
    };
    let line = line?;
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let fields = Fields(rest);
    let answer = match word {
        "OK" => Answer::Ok(fields),
        "ERR" => {
            let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
            Answer::Err(code.parse().ok(), text)
        }
        "USER" => Answer::User(fields),
        "END" => Answer::End(fields),
        "PING" => Answer::Ping,
        "MSG" => return message(received, fields, end),
        _ => return Err("that is no answer of the session dialect"),
    };
    Ok(Some((answer, end)))
}

fn message<'a>(
    received: &'a [u8],
    fields: Fields<'a>,
    end: usize,
) -> Result<Option<(Answer<'a>, usize)>, &'static str> {
    const WRONG: &str = "a MSG line is not whole";
    let len = fields.number("len").ok_or(WRONG)?;
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= LARGEST_MAX_BODY)
        .ok_or("a message is longer than any can be")?;
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
        Line::begin(&mut out, "OK")
            .field("to", "bob")
            .field("seq", 17)
            .end();
        Line::begin(&mut out, "ERR")
            .word(Code::TooLong)
            .word("at most 3\nbytes")
            .end();
        assert_eq!(out, b"OK to=bob seq=17\nERR too-long at most 3?bytes\n");
        let Ok(Some((Answer::Ok(fields), len))) = decode_answer(&out) else {
            panic!("an answer");
        };
        assert_eq!(fields.number("seq"), Some(17));
        assert_eq!(fields.get("none"), None);
        let error = Answer::Err(Some(Code::TooLong), "at most 3?bytes");
        assert_eq!(
            decode_answer(&out[len..]),
            Ok(Some((error, out.len() - len)))
        );
        let mut long = Vec::new();
        Line::begin(&mut long, "ERR").word("ü".repeat(2_000)).end();
        assert!(long.len() <= super::super::MAX_LINE && decode_answer(&long).is_ok());
    }

    #[test]
    fn what_no_server_says_is_refused() {
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
        fn a_message_is_read_as_it_was_written(
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
