//! The sources of logins and groups that nsswitch.conf(5) configures.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::sys::file;

/// The files that configure the sources of the machine. The second has the defaults of vendors that keep /etc empty.
const CONFIGURATIONS: [&str; 2] = ["/etc/nsswitch.conf", "/usr/etc/nsswitch.conf"];
/// The longest of these files, in bytes.
const LONGEST: usize = 64 * 1024;

/// Sources that read files of this machine, or ask its service manager. They are always there: a login that they do not
/// have does not exist. All other sources can be away, and getent(1) then reports that there is no such login.
const LOCAL: [&str; 6] = [
    "files",
    "systemd",
    "db",
    "extrausers",
    "altfiles",
    "mymachines",
];

/// The sources of a database, in the order of their use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sources {
    Known(Vec<String>),
    /// The configuration cannot be read, or does not mention the database.
    Unknown,
}

impl Sources {
    /// Returns the sources of the first of `databases` that the machine's configuration mentions. Without a
    /// configuration, it is `files`.
    pub(super) fn of_this_machine(databases: &[&str]) -> Self {
        let read = |path: &&str| match file::read_small(Path::new(path), LONGEST, Duration::ZERO) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            // An unreadable file may configure any source.
            text => Some(text.unwrap_or_default()),
        };
        match CONFIGURATIONS.iter().find_map(read) {
            Some(text) => Self::parse(&text, databases),
            None => Self::Known(vec!["files".into()]),
        }
    }

    /// Parses the text of nsswitch.conf(5).
    pub(super) fn parse(text: &str, databases: &[&str]) -> Self {
        let lines = || text.lines().map(|line| line.split('#').next());
        let of = |database: &&str| {
            let mut named = lines().filter_map(|line| line?.split_once(':'));
            named.find_map(|(name, sources)| (name.trim() == *database).then_some(sources))
        };
        let Some(sources) = databases.iter().find_map(of) else {
            return Self::Unknown;
        };
        // Actions such as `[NOTFOUND=return]` only control when a lookup stops.
        let outside = sources.split('[').enumerate().map(|(n, part)| match n {
            0 => part,
            _ => part.split_once(']').map_or("", |(_, after)| after),
        });
        let words = outside.flat_map(str::split_whitespace);
        Self::Known(words.map(str::to_owned).collect())
    }

    /// Returns whether `files` is the only source.
    pub(super) fn are_files_alone(&self) -> bool {
        matches!(self, Self::Known(sources) if sources.iter().all(|source| source == "files"))
    }

    /// Returns the sources that can be away, in the syntax of nsswitch.conf(5). Empty if there is none.
    pub(super) fn remote(&self) -> String {
        let Self::Known(sources) = self else {
            return String::new();
        };
        let is_remote = |source: &&String| !LOCAL.contains(&source.as_str());
        let remote: Vec<_> = sources.iter().filter(is_remote).cloned().collect();
        remote.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_a_machine_with_files_only() {
        let alone = |text: &str| Sources::parse(text, &["passwd"]).are_files_alone();
        for text in [
            "passwd: files",
            "# x\npasswd:\tfiles # systemd\n",
            " passwd : files [NOTFOUND=return]\ngroup: ldap",
            "passwd: files [!SUCCESS=return UNAVAIL=continue] files",
            "group: ldap\npasswd:files\npasswd: ldap",
        ] {
            assert!(alone(text), "{text:?}");
        }
        for text in [
            "",
            "passwd: files systemd",
            "passwd: compat",
            "#passwd: files",
            "group: files",
            "passwd: sss files",
            "passwd: db [SUCCESS=merge] files",
            "passwd files",
        ] {
            assert!(!alone(text), "{text:?}");
        }
        let groups = |text: &str| Sources::parse(text, &["initgroups", "group"]).are_files_alone();
        assert!(groups("group: files") && !groups("group: files\ninitgroups: sss"));
        assert!(groups("group: sss\ninitgroups: files") && !groups("passwd: files"));
    }

    #[test]
    fn names_the_sources_that_can_be_away() {
        for (text, remote) in [
            ("passwd: files", ""),
            ("passwd: files systemd", ""),
            (
                "passwd: db files extrausers altfiles mymachines systemd",
                "",
            ),
            ("passwd: sss [NOTFOUND=return] files systemd", "sss"),
            (
                "passwd: files ldap [UNAVAIL=return TRYAGAIN=continue] winbind",
                "ldap winbind",
            ),
            ("passwd: compat", "compat"),
            ("", ""),
        ] {
            assert_eq!(Sources::parse(text, &["passwd"]).remote(), remote, "{text}");
        }
    }
}
