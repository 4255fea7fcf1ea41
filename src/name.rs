//! Names of users and of their mailboxes.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use arrayvec::ArrayString;

/// The largest length of a name, in bytes.
pub(crate) const MAX_NAME: usize = 50;

/// A valid name: 1 to 50 bytes of `A-Z a-z 0-9 . _ -`, the first of them neither `.` nor `-`. Case matters.
///
/// Names contain no character that has a meaning in their context: neither `/` and `~` (message handles and unverified
/// senders), `;` and `,` (lists and fields), `=` and white space (requests), nor a leading `.` (auxiliary files). A
/// dialect that allows less has its own list (`REGISTRABLE` in wire/framed.rs).
///
/// A name is a safe file name (no `/`, no `..`, no leading dot) and a safe word in a log line. File names and log lines
/// contain text from a client only as a `Name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(ArrayString<MAX_NAME>);

/// Why bytes are not a valid name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error("a name is empty")]
    Empty,
    #[error("a name has {0} bytes, at most {MAX_NAME} are allowed")]
    TooLong(usize),
    #[error("a name begins with '.' or '-'")]
    Beginning,
    #[error("a name has other characters than A-Z a-z 0-9 . _ -")]
    Character,
}

impl Name {
    /// Validates `bytes` as a name.
    ///
    /// # Errors
    /// The rule that they violate.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, NameError> {
        match bytes {
            [] => return Err(NameError::Empty),
            [b'.' | b'-', ..] => return Err(NameError::Beginning),
            _ if bytes.len() > MAX_NAME => return Err(NameError::TooLong(bytes.len())),
            _ => {}
        }
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        match std::str::from_utf8(bytes) {
            Ok(text) if bytes.iter().all(allowed) => ArrayString::from(text)
                .map(Self)
                .map_err(|_| NameError::TooLong(bytes.len())),
            _ => Err(NameError::Character),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_valid_names_and_refuses_others() {
        for good in [
            "a",
            "Kyriakos",
            "n12.example_3-b",
            "_",
            "0",
            &"x".repeat(50),
        ] {
            assert_eq!(
                Name::new(good.as_bytes()).map(|n| n.to_string()),
                Ok(good.into())
            );
        }
        assert_eq!(Name::new(b""), Err(NameError::Empty));
        assert_eq!(Name::new(&[b'x'; 51]), Err(NameError::TooLong(51)));
        for head in [".hidden", "-rf", "..", "."] {
            assert_eq!(Name::new(head.as_bytes()), Err(NameError::Beginning));
        }
        for odd in ["a/b", "../../etc/passwd2"].map(|s| &s[1..]) {
            assert!(Name::new(odd.as_bytes()).is_err(), "{odd}");
        }
        for odd in [&b"a b"[..], b"a\0", b"a;b", b"a\n", "é".as_bytes(), &[0xff]] {
            assert_eq!(Name::new(odd), Err(NameError::Character), "{odd:?}");
        }
    }
}
