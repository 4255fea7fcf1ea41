//! The file FORMAT of a spool: its version, and the features that a program must support to use it.
//!
//! ```text
//! dropline spool 2
//! hash crc32
//! locks 4096
//! folders 256
//! needs WORD        any number of them, each a line
//! ```
//!
//! **Extensions.** A program preserves what it does not support: directories of the spool, fields of a record (kept by
//! every copy), flags of a header. For an extension that cannot be ignored safely, a newer program adds a line
//! `needs WORD` before it writes any of it, and older programs refuse the spool. A kind of trust beyond the two of the
//! record is written as "open" with a field that names it, and older programs show the sender as unverified.
//!
//! Format 1 has no fields and no `needs`. Its files are valid in format 2.

/// The file FORMAT that this program writes.
pub(crate) const CURRENT: &str =
    "dropline spool 2\nhash crc32\nlocks 4096\nfolders 256\nneeds owners\n";
/// The file FORMAT of format 2 without the words that it needs.
const FORMAT_2: &str = "dropline spool 2\nhash crc32\nlocks 4096\nfolders 256\n";
/// The line of a spool in which claims have user IDs, and every login that had a mailbox has a claim.
const OWNERS: &str = "needs owners";
/// The file FORMAT of format 1.
const FORMAT_1: &str = "dropline spool 1\nhash crc32\nlocks 4096\nfolders 256\n";

/// A version of the format that this program supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Format 1, which is upgraded when a daemon opens the spool.
    One,
    /// Format 2 without owners: names of logins may lack their claims. Upgraded like format 1.
    Two,
    /// Format 2 as this program writes it.
    Current,
}

/// Parses the text of a file FORMAT.
///
/// # Errors
/// The reason why this program does not support the spool, and what to do.
pub(crate) fn parse(text: &str) -> Result<Version, String> {
    if text == FORMAT_1 {
        return Ok(Version::One);
    }
    let Some(needs) = text.strip_prefix(FORMAT_2) else {
        let first = text.lines().next().unwrap_or_default();
        return Err(format!(
            "its file FORMAT, which begins with \"{}\", is not that of format 1 or 2; \
             use the version of dropline that created the spool",
            first.escape_debug()
        ));
    };
    match needs.lines().find(|line| *line != OWNERS) {
        None if needs.is_empty() => Ok(Version::Two),
        None => Ok(Version::Current),
        Some(line) => Err(format!(
            "its file FORMAT has the line \"{}\", which this version of dropline does not support; \
             use the version that wrote it",
            line.escape_debug()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_known_formats_are_accepted() {
        assert_eq!(parse(FORMAT_1), Ok(Version::One));
        assert_eq!(parse(FORMAT_2), Ok(Version::Two));
        assert_eq!(parse(CURRENT), Ok(Version::Current));
        for (wrong, named) in [
            ("", "begins with \"\""),
            ("dropline spool 3\n", "dropline spool 3"),
            (&FORMAT_2[..FORMAT_2.len() - 1], "dropline spool 2"),
            (&format!("{FORMAT_2}needs"), "needs"),
            (&format!("{CURRENT}needs held\n"), "needs held"),
            (&format!("{FORMAT_1}needs held\n"), "dropline spool 1"),
            (&CURRENT.replace("256", "16"), "dropline spool 2"),
        ] {
            let error = parse(wrong).expect_err(wrong);
            assert!(error.contains(named), "{error}");
        }
    }
}
