//! Parses the lines of passwd(5) and group(5), from files and from the output of getent(1).
//!
//! The input is not trusted. Invalid lines and lines that are too long are skipped.

use std::io::{self, BufRead as _, BufReader, Read};

/// The size of one read, in bytes.
const PORTION: usize = 4 * 1024;
/// The length of the longest line, in bytes. A group may have many members.
const LONGEST_LINE: u64 = 1 << 20;
/// The most bytes that are read from a file.
const LONGEST_FILE: u64 = 64 << 20;

/// The key of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    /// The login with this user ID.
    Uid(u32),
    /// The login with this name.
    Name(&'a str),
}

impl Key<'_> {
    fn is(&self, entry: &Entry) -> bool {
        match *self {
            Self::Uid(uid) => entry.uid == uid,
            Self::Name(name) => entry.name == name,
        }
    }
}

/// A login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Entry {
    /// Parses a line of passwd(5). Returns `None` for an invalid line, a comment, or a reference to NIS (`+`, `-`).
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        if name.is_empty() || name.starts_with(['#', '+', '-']) {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            uid: number(uid)?,
            gid: number(gid)?,
        })
    }
}

/// Parses a user or group ID. Rejects the largest one, by which setresuid(2) and setresgid(2) change nothing.
pub(super) fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_plain);
    number.filter(|number| *number != u32::MAX)
}

/// Calls `each` for all logins in `source`, which consists of lines of passwd(5), in order.
pub(super) fn each_login(source: impl Read, mut each: impl FnMut(Entry)) -> io::Result<()> {
    each_line(source, |line| {
        if let Some(entry) = Entry::parse(line) {
            each(entry);
        }
        true
    })
}

/// Returns the first login with this key in `source`, which consists of lines of passwd(5).
pub(super) fn login(source: impl Read, key: Key<'_>) -> io::Result<Option<Entry>> {
    let mut found = None;
    each_line(source, |line| {
        found = Entry::parse(line).filter(|entry| key.is(entry));
        found.is_none()
    })?;
    Ok(found)
}

/// Returns the IDs of the groups that list `member` in `source`, which consists of lines of group(5).
pub(super) fn groups(source: impl Read, member: &str) -> io::Result<Vec<u32>> {
    let mut groups = Vec::new();
    each_line(source, |line| {
        let mut fields = line.split(':');
        let gid = fields.nth(2).and_then(number);
        let members = fields.next().unwrap_or_default();
        if members.split(',').any(|name| name.trim() == member) {
            groups.extend(gid);
        }
        true
    })?;
    Ok(groups)
}

/// Returns the name of the first group with this ID in `source`, which consists of lines of group(5).
pub(super) fn group(source: impl Read, gid: u32) -> io::Result<Option<String>> {
    let mut found = None;
    each_line(source, |line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty());
        let has_id = fields.nth(1).and_then(number) == Some(gid);
        found = name.filter(|_| has_id).map(str::to_owned);
        found.is_none()
    })?;
    Ok(found)
}

/// Parses the output of `getent initgroups NAME`. Returns `None` if it is not a single valid line for `name`.
pub(super) fn initgroups(answer: &[u8], name: &str) -> Option<Vec<u32>> {
    let answer = std::str::from_utf8(answer).ok()?.strip_suffix('\n')?;
    let groups = answer.strip_prefix(name)?;
    let is_whole = groups.is_empty() || groups.starts_with(' ');
    let groups: Option<_> = groups.split_whitespace().map(number).collect();
    groups.filter(|_| is_whole)
}

/// Calls `each` with the lines of `source`, without line ends, until it returns `false`.
pub(super) fn each_line(source: impl Read, mut each: impl FnMut(&str) -> bool) -> io::Result<()> {
    let mut source = BufReader::with_capacity(PORTION, source.take(LONGEST_FILE));
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = (&mut source)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?;
        let is_whole = line.pop_if(|last| *last == b'\n').is_some();
        if n == 0 {
            return Ok(());
        }
        if !is_whole && (n as u64 == LONGEST_LINE || source.get_ref().limit() == 0) {
            source.skip_until(b'\n')?;
            continue;
        }
        match std::str::from_utf8(&line) {
            Ok(line) if !each(line) => return Ok(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: impl AsRef<[u8]>, key: Key<'_>) -> Option<Entry> {
        login(text.as_ref(), key).expect("read")
    }

    fn entry(name: &str, uid: u32, gid: u32) -> Entry {
        Entry {
            name: name.into(),
            uid,
            gid,
        }
    }

    #[test]
    fn finds_the_first_login_with_a_key() {
        let text = "root:x:0:0:root:/root:/bin/sh\nal:x:7:8::/:\nAl:x:8:8::/:\nbo:x:7:9\ndom\\al b@c:x:9:9::/:/";
        assert_eq!(of(text, Key::Uid(0)), Some(entry("root", 0, 0)));
        assert_eq!(of(text, Key::Uid(7)), Some(entry("al", 7, 8)));
        assert_eq!(of(text, Key::Name("bo")), Some(entry("bo", 7, 9)));
        assert_eq!(of(text, Key::Name("Al")), Some(entry("Al", 8, 8)));
        // The last line may lack its line end.
        assert_eq!(of(text, Key::Uid(9)), Some(entry("dom\\al b@c", 9, 9)));
        for key in [
            Key::Uid(1),
            Key::Name("a"),
            Key::Name(""),
            Key::Name("al:x"),
        ] {
            assert_eq!(of(text, key), None, "{key:?}");
        }
    }

    #[test]
    fn skips_invalid_lines() {
        for line in [
            "",
            ":",
            "7",
            "al",
            "al:x:7",
            "al:x::8:",
            ":x:7:8::/:",
            "al:x:-7:8::/:",
            "al:x:+7:8::/:",
            "al:x: 7:8::/:",
            "al:x:7:::/:",
            "al:x:7:x::/:",
            "al:x:4294967303:8::/:",
            "al:x:7:4294967295::/:",
            "#al:x:7:8::/:",
            "+al:x:7:8::/:",
            "-al:x:7:8::/:",
            "+",
            "\0\0\0",
        ] {
            let text = format!("{line}\nbo:x:7:9::/:\n");
            assert_eq!(of(&text, Key::Uid(7)), Some(entry("bo", 7, 9)), "{line:?}");
        }
        assert_eq!(of("x:x:4294967295:0::/:\n", Key::Uid(u32::MAX)), None);
        let binary = b"al\xff:x:7:8::/:\n\xfe\xff\0:::\nbo:x:7:9::/:\n";
        assert_eq!(of(binary, Key::Uid(7)), Some(entry("bo", 7, 9)));
    }

    #[test]
    fn skips_a_line_that_is_too_long_but_not_the_next() {
        let long = usize::try_from(LONGEST_LINE).expect("a size");
        for length in [long - 1, long, long + 1, 3 * long] {
            // The rest of a long line, which contains `al`, must not be parsed as a line.
            let mut text = vec![b'x'; length];
            text.extend_from_slice(b"al:x:7:8::/:\nbo:x:7:9::/:\n");
            let found = of(&text, Key::Uid(7)).expect("one");
            assert_eq!(found, entry("bo", 7, 9), "{length}");
        }
        assert_eq!(of(vec![b'x'; 2 * long], Key::Uid(7)), None);
        assert_eq!(of(b"", Key::Uid(7)), None);
    }

    #[test]
    fn stops_reading_at_the_size_limit() {
        let endless = io::repeat(b'x');
        assert_eq!(login(endless, Key::Uid(7)).expect("read"), None);
        // A line that crosses the limit is skipped.
        let long = usize::try_from(LONGEST_FILE).expect("a size");
        let mut text = vec![b'x'; long - 8];
        text.extend_from_slice(b"\na:x:1:234::/:\n");
        text.iter_mut()
            .step_by(1_000)
            .for_each(|byte| *byte = b'\n');
        assert_eq!(of(&text, Key::Name("a")), None);
        let shorter = &text[1_000..];
        assert_eq!(of(shorter, Key::Name("a")), Some(entry("a", 1, 234)));
    }

    #[test]
    fn finds_the_name_of_a_group() {
        let source = "root:x:0:\n:x:7:\nbad:x\ndropline:x:7:al\nother:x:7:\n";
        let find = |gid| group(source.as_bytes(), gid).expect("read");
        assert_eq!(find(7).as_deref(), Some("dropline"));
        assert_eq!(find(0).as_deref(), Some("root"));
        assert_eq!(find(1), None);
    }

    #[test]
    fn finds_the_groups_that_list_a_member() {
        let text =
            "root:x:0:\nadm:x:4:al,bo\nx:x:y:al\nmail:*:8:alf,b al\nlast:x:9:bo, al ,\nal:x:10";
        let of = |member| groups(text.as_bytes(), member).expect("read");
        assert_eq!(of("al"), [4, 9]);
        assert_eq!(of("bo"), [4, 9]);
        assert_eq!(of("alf"), [8]);
        assert_eq!(of("nobody"), [] as [u32; 0]);
        let initgroups = |answer: &str| initgroups(answer.as_bytes(), "al");
        assert_eq!(initgroups("al                    4 9\n"), Some(vec![4, 9]));
        assert_eq!(initgroups("al                   \n"), Some(vec![]));
        for answer in [
            "",
            "al 4",
            "al 4 x\n",
            "bo 4\n",
            "alf 4\n",
            "al 4\nal 5\nx\n",
        ] {
            assert_eq!(initgroups(answer), None, "{answer:?}");
        }
    }
}
