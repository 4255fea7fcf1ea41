//! Message handles: `bob/17` is message 17 in bob's mailbox.

use std::fmt;
use std::str::FromStr;

use crate::name::Name;

/// The handle of a message. `send` prints it, `status` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    /// The owner of the mailbox.
    pub(super) to: Name,
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
        let (to, seq) = parts.ok_or("expected NAME/NUMBER, such as bob/17")?;
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
    fn parses_what_it_formats() {
        let handle = "bob/17".parse::<Handle>().map(|handle| handle.to_string());
        assert_eq!(handle.as_deref(), Ok("bob/17"));
        for wrong in ["bob", "bob/", "/1", "bob/-1", "b b/1"] {
            assert!(wrong.parse::<Handle>().is_err(), "{wrong}");
        }
    }
}
