//! The refusals of the line dialect: each with its kind and its reply.

use std::fmt;

use crate::wire::code::Code;

/// The prefix of every refusal that the original server did not have. The text after it is for people.
pub(crate) const DECLINED: &str = "Message declined. ";

/// Generates [`Refusal`] and [`REFUSALS`] from one table. An entry is the meaning, the name, the kind, and the reply
/// without its newline, in which `{}` stands for a value.
macro_rules! refusals {
    ($($(#[$meaning:meta])* $name:ident $code:ident $reply:literal;)*) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Refusal { $($(#[$meaning])* $name,)* }

        /// Indexed by [`Refusal`]. The server takes replies from this table, and the client recognizes them by it.
        const REFUSALS: &[(Refusal, Code, &str)] = &[$((Refusal::$name, Code::$code, $reply),)*];
    };
}

refusals! {
    /// The line is empty or has only semicolons.
    NoVerb Syntax "No verb";
    /// The verb is neither `store` nor `fetch`.
    BadVerb Syntax "Message declined. Bad verb";
    NoRecipient Syntax "No reciever";
    NoSender Syntax "No sender";
    NoMessage Syntax "No message";
    /// The value is the reason.
    BadRecipient Name "Message declined. The recipient is not a name: {}";
    /// The value is the reason.
    BadSender Name "Message declined. The sender is not a name: {}";
    /// The value is the limit.
    TooLong TooLong "Message declined. The message is too long: at most {} bytes are allowed";
    Timeout Timeout "Message declined. Timeout: the request did not come in time";
    AddressNotAllowed Denied
        "Message declined. Not allowed from this address: the server's open_networks does not include it";
    /// The value is the uid, which has no login, or a login that is not a valid name.
    NoLogin Denied "Message declined. Not allowed: user number {} has no login that could be a name here";
    /// The value is the login, which is the only name that a socket client may use.
    NotYourLogin Denied
        "Message declined. Not allowed: over this socket you are {}; use TCP for another name";
    /// The value is the name.
    ClaimedName Denied
        "Message declined. Not allowed: {} belongs to a login of the server's machine, who uses its socket there";
    /// The value is a name whose recorded owner is not the client, or is not known.
    OtherOwner Denied
        "Message declined. Not allowed: {} has another owner; ask the operator of the server";
    /// The value is a name that the operator has released while a client used it.
    Released Denied
        "Message declined. Not allowed: the operator of the server has released {}; connect again";
    /// The configuration has changed since the connection was made, and may not allow the name any more.
    Reconfigured Shutdown "Message declined. The server's configuration has changed, try again later";
    LoginUnknown Internal
        "Message declined. The server cannot look up whether {} is a login, try again later";
    Busy Busy "Message declined. Busy: another reader has these messages, try again later";
    DiskFull DiskFull "Message declined. The server's disk is full, try again later";
    /// A file of the server has the largest size that its system allows.
    FileLimit DiskFull "Message declined. The server's system allows it no larger files, try again later";
    MailboxFull Quota "Message declined. The mailbox is full, try again when its owner has read it";
    /// All open clients together have used up the key of the configuration that is the value.
    OpenLimit Quota
        "Message declined. The server's limit {} for all clients without a verified name is reached, try again later";
    ReadOnly Internal "Message declined. The server cannot write to this mailbox now, try again later";
    /// The client's source has `children_per_source` connections.
    SourceLimit TooMany "Message declined. Too many connections from your address";
    /// Too many connections have not completed a request.
    Crowd TooMany "Message declined. Too many connections, try again later";
    Penalty TooMany "Message declined. Too many useless connections from your address, try again later";
    /// fork(2) failed.
    NoProcess TooMany "Message declined. The server is out of processes, try again later";
}

/// Placeholder for the value in a reply of the table.
const VALUE: &str = "{}";

/// A refusal with the value for its reply. `Display` writes the reply without [`DECLINED`], for the log and the other
/// dialects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declined {
    /// Why the request is refused.
    pub(crate) why: Refusal,
    value: String,
}

impl Declined {
    /// Creates a refusal whose reply contains `value`.
    pub(crate) fn with(why: Refusal, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        Self { why, value }
    }

    /// Returns the kind of the refusal.
    pub(crate) fn code(&self) -> Code {
        self.entry().0
    }

    /// Returns the reply in this dialect, with its newline.
    pub(crate) fn reply(&self) -> String {
        self.entry().1.replacen(VALUE, &self.value, 1) + "\n"
    }

    fn entry(&self) -> (Code, &'static str) {
        let (_, code, reply) = REFUSALS[self.why as usize];
        (code, reply)
    }
}

impl From<Refusal> for Declined {
    /// Creates a refusal whose reply contains no value.
    fn from(why: Refusal) -> Self {
        Self::with(why, "")
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(sentence(self.reply().trim_end()))
    }
}

/// Returns every refusal, with a value where its reply contains one.
#[cfg(test)]
pub(crate) fn every_refusal() -> impl Iterator<Item = Declined> {
    REFUSALS
        .iter()
        .map(|(why, _, reply)| Declined::with(*why, if reply.contains(VALUE) { "x12" } else { "" }))
}

/// Strips the prefix that most refusals have.
fn sentence(reply: &str) -> &str {
    reply.strip_prefix(DECLINED).unwrap_or(reply)
}

/// Returns the kind and the sentence of a refusal, or `None` if `reply` is not a refusal. A reply that begins with
/// [`DECLINED`] is always a refusal, of the kind [`Code::UNKNOWN`] if it is not in the table.
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
