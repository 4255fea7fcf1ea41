//! Who is online: a small file each in the run directory, replaced as a whole.
//!
//! `online/bob` is one line and its checksum:
//!
//! ```text
//! lease ADDRESS|- text|datagram BY TOKEN SINCE UNTIL BOOT
//! checksum CRC-32
//! ```
//!
//! Nothing is synced: after a crash of the machine its BOOT is another one, and the lease has ended. UNTIL is of
//! the clock that nobody can set. The lock of the mailbox guards it.

use std::io;
use std::str::FromStr;

use super::append::lock;
use super::layout::Spool;
use super::sweep;
use crate::name::Name;
use crate::store::{Lease, Speaks, StoreError};
use crate::sys::clock::boot_millis;
use crate::sys::dir::Dir;
use crate::sys::file;

/// Takes the lease of `name`, if `may_replace` lets go whoever has it.
pub(super) fn take(
    spool: &Spool,
    name: &Name,
    lease: &Lease,
    may_replace: &dyn Fn(&Lease) -> bool,
) -> Result<bool, StoreError> {
    let run = spool.run()?;
    sweep::now_and_then(spool);
    let _lock = lock(spool, name)?;
    match look_of(spool, name)? {
        LeaseFile::Current(other) if !may_replace(&other) => return Ok(false),
        // A name that has a file needs no further one.
        LeaseFile::Current(_) | LeaseFile::Over => {}
        LeaseFile::None => sweep::room(spool, run)?,
    }
    replace(&run.online, name, &encode(lease, &run.boot)).map_err(StoreError::system(
        "write",
        run.online.path_of(name.as_str()),
    ))?;
    Ok(true)
}

/// The lease of `name`, if it has not ended.
pub(super) fn lease(spool: &Spool, name: &Name) -> Result<Option<Lease>, StoreError> {
    Ok(match look_of(spool, name)? {
        LeaseFile::Current(lease) => Some(lease),
        LeaseFile::Over => {
            sweep::forget(spool, spool.run()?, name);
            None
        }
        LeaseFile::None => None,
    })
}

/// Ends the lease of `name` if `whose` agrees.
pub(super) fn give_back(
    spool: &Spool,
    name: &Name,
    whose: &dyn Fn(&Lease) -> bool,
) -> Result<bool, StoreError> {
    let run = spool.run()?;
    let _lock = lock(spool, name)?;
    let ours = match look_of(spool, name)? {
        LeaseFile::Current(lease) => whose(&lease),
        LeaseFile::Over => false,
        LeaseFile::None => return Ok(false),
    };
    if !ours {
        return Ok(false);
    }
    run.online
        .remove(name.as_str())
        .map_err(StoreError::system(
            "remove",
            run.online.path_of(name.as_str()),
        ))?;
    Ok(true)
}

/// Those who are online, and where that is known.
pub(super) fn online(spool: &Spool) -> Result<Vec<(Name, Lease)>, StoreError> {
    sweep::now_and_then(spool);
    let run = spool.run()?;
    let dir = &run.online;
    let names = dir
        .names()
        .map_err(StoreError::system("read", dir.path()))?;
    let (mut all, mut over) = (Vec::new(), 0);
    for name in names.iter().filter_map(|name| Name::new(name).ok()) {
        match look_of(spool, &name)? {
            LeaseFile::Current(lease) if lease.address.is_some() => all.push((name, lease)),
            LeaseFile::Over if over < sweep::AT_ONCE => {
                over += 1;
                sweep::forget(spool, run, &name);
            }
            _ => {}
        }
    }
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

/// What there is of somebody's lease.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LeaseFile {
    /// No file.
    None,
    /// One that has ended, or is not whole: presence is not worth an error.
    Over,
    /// One that holds.
    Current(Lease),
}

/// What there is of a lease in the file `name`.
///
/// # Errors
/// Those of the system.
pub(super) fn look(dir: &Dir, name: &str, boot: &str) -> io::Result<LeaseFile> {
    let Some(file) = dir.file(name)? else {
        return Ok(LeaseFile::None);
    };
    let lease = decode(&contents(&file)?, boot);
    Ok(lease.map_or(LeaseFile::Over, LeaseFile::Current))
}

fn look_of(spool: &Spool, name: &Name) -> Result<LeaseFile, StoreError> {
    let run = spool.run()?;
    look(&run.online, name.as_str(), &run.boot).map_err(StoreError::system(
        "read",
        run.online.path_of(name.as_str()),
    ))
}

fn contents(file: &std::fs::File) -> io::Result<Vec<u8>> {
    let mut text = vec![0; 512];
    let n = file::read_at(file, &mut text, 0)?;
    text.truncate(n);
    Ok(text)
}

fn replace(dir: &Dir, name: &Name, text: &str) -> io::Result<()> {
    // No name begins with a dot.
    let temporary = format!(".{name}.new");
    let write = || {
        let new = dir.file_or_new(&temporary)?;
        file::truncate(&new, 0)?;
        file::write_at(&new, text.as_bytes(), 0)?;
        dir.rename(&temporary, name.as_str())
    };
    write().inspect_err(|_| {
        // On a full disk each byte counts.
        let _ = dir.remove(&temporary);
    })
}

fn encode(lease: &Lease, boot: &str) -> String {
    let Lease {
        address,
        speaks,
        by,
        token,
        since,
        until,
    } = lease;
    let address = address.map_or_else(|| "-".into(), |address| address.to_string());
    let line = format!("lease {address} {speaks} {by} {token} {since} {until} {boot}\n");
    let sum = crc32fast::hash(line.as_bytes());
    format!("{line}checksum {sum:08x}\n")
}

/// The lease, if it is whole and has not ended.
fn decode(text: &[u8], boot: &str) -> Option<Lease> {
    let text = std::str::from_utf8(text).ok()?;
    let mut fields = text.lines().next()?.strip_prefix("lease ")?.split(' ');
    let address = fields.next()?;
    let lease = Lease {
        address: match address {
            "-" => None,
            address => Some(address.parse().ok()?),
        },
        speaks: fields.next()?.parse().ok()?,
        by: fields.next()?.parse().ok()?,
        token: fields.next()?.parse().ok()?,
        since: fields.next()?.parse().ok()?,
        until: fields.next()?.parse().ok()?,
    };
    (encode(&lease, boot) == text && lease.until > boot_millis()).then_some(lease)
}

impl std::fmt::Display for Speaks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Datagram => "datagram",
        })
    }
}

impl FromStr for Speaks {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "datagram" => Ok(Self::Datagram),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_lease() -> Lease {
        Lease {
            address: Some("[::1]:8283".parse().expect("an address")),
            speaks: Speaks::Datagram,
            by: "10.0.0.1".parse().expect("an address"),
            token: 7,
            since: 1_795_300_000_123,
            until: boot_millis() + 60_000,
        }
    }

    #[test]
    fn a_lease_is_whole_or_none_and_ends_with_its_time_and_its_boot() {
        let lease = a_lease();
        let text = encode(&lease, "b1");
        assert_eq!(decode(text.as_bytes(), "b1"), Some(lease));
        assert_eq!(decode(text.as_bytes(), "b2"), None);
        for cut in 0..text.len() {
            assert_eq!(decode(&text.as_bytes()[..cut], "b1"), None, "{cut}");
        }
        assert_eq!(decode(text.replace("8283", "8284").as_bytes(), "b1"), None);
        let over = Lease {
            until: boot_millis(),
            ..lease
        };
        assert_eq!(decode(encode(&over, "b1").as_bytes(), "b1"), None);
        let reserved = Lease {
            address: None,
            speaks: Speaks::Text,
            ..lease
        };
        assert_eq!(
            decode(encode(&reserved, "b").as_bytes(), "b"),
            Some(reserved)
        );
    }

    #[test]
    fn what_has_ended_is_swept_away() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(temp.path()).expect("a directory");
        let bob: Name = "bob".parse().expect("a name");
        replace(&dir, &bob, &encode(&a_lease(), "b1")).expect("written");
        std::fs::write(temp.path().join(".al.new"), "lease").expect("written");
        sweep::all(&dir, "b1").expect("swept");
        assert_eq!(dir.names().expect("readable"), [b"bob"]);
        sweep::all(&dir, "b2").expect("swept");
        assert_eq!(dir.names().expect("readable"), [[0_u8; 0]; 0]);
    }
}
