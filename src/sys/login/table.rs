//! The logins of a passwd(5) file in memory, for lookups without a system call.

use std::io::{self, Read};

use super::files::{self, Entry};

/// The logins of a file. Of two lines with one name or one user ID, the first counts.
#[derive(Debug, Default)]
pub(crate) struct LoginTable {
    /// All names, without separators.
    text: String,
    /// Sorted by name.
    logins: Vec<Login>,
    /// Indexes into `logins`, sorted by user ID.
    by_uid: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Login {
    /// The range of the name in the text.
    start: u32,
    end: u32,
    uid: u32,
}

impl LoginTable {
    /// Reads /etc/passwd. A missing file has no logins.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub(crate) fn of_this_machine() -> io::Result<Self> {
        let table = super::in_file(super::LOGINS, Self::read)?;
        Ok(table.unwrap_or_default())
    }

    /// Reads a table from lines of passwd(5).
    pub(super) fn read(source: impl Read) -> io::Result<Self> {
        let mut table = Self::default();
        // Pairs of a login and its line number.
        let mut found = Vec::new();
        files::each_login(source, |Entry { name, uid, .. }| {
            // A file has at most 64 MiB, so that offsets and indexes fit.
            let start = u32::try_from(table.text.len()).unwrap_or(u32::MAX);
            table.text.push_str(&name);
            let end = u32::try_from(table.text.len()).unwrap_or(u32::MAX);
            found.push((Login { start, end, uid }, found.len()));
        })?;
        let lines = found.len();
        let mut of_uid: Vec<_> = found
            .iter()
            .map(|(login, line)| (login.uid, *line))
            .collect();
        of_uid.sort_unstable();
        of_uid.dedup_by_key(|(uid, _)| *uid);
        found.sort_by(|(a, _), (b, _)| table.name(*a).cmp(table.name(*b)));
        // The sort is stable: the first of equal names stays first. A uid has no login if the name in its first line has
        // another uid in an earlier line: the lookups must agree in both directions.
        let mut previous: Option<Login> = None;
        let mut kept = Vec::with_capacity(found.len());
        for (login, line) in found {
            if previous.is_none_or(|previous| table.name(previous) != table.name(login)) {
                kept.push((login, line));
            }
            previous = Some(login);
        }
        let mut index_of_line = vec![None; lines];
        for (index, (_, line)) in (0..).zip(&kept) {
            index_of_line[*line] = Some(index);
        }
        let of_line = |(_, line): &(u32, usize)| index_of_line[*line];
        table.by_uid = of_uid.iter().filter_map(of_line).collect();
        table.logins = kept.into_iter().map(|(login, _)| login).collect();
        Ok(table)
    }

    fn name(&self, login: Login) -> &str {
        self.text
            .get(login.start as usize..login.end as usize)
            .unwrap_or_default()
    }

    /// Returns the user ID of the login with this name.
    pub(crate) fn uid_of(&self, name: &str) -> Option<u32> {
        let found = self
            .logins
            .binary_search_by(|login| self.name(*login).cmp(name));
        found.ok().map(|index| self.logins[index].uid)
    }

    /// Returns the login of this user ID: the name of its first line, if that name has this user ID.
    pub(super) fn name_of(&self, uid: u32) -> Option<&str> {
        let login = |index: &u32| self.logins[*index as usize];
        let found = self
            .by_uid
            .binary_search_by_key(&uid, |index| login(index).uid);
        found.ok().map(|at| self.name(login(&self.by_uid[at])))
    }

    /// Returns the number of names.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.logins.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> LoginTable {
        LoginTable::read(text.as_bytes()).expect("read")
    }

    #[test]
    fn finds_logins_in_both_directions() {
        let t = table("root:x:0:0::/:\nzoe:x:7:7::/:\nal:x:8:8::/:\n# no:x:9:9::/:\n");
        assert_eq!(t.len(), 3);
        for (name, uid) in [("root", 0), ("zoe", 7), ("al", 8)] {
            assert_eq!(t.uid_of(name), Some(uid));
            assert_eq!(t.name_of(uid), Some(name));
        }
        for name in ["", "a", "all", "no"] {
            assert_eq!(t.uid_of(name), None, "{name}");
        }
        assert_eq!(t.name_of(9), None);
        assert_eq!(table("").uid_of("root"), None);
    }

    #[test]
    fn the_first_line_with_a_name_or_a_uid_counts() {
        // Two names share uid 7. The name al has two uids.
        let t = table("bo:x:7:1::/:\ncy:x:7:1::/:\nal:x:8:1::/:\nal:x:9:1::/:\n");
        assert_eq!(t.name_of(7), Some("bo"));
        assert_eq!(t.uid_of("cy"), Some(7));
        assert_eq!((t.uid_of("al"), t.name_of(8)), (Some(8), Some("al")));
        assert_eq!(t.name_of(9), None, "al has uid 8");
    }
}
