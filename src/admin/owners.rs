//! `droplinectl release` and `owner`: the owners of names, and the messages of former owners.

use std::io::{self, BufWriter, Write};

use super::failure::{Failure, say};
use super::list::{time, uid_text};
use crate::name::Name;
use crate::store::{
    Engine, FormerOwner, Owner, OwnerRecord, RestoreTo, SetAside, StoreError, Survey, Users,
};
use crate::sys::login::{self, LoginTable};

/// Releases `name`.
///
/// # Errors
/// [`Failure::NotClaimed`] if it has no owner.
pub(super) fn release(store: &dyn Users, name: &Name) -> Result<(), Failure> {
    match store.release(name)? {
        true => Ok(()),
        false => Err(Failure::NotClaimed(name.clone())),
    }
}

/// Releases the names whose owners' accounts are gone, and prints them with the uid. With `dry_run`, only prints them.
///
/// # Errors
/// [`Failure::Findings`] if some could not be looked up or released, which are reported.
pub(super) fn release_gone(store: &dyn Users, dry_run: bool) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let Gone { owners, mut failed } = gone(store)?;
    for (name, uid) in owners {
        // The account may be there again, and have claimed the name.
        if dry_run || is_done(&mut failed, store.release_owner(&name, uid)) {
            writeln!(out, "{name}\t{uid}")?;
        }
    }
    out.flush()?;
    Failure::unless_none(failed)
}

fn is_done(failed: &mut usize, done: Result<bool, StoreError>) -> bool {
    done.unwrap_or_else(|e| {
        say(e);
        *failed += 1;
        false
    })
}

/// The owners whose accounts are gone.
pub(super) struct Gone {
    /// Their names and uids.
    pub(super) owners: Vec<(Name, u32)>,
    /// The number of owners that could not be looked up.
    pub(super) failed: usize,
}

/// Returns the names whose owners had an account in /etc/passwd that is gone: neither this file nor another source of
/// logins has the name with this uid. Accounts that were never in the file are not counted, because other sources may
/// wrongly report that an account does not exist.
///
/// # Errors
/// When /etc/passwd cannot be read. Names that cannot be looked up elsewhere are reported and not counted.
pub(super) fn gone(store: &dyn Users) -> Result<Gone, Failure> {
    let logins = LoginTable::of_this_machine().map_err(Failure::Logins)?;
    let mut gone = Gone {
        owners: Vec::new(),
        failed: 0,
    };
    for (name, record) in store.claims()? {
        let OwnerRecord::Complete(Owner {
            uid: Some(uid),
            in_files: true,
            ..
        }) = record
        else {
            continue;
        };
        if logins.uid_of(name.as_str()) == Some(uid) {
            continue;
        }
        match login::uid(name.as_str()) {
            Ok(Some(other)) if other == uid => {}
            Ok(_) => gone.owners.push((name, uid)),
            Err(e) => {
                say(format_args!(
                    "cannot look up whether {name} is a login: {e}; it counts as one"
                ));
                gone.failed += 1;
            }
        }
    }
    if !gone.owners.is_empty() && is_directory_away(store, &logins)? {
        say(format_args!(
            "the directory service of this machine does not answer, so that {} missing accounts may be in it; they \
             count as present",
            gone.owners.len()
        ));
        gone.failed += gone.owners.len();
        gone.owners.clear();
    }
    Ok(gone)
}

/// Returns whether no login that is known to come from a directory service resolves: a report of this service that a
/// login does not exist proves nothing then.
fn is_directory_away(store: &dyn Users, logins: &LoginTable) -> Result<bool, Failure> {
    let mut canaries = store.canaries()?;
    canaries.retain(|name| logins.uid_of(name.as_str()).is_none());
    let resolves = |name: &Name| matches!(login::uid(name.as_str()), Ok(Some(_)));
    Ok(login::has_other_sources() && !canaries.is_empty() && !canaries.iter().any(resolves))
}

/// Gives the set-aside messages of `name` back.
///
/// # Errors
/// When there are none for its present owner.
pub(super) fn restore(store: &dyn Engine, name: &Name, to: RestoreTo) -> Result<(), Failure> {
    let is_unowned = !store.claimed(name)?;
    let is_login = || login::exists(name.as_str()).map_err(Failure::Logins);
    // A login owns its name before its first use of the daemon. Its uid is recorded by that use.
    if is_unowned && (to == RestoreTo::PresentOwner || is_login()?) {
        return Err(Failure::NoOwner(name.clone()));
    }
    let restored = store.restore_set_aside(name, to)?;
    if restored.messages > 0 {
        let messages = match restored.messages {
            1 => "1 message is".into(),
            n => format!("{n} messages are"),
        };
        say(format_args!("{messages} waiting for {name} again"));
    }
    Failure::unless_none(restored.unreadable)?;
    match (restored.messages, restored.others) {
        (_, 1..) => Err(Failure::OthersMessages(name.clone())),
        (0, 0) => Err(Failure::NothingSetAside(name.clone())),
        (_, 0) => Ok(()),
    }
}

/// Prints a line for each set-aside mailbox: name, time, number of waiting and of read messages, bytes on disk, and the
/// uid that it belonged to.
pub(super) fn list(store: &dyn Survey) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    for set_aside in store.set_aside()? {
        let SetAside {
            name,
            at,
            from,
            waiting,
            read,
            bytes,
        } = set_aside;
        let (at, from) = (time(Some(at)), former(from));
        writeln!(out, "{name}\t{at}\t{waiting}\t{read}\t{bytes}\t{from}")?;
    }
    Ok(out.flush()?)
}

fn former(owner: FormerOwner) -> String {
    match owner {
        FormerOwner::None => "-".into(),
        FormerOwner::Login(uid) => uid_text(Some(uid)),
        FormerOwner::Unknown => uid_text(None),
    }
}

/// Makes the login `uid` the owner of `name`, which has an owner.
///
/// # Errors
/// [`Failure::NotClaimed`] if it has no owner.
pub(super) fn assign(store: &dyn Users, name: &Name, uid: u32) -> Result<(), Failure> {
    match store.assign(name, uid)? {
        true => Ok(()),
        false => Err(Failure::NotClaimed(name.clone())),
    }
}
