//! The kinds of errors that a server reports to clients, common to all dialects.

use std::fmt;

/// The kind of an error. The sentence sent with it is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Not a request, or not allowed at this point.
    Syntax,
    /// A field is not a valid name.
    Name,
    /// The name is not registered.
    UnknownUser,
    /// The message exceeds the server's limit.
    TooLong,
    /// The mailbox is full.
    Quota,
    /// The server's disk is full.
    DiskFull,
    /// Another client uses the mailbox or the name.
    Busy,
    /// The client is not allowed to do this.
    Denied,
    /// The server has too many connections.
    TooMany,
    /// The request did not arrive in time.
    Timeout,
    /// The server is shutting down.
    Shutdown,
    /// The server failed.
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
    /// Stands for a code or refusal from another implementation or version that this one does not recognize. It counts
    /// as temporary: the client keeps the message and shows the sentence.
    pub(crate) const UNKNOWN: Self = Self::Internal;

    /// Returns the code for `word`, or [`UNKNOWN`](Self::UNKNOWN) for any other word.
    pub(crate) fn from_word(word: &str) -> Self {
        let found = CODES.iter().find(|(_, known, _)| *known == word);
        found.map_or(Self::UNKNOWN, |(code, _, _)| *code)
    }

    /// Returns whether the same request may succeed later. The client then keeps the message and sends it again.
    pub(crate) fn later_helps(self) -> bool {
        CODES.iter().any(|(code, _, helps)| *code == self && *helps)
    }
}

impl fmt::Display for Code {
    /// Writes the code's word in the session dialect.
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
