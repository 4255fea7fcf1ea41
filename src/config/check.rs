//! What the keys of droplined.toml say together: combinations that cannot work are mistakes, and combinations that make
//! no sense are odd. Defaults are not judged, only what the file itself says.

use std::net::{IpAddr, Ipv6Addr};

use toml::Spanned;

use super::keys::ConfigFile;
use super::values::Kind;
use crate::sys::login;

/// A mistake in the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// ` at line L, column C`; empty where the place is not known.
    pub(super) place: String,
    /// The mistake, in words.
    pub(super) what: String,
}

impl Mistake {
    /// A mistake at this byte of `text`.
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

    /// The mistake that the parser found in `text`.
    pub(super) fn in_toml(text: &str, error: &toml::de::Error) -> Self {
        let byte = error.span().map(|span| span.start);
        Self::at(text, byte, error.message().replace('\n', " "))
    }
}

/// Where a value begins.
fn start<T>(value: &Spanned<T>) -> Option<usize> {
    Some(value.span().start)
}

/// Refuses combinations that cannot work.
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
        let what = "spool and run_dir are one directory: the first is for the daemon alone, and the second for \
                    everybody who uses its socket";
        return Err(Mistake::at(text, start(run_dir), what.into()));
    }
    Ok(())
}

/// Refuses an account that this machine does not have.
///
/// # Errors
/// The place of an account that does not exist, or that the system cannot look up.
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

/// The place and the value of a key that the file has.
fn set<K: Kind>(key: &Option<Spanned<K>>) -> Option<(usize, K::Value)> {
    let key = key.as_ref()?;
    Some((key.span().start, key.as_ref().value()))
}

/// The place of the first, if both are set and it is larger than the second.
fn exceeds<T: PartialOrd>(more: Option<(usize, T)>, less: Option<(usize, T)>) -> Option<usize> {
    let ((at, more), (_, less)) = (more?, less?);
    (more > less).then_some(at)
}

/// Combinations that make no sense, and that the daemon takes as they are.
pub(super) fn oddities(text: &str, file: &ConfigFile) -> Vec<Mistake> {
    let children = || set(&file.max_children);
    let body = set(&file.max_body).map(|(at, bytes)| (at, bytes as u64));
    let found = [
        (
            exceeds(set(&file.children_per_source), children()),
            "children_per_source is more than max_children: one source may take all",
        ),
        (
            exceeds(set(&file.early_drop), children()),
            "early_drop is more than max_children: nobody is ever refused by lot",
        ),
        (
            exceeds(set(&file.first_byte_timeout), set(&file.request_timeout)),
            "first_byte_timeout is more than request_timeout, which ends the wait",
        ),
        (
            exceeds(body, set(&file.quota_bytes)),
            "max_body is more than quota_bytes: the longest messages fit into no mailbox",
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
    fn an_account_that_is_not_there_is_found_where_it_is_named() {
        let account = |text| has_account(text, &ConfigFile::parse(text).expect("valid"));
        let wrong = account("port = 1\nuser = \"nobody-here\"").expect_err("no such account");
        assert_eq!(wrong.place, " at line 2, column 8");
        assert_eq!(wrong.what, "there is no account nobody-here");
        for text in ["", "user = \"\"", "user = \"root\""] {
            assert_eq!(account(text), Ok(()));
        }
    }

    #[test]
    fn what_can_hardly_be_meant_is_odd_and_defaults_are_not_judged() {
        let odd = |text: &str| oddities(text, &ConfigFile::parse(text).expect("valid"));
        for (text, place, word) in [
            (
                "max_children = 9\nearly_drop = 10",
                "line 2, column 14",
                "by lot",
            ),
            (
                "max_children = 9\nchildren_per_source = 10",
                "line 2, column 23",
                "one source",
            ),
            (
                "request_timeout = 1\nfirst_byte_timeout = 2",
                "line 2, column 22",
                "the wait",
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
