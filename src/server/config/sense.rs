//! What the keys of the configuration file say together: what can never be meant is wrong, and what can hardly be
//! meant is odd. Only what the file itself says is judged, and not the defaults beside it.

use std::net::{IpAddr, Ipv6Addr};

use toml::Spanned;

use super::file::{File, Within, Wrong};
use crate::sys::login;

/// Where a value begins.
fn start<T>(value: &Spanned<T>) -> Option<usize> {
    Some(value.span().start)
}

/// Refuses what no daemon could be started with, or nobody could reach.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check(text: &str, file: &File) -> Result<(), Wrong> {
    if let Some(bind) = &file.bind {
        let all = bind.as_ref().0.iter().map(IpAddr::to_canonical);
        let all: Vec<IpAddr> = all.collect();
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
            return Err(Wrong::at(text, start(bind), what));
        }
    }
    if let (Some(spool), Some(run_dir)) = (&file.spool, &file.run_dir)
        && spool.as_ref().0 == run_dir.as_ref().0
    {
        let what = "spool and run_dir are one directory: the first is for the daemon alone, and the second for \
                    everybody who uses its socket";
        return Err(Wrong::at(text, start(run_dir), what.into()));
    }
    Ok(())
}

/// Refuses an account that this machine does not have, or of which that cannot be found out.
///
/// # Errors
/// Where it is named.
pub(super) fn has_account(text: &str, file: &File) -> Result<(), Wrong> {
    let Some(user) = file.user.as_ref().filter(|user| !user.as_ref().is_empty()) else {
        return Ok(());
    };
    let name = user.as_ref();
    let what = match login::exists(name) {
        Ok(true) => return Ok(()),
        Ok(false) => format!("there is no account {name}"),
        Err(e) => format!("cannot look for the account {name}: {e}"),
    };
    Err(Wrong::at(text, start(user), what))
}

/// The place and the value of a number, if there is one.
fn number<const LEAST: u64, const MOST: u64>(
    value: &Option<Spanned<Within<LEAST, MOST>>>,
) -> Option<(usize, u64)> {
    value
        .as_ref()
        .map(|value| (value.span().start, value.as_ref().0))
}

/// What can hardly be meant, but may be.
pub(super) fn oddities(text: &str, file: &File) -> Vec<Wrong> {
    let (children, body) = (number(&file.max_children), number(&file.max_body));
    let (source, early) = (number(&file.children_per_source), number(&file.early_drop));
    let first = number(&file.first_byte_timeout);
    let (request, quota) = (number(&file.request_timeout), number(&file.quota_bytes));
    // The first of each pair is larger than the second, and then this is so.
    let pairs = [
        (
            source,
            children,
            "children_per_source is more than max_children: one source may take all",
        ),
        (
            early,
            children,
            "early_drop is more than max_children: nobody is ever refused by lot",
        ),
        (
            first,
            request,
            "first_byte_timeout is more than request_timeout, which ends the wait",
        ),
        (
            body,
            quota,
            "max_body is more than quota_bytes: the longest messages fit into no mailbox",
        ),
    ];
    let odd = pairs.into_iter().filter_map(|(more, less, what)| {
        let ((at, more), (_, less)) = (more?, less?);
        (more > less).then(|| Wrong::at(text, Some(at), what.into()))
    });
    odd.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_be_meant_is_refused_where_it_stands() {
        for (text, place, word) in [
            (
                "bind = [\"::1\", \"127.0.0.1\", \"::1\"]",
                "line 1, column 8",
                "::1 is named twice",
            ),
            (
                "\nbind = [\"::\", \"10.0.0.1\"]",
                "line 2, column 8",
                "10.0.0.1 among them",
            ),
            (
                "spool = \"/a\"\nrun_dir = \"/a\"",
                "line 2, column 11",
                "one directory",
            ),
        ] {
            let wrong = File::parse(text).expect_err(text);
            assert!(wrong.place.ends_with(place), "{wrong:?}");
            assert!(wrong.what.contains(word), "{wrong:?}");
        }
        for text in [
            "bind = [\"::\"]",
            "bind = [\"0.0.0.0\", \"::1\"]",
            "spool = \"/a\"",
        ] {
            File::parse(text).expect(text);
        }
    }

    #[test]
    fn an_account_that_is_not_there_is_found_where_it_is_named() {
        let account = |text| has_account(text, &File::parse(text).expect("valid"));
        let wrong = account("port = 1\nuser = \"nobody-here\"").expect_err("no such account");
        assert_eq!(wrong.place, " at line 2, column 8");
        assert_eq!(wrong.what, "there is no account nobody-here");
        for text in ["", "user = \"\"", "user = \"root\""] {
            assert_eq!(account(text), Ok(()));
        }
    }

    #[test]
    fn what_can_hardly_be_meant_is_odd_and_defaults_are_not_judged() {
        let odd = |text: &str| oddities(text, &File::parse(text).expect("valid"));
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
