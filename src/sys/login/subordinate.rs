//! The subordinate user IDs of logins (subuid(5)), which the processes in their containers have.

use std::io::{self, Read};

use super::files;
use super::table::LoginTable;

pub(super) const SUBORDINATES: &str = "/etc/subuid";

/// Ranges of user IDs, each with the login that it belongs to.
#[derive(Debug, Default)]
pub(super) struct Subordinates(Vec<Range>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    start: u32,
    count: u32,
    login: u32,
}

impl Subordinates {
    /// Reads /etc/subuid, which names logins of `table`. A missing or unreadable file has no ranges.
    pub(super) fn of_this_machine(table: &LoginTable) -> Self {
        let read = super::in_file(SUBORDINATES, |file| Self::read(file, table));
        match read {
            Ok(read) => read.unwrap_or_default(),
            Err(e) => {
                log::warn!("{e}; the processes of containers count as separate sources");
                Self::default()
            }
        }
    }

    /// Reads lines `LOGIN:START:COUNT`, in which the login is a name or a user ID. Other lines are skipped.
    fn read(source: impl Read, table: &LoginTable) -> io::Result<Self> {
        let mut ranges = Vec::new();
        files::each_line(source, |line| {
            ranges.extend(range(line, table));
            true
        })?;
        ranges.sort_unstable();
        Ok(Self(ranges))
    }

    /// Returns the user ID of the login that `uid` is subordinate to. Of ranges that overlap, the last one that begins
    /// before `uid` counts.
    pub(super) fn login_of(&self, uid: u32) -> Option<u32> {
        let after = self.0.partition_point(|range| range.start <= uid);
        let range = self.0.get(after.checked_sub(1)?)?;
        (uid - range.start < range.count).then_some(range.login)
    }
}

fn range(line: &str, table: &LoginTable) -> Option<Range> {
    let mut fields = line.trim_end().split(':');
    let (login, start, count) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Range {
        start: files::number(start)?,
        count: files::number(count)?,
        login: table.uid_of(login).or_else(|| files::number(login))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subordinate_uid_belongs_to_its_login() {
        let table = LoginTable::read(&b"al:x:7:7::/:\nbo:x:8:8::/:\n"[..]).expect("read");
        let text = "bo:165536:65536\nal:100000:65536\n9:300000:1\nno:400000:9\n#x\nal:x:9\nal:5\n";
        let all = Subordinates::read(text.as_bytes(), &table).expect("read");
        for (uid, login) in [
            (99_999, None),
            (100_000, Some(7)),
            (165_535, Some(7)),
            (165_536, Some(8)),
            (231_071, Some(8)),
            (231_072, None),
            (300_000, Some(9)),
            (300_001, None),
            (400_000, None),
            (u32::MAX, None),
        ] {
            assert_eq!(all.login_of(uid), login, "{uid}");
        }
        assert_eq!(Subordinates::default().login_of(0), None);
    }
}
