//! The file FORMAT of a spool: its version, and what a program must know to work on it.
//!
//! ```text
//! dropline spool 2
//! hash crc32
//! locks 4096
//! folders 256
//! needs WORD        any number of them, each a line
//! ```
//!
//! **How a newer version adds to the format.** A program leaves alone what it does not know: directories in the spool,
//! fields of a record (kept by every copy), flags of a header. Where ignoring it would be wrong, the newer program adds a
//! line `needs WORD` before it writes any of it, and an older one refuses the spool. A kind of trust beyond the two of
//! the record is written as "open" with a field that names it: an older program shows the sender as unverified.
//!
//! Format 1 has no fields and no `needs`; each of its files is valid in format 2.

/// What this program writes.
pub(crate) const CURRENT: &str = "dropline spool 2\nhash crc32\nlocks 4096\nfolders 256\n";
/// The same of format 1.
const FORMAT_1: &str = "dropline spool 1\nhash crc32\nlocks 4096\nfolders 256\n";

/// A version of the format that this program works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// To be taken over.
    One,
    /// The current one.
    Two,
}

/// The version that the text of a file FORMAT names.
///
/// # Errors
/// Why this program cannot work on such a spool, and what to do.
pub(crate) fn parse(text: &str) -> Result<Version, String> {
    if text == FORMAT_1 {
        return Ok(Version::One);
    }
    let Some(needs) = text.strip_prefix(CURRENT) else {
        let first = text.lines().next().unwrap_or_default();
        return Err(format!(
            "its file FORMAT, which begins with \"{}\", is not one of format 1 or 2 as this program writes them; \
             use the version of dropline that made the spool",
            first.escape_debug()
        ));
    };
    match needs.lines().next() {
        None => Ok(Version::Two),
        Some(line) => Err(format!(
            "its file FORMAT says \"{}\", which this version of dropline does not know; use the version that made the spool",
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
        assert_eq!(parse(CURRENT), Ok(Version::Two));
        for (wrong, named) in [
            ("", "begins with \"\""),
            ("dropline spool 3\n", "dropline spool 3"),
            (&CURRENT[..CURRENT.len() - 1], "dropline spool 2"),
            (&format!("{CURRENT}needs held\n"), "needs held"),
            (&format!("{FORMAT_1}needs held\n"), "dropline spool 1"),
            (&CURRENT.replace("256", "16"), "dropline spool 2"),
        ] {
            let error = parse(wrong).expect_err(wrong);
            assert!(error.contains(named), "{error}");
        }
    }
}
