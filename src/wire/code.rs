//! The kinds of errors that a server tells its clients, whichever dialect says them.

use std::fmt;

/// The kind of an error. The sentence beside it is for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// It is no request, or not at this point.
    Syntax,
    /// A field is not a name.
    Name,
    /// The name is not registered.
    UnknownUser,
    /// The message is longer than the server takes.
    TooLong,
    /// The mailbox is full.
    Quota,
    /// The server's disk is full.
    DiskFull,
    /// Another client has it for now.
    Busy,
    /// The client may not do this.
    Denied,
    /// The server has too many connections.
    TooMany,
    /// The request did not come in time.
    Timeout,
    /// The server ends.
    Shutdown,
    /// The server has failed.
    Internal,
}

/// Each code, its word in the session dialect, and whether the same request may succeed later.
const CODES: [(Code, &str, bool); 12] = [
    (Code::Syntax, "syntax", false),
    (Code::Name, "name", false),
    (Code::UnknownUser, "unknown-user", false),
    (Code::TooLong, "too-long", false),
    (Code::Quota, "quota", true),
    (Code::DiskFull, "disk-full", true),
    (Code::Busy, "busy", true),
    (Code::Denied, "denied", false),
    (Code::TooMany, "too-many", true),
    (Code::Timeout, "timeout", true),
    (Code::Shutdown, "shutdown", true),
    (Code::Internal, "internal", true),
];

impl Code {
    /// What an error of a server means that is not ours, or is of another version, and whose code or sentence is not
    /// known here: it may pass. The client keeps the message and shows the sentence.
    pub(crate) const UNKNOWN: Self = Self::Internal;

    /// The code that this word names; [`UNKNOWN`](Self::UNKNOWN) for any other word.
    pub(crate) fn from_word(word: &str) -> Self {
        let found = CODES.iter().find(|(_, known, _)| *known == word);
        found.map_or(Self::UNKNOWN, |(code, _, _)| *code)
    }

    /// Whether the same request may succeed later: the client keeps the message and sends it again.
    pub(crate) fn later_helps(self) -> bool {
        CODES.iter().any(|(code, _, helps)| *code == self && *helps)
    }
}

impl fmt::Display for Code {
    /// Its word in the session dialect.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = CODES.iter().find(|(code, _, _)| code == self);
        f.write_str(found.map_or("internal", |(_, word, _)| word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_word() {
        for (code, word, later) in CODES {
            assert_eq!(code.to_string(), word);
            assert_eq!(Code::from_word(word), code);
            assert_eq!(code.later_helps(), later);
        }
        assert!(Code::from_word("moderated").later_helps());
    }
}
