//! Checks combinations of keys. Those that cannot work are mistakes; those that make no sense are oddities. Only keys
//! that the file sets are checked, not defaults.

use std::net::{IpAddr, Ipv6Addr};

use toml::Spanned;

use super::keys::ConfigFile;
use super::values::Kind;
use crate::sys::login;

/// A mistake in the configuration file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// ` at line L, column C`, or empty if unknown.
    pub(super) place: String,
    pub(super) what: String,
}

impl Mistake {
    /// Returns a mistake at this byte of `text`.
    fn at(text: &str, byte: Option<usize>, what: String) -> Self {
        let before = byte.and_then(|byte| text.get(..byte));
        let place = before.map(|before| {
            let line = before.matches('\n').count() + 1;
            let last = before.rsplit('\n').next();
            let column = last.map_or(0, |line| line.chars().count()) + 1;
            format!(" at line {line}, column {column}")
        });
        Self {
            place: place.unwrap_or_default(),
            what,
        }
    }

    /// Converts an error of the TOML parser.
    pub(super) fn in_toml(text: &str, error: &toml::de::Error) -> Self {
        let byte = error.span().map(|span| span.start);
        Self::at(text, byte, error.message().replace('\n', " "))
    }
}

/// Returns the offset at which a value begins.
fn start<T>(value: &Spanned<T>) -> Option<usize> {
    Some(value.span().start)
}

/// Rejects combinations that cannot work.
///
/// # Errors
/// The first mistake.
pub(super) fn check(text: &str, file: &ConfigFile) -> Result<(), Mistake> {
    if let Some(bind) = &file.bind {
        let all = bind.as_ref().value();
        let all: Vec<IpAddr> = all.iter().map(IpAddr::to_canonical).collect();
        let twice = all
            .iter()
            .enumerate()
            .find(|(n, ip)| all[..*n].contains(ip));
        let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let covered = all.iter().find(|ip| **ip != any && all.contains(&any));
        let what = match (twice, covered) {
            (Some((_, ip)), _) => Some(format!("{ip} is named twice")),
            (None, Some(ip)) => Some(format!("\"::\" is all addresses, {ip} among them")),
            (None, None) => None,
        };
        if let Some(what) = what {
            return Err(Mistake::at(text, start(bind), what));
        }
    }
    if let (Some(spool), Some(run_dir)) = (&file.spool, &file.run_dir)
        && spool.as_ref().value() == run_dir.as_ref().value()
    {
        let what = "spool and run_dir are one directory: only the daemon may enter the spool, but all users of the \
                    socket must enter run_dir";
        return Err(Mistake::at(text, start(run_dir), what.into()));
    }
    if let (Some(open), Some(sockets)) = (&file.open_logins, &file.socket) {
        let (names, sockets) = (open.as_ref().value(), sockets.as_ref().value());
        if let Some(socket) = sockets.iter().find(|socket| names.contains(&socket.name)) {
            let what = format!(
                "open_logins has {0}, but a [[socket]] has this name: a name cannot be open to TCP clients and \
                 belong to the clients of a socket",
                socket.name
            );
            return Err(Mistake::at(text, start(open), what));
        }
    }
    Ok(())
}

/// Rejects an account that does not exist on this machine.
///
/// # Errors
/// When the account does not exist, or cannot be looked up.
pub(super) fn has_account(text: &str, file: &ConfigFile) -> Result<(), Mistake> {
    let Some(user) = &file.user else {
        return Ok(());
    };
    let Some(name) = user.as_ref().value() else {
        return Ok(());
    };
    let what = match login::exists(&name) {
        Ok(true) => return Ok(()),
        Ok(false) => format!("there is no account {name}"),
        Err(e) => format!("cannot look for the account {name}: {e}"),
    };
    Err(Mistake::at(text, start(user), what))
}

/// Returns the offset and the value of a key that the file sets.
fn set<K: Kind>(key: &Option<Spanned<K>>) -> Option<(usize, K::Value)> {
    let key = key.as_ref()?;
    Some((key.span().start, key.as_ref().value()))
}

/// Returns the offset of the first key if both are set and the first is larger.
fn exceeds<T: PartialOrd>(more: Option<(usize, T)>, less: Option<(usize, T)>) -> Option<usize> {
    let ((at, more), (_, less)) = (more?, less?);
    (more > less).then_some(at)
}

/// Returns combinations that make no sense, but that the daemon accepts.
pub(super) fn oddities(text: &str, file: &ConfigFile) -> Vec<Mistake> {
    let children = || set(&file.max_children);
    let body = set(&file.max_body).map(|(at, bytes)| (at, bytes as u64));
    let found = [
        (
            exceeds(set(&file.children_per_source), children()),
            "children_per_source is more than max_children: one source can take all connections",
        ),
        (
            exceeds(set(&file.early_drop), children()),
            "early_drop is more than max_children: no connection is ever refused at random",
        ),
        (
            exceeds(set(&file.full_timeout), set(&file.crowd_timeout)),
            "full_timeout is more than crowd_timeout: clients wait longer the fewer connections are free",
        ),
        (
            exceeds(body, set(&file.quota_bytes)),
            "max_body is more than quota_bytes: no mailbox has room for the longest messages",
        ),
    ];
    let odd = found.into_iter().filter(|(at, _)| at.is_some());
    odd.map(|(at, what)| Mistake::at(text, at, what.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_account_is_reported_with_its_position() {
        let account = |text| has_account(text, &ConfigFile::parse(text).expect("valid"));
        let wrong = account("port = 1\nuser = \"no-such-account\"").expect_err("no such account");
        assert_eq!(wrong.place, " at line 2, column 8");
        assert_eq!(wrong.what, "there is no account no-such-account");
        for text in ["", "user = \"\"", "user = \"root\""] {
            assert_eq!(account(text), Ok(()));
        }
    }

    #[test]
    fn senseless_combinations_are_odd_and_defaults_are_not_checked() {
        let odd = |text: &str| oddities(text, &ConfigFile::parse(text).expect("valid"));
        for (text, place, word) in [
            (
                "max_children = 9\nearly_drop = 10",
                "line 2, column 14",
                "at random",
            ),
            (
                "max_children = 9\nchildren_per_source = 10",
                "line 2, column 23",
                "one source",
            ),
            (
                "crowd_timeout = 1\nfull_timeout = 2",
                "line 2, column 16",
                "the fewer",
            ),
            (
                "quota_bytes = 5000\nmax_body = 5001",
                "line 2, column 12",
                "no mailbox",
            ),
        ] {
            let all = odd(text);
            assert_eq!(all.len(), 1, "{all:?}");
            assert!(
                all[0].place.ends_with(place) && all[0].what.contains(word),
                "{all:?}"
            );
        }
        for text in [
            "max_children = 9",
            "request_timeout = 1",
            "quota_bytes = 4096",
            "max_children = 9\nearly_drop = 9\nchildren_per_source = 9",
        ] {
            assert_eq!(odd(text), [], "{text}");
        }
    }
}
