//! How a message in a mailbox is named: `bob/17` is number 17 of bob's mailbox.

use std::fmt;
use std::str::FromStr;

use crate::name::Name;

/// The handle of a message, which `send` prints and `status` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    /// Whose mailbox.
    pub(super) to: Name,
    /// The number in it.
    pub(super) seq: u64,
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.to, self.seq)
    }
}

impl FromStr for Handle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('/');
        let (to, seq) = parts.ok_or("it is a name, a slash and a number, like bob/17")?;
        Ok(Self {
            to: to.parse().map_err(|e| format!("{to}: {e}"))?,
            seq: seq
                .parse()
                .map_err(|_| format!("'{seq}' is not a number"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_as_they_are_written() {
        let handle = "bob/17".parse::<Handle>().map(|handle| handle.to_string());
        assert_eq!(handle.as_deref(), Ok("bob/17"));
        for wrong in ["bob", "bob/", "/1", "bob/-1", "b b/1"] {
            assert!(wrong.parse::<Handle>().is_err(), "{wrong}");
        }
    }
}
