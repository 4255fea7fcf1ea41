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
pub(crate) const CURRENT: &str = "dropline spool 2\nhash crc32\nlocks 4096\nfolders 256\n";
/// The file FORMAT of format 1.
const FORMAT_1: &str = "dropline spool 1\nhash crc32\nlocks 4096\nfolders 256\n";

/// A version of the format that this program supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// An old spool, which is upgraded when a daemon opens it.
    One,
    Two,
}

/// Parses the text of a file FORMAT.
///
/// # Errors
/// The reason why this program does not support the spool, and what to do.
pub(crate) fn parse(text: &str) -> Result<Version, String> {
    if text == FORMAT_1 {
        return Ok(Version::One);
    }
    let Some(needs) = text.strip_prefix(CURRENT) else {
        let first = text.lines().next().unwrap_or_default();
        return Err(format!(
            "its file FORMAT, which begins with \"{}\", is not that of format 1 or 2; \
             use the version of dropline that created the spool",
            first.escape_debug()
        ));
    };
    match needs.lines().next() {
        None => Ok(Version::Two),
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
