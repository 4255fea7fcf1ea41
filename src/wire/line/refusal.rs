//! The refusals of the line dialect: each with its reply, and what the client is to make of it.

use std::fmt;

use crate::wire::code::Code;

/// Begins each refusal that the first server did not know; the rest of the line is for a person.
pub(crate) const DECLINED: &str = "Message declined. ";

/// Makes the refusals out of one table: of each its meaning, its name, its kind, and its reply without the newline, in
/// which `{}` stands for the value that the reply names.
macro_rules! refusals {
    ($($(#[$meaning:meta])* $name:ident $code:ident $reply:literal;)*) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Refusal { $($(#[$meaning])* $name,)* }

        /// In the order of their numbers. The server writes a reply from this table and the client reads its kind from it:
        /// a sentence is in one place.
        const REFUSALS: &[(Refusal, Code, &str)] = &[$((Refusal::$name, Code::$code, $reply),)*];
    };
}

refusals! {
    /// Nothing but separators.
    NoVerb Syntax "No verb";
    /// A verb that is neither `store` nor `fetch`.
    BadVerb Syntax "Message declined. Bad verb";
    /// No recipient.
    NoRecipient Syntax "No reciever";
    /// A store without a sender.
    NoSender Syntax "No sender";
    /// A store without a message.
    NoMessage Syntax "No message";
    /// The recipient is not a name, for this reason.
    BadRecipient Name "Message declined. The recipient is not a name: {}";
    /// The sender is not a name, for this reason.
    BadSender Name "Message declined. The sender is not a name: {}";
    /// The message has more than this number of bytes.
    TooLong TooLong "Message declined. The message is too long: at most {} bytes are allowed";
    /// The request did not come in time.
    Timeout Timeout "Message declined. Timeout: the request did not come in time";
    /// The client comes from outside the open networks.
    AddressNotAllowed Denied
        "Message declined. Not allowed from this address: the server's open_networks does not include it";
    /// The user with this number has no login that can be a name.
    NoLogin Denied "Message declined. Not allowed: user number {} has no login that could be a name here";
    /// Over the socket the client acts as this login alone.
    NotYourLogin Denied
        "Message declined. Not allowed: over this socket you are {}; use TCP for another name";
    /// This name belongs to a login of the server's machine.
    ClaimedName Denied
        "Message declined. Not allowed: {} belongs to a login of the server's machine, who uses its socket there";
    /// Another reader has the mailbox.
    Busy Busy "Message declined. Busy: another reader has these messages, try again later";
    /// The disk is full.
    DiskFull DiskFull "Message declined. The server's disk is full, try again later";
    /// The mailbox is full.
    MailboxFull Quota "Message declined. The mailbox is full, try again when its owner has read it";
    /// The mailbox cannot be written to now.
    ReadOnly Internal "Message declined. The server cannot write to this mailbox now, try again later";
    /// The client's address has as many connections as one address may have.
    SourceLimit TooMany "Message declined. Too many connections from your address";
    /// There are many connections that have not completed a request.
    Crowd TooMany "Message declined. Too many connections, try again later";
    /// The client's address is penalized.
    Penalty TooMany "Message declined. Too many useless connections from your address, try again later";
    /// The server cannot fork.
    NoProcess TooMany "Message declined. The server is out of processes, try again later";
}

/// Stands for the value in a reply of the table.
const VALUE: &str = "{}";

/// A refusal, with the value that its reply names. Its `Display` is the sentence alone, which other dialects and the log
/// use as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declined {
    /// Why.
    pub(crate) why: Refusal,
    value: String,
}

impl Declined {
    /// A refusal whose reply names `value`.
    pub(crate) fn with(why: Refusal, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        Self { why, value }
    }

    /// Its kind.
    pub(crate) fn code(&self) -> Code {
        self.entry().0
    }

    /// The reply in this dialect.
    pub(crate) fn reply(&self) -> String {
        self.entry().1.replacen(VALUE, &self.value, 1) + "\n"
    }

    fn entry(&self) -> (Code, &'static str) {
        let (_, code, reply) = REFUSALS[self.why as usize];
        (code, reply)
    }
}

impl From<Refusal> for Declined {
    /// A refusal whose reply names no value.
    fn from(why: Refusal) -> Self {
        Self::with(why, "")
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(sentence(self.reply().trim_end()))
    }
}

/// Every refusal, with a value.
#[cfg(test)]
pub(crate) fn every_refusal() -> impl Iterator<Item = Declined> {
    REFUSALS
        .iter()
        .map(|(why, _, reply)| Declined::with(*why, if reply.contains(VALUE) { "x12" } else { "" }))
}

/// A refusal without the words that begin most of them.
fn sentence(reply: &str) -> &str {
    reply.strip_prefix(DECLINED).unwrap_or(reply)
}

/// The kind of the refusal that `reply` is, and its sentence; `None` when it is not a refusal. After
/// `Message declined. ` any sentence is one: [`Code::UNKNOWN`] when it is not in the table.
pub(crate) fn decode_refusal(reply: &[u8]) -> Option<(Code, String)> {
    let text = String::from_utf8_lossy(reply);
    let text = text.trim_end();
    let known = REFUSALS
        .iter()
        .find(|(_, _, known)| match known.split_once(VALUE) {
            Some((before, after)) => {
                let value = text.strip_prefix(before);
                value.is_some_and(|value| value.ends_with(after))
            }
            None => *known == text,
        });
    match known {
        Some((_, code, _)) => Some((*code, sentence(text).to_owned())),
        None if text.starts_with(DECLINED) => Some((Code::UNKNOWN, sentence(text).to_owned())),
        None => None,
    }
}
