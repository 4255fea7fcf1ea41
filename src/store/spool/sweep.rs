//! Removes ended presence leases, on access and in periodic sweeps, so that the run directory does not fill up.

use std::io;

use super::format::lease::LeaseFile;
use super::handle::Spool;
use super::paths::Run;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::clock::boot_millis;
use crate::sys::file;
use crate::sys::lock::Locked;

/// The file with the time of the last sweep as text. Its lock admits one sweep at a time. Names never begin with a dot.
const STAMP: &str = ".swept";
/// Shortest time between sweeps, in milliseconds. It is the shortest duration of a lease.
const EVERY: u64 = 5_000;
/// Maximum number of leases examined at a time, to bound the delay for a request.
const AT_ONCE: usize = 4_096;
/// The floors are limited to 1/`PART` of the file system, which is often a small tmpfs.
const PART: u64 = 16;

/// Removes ended and incomplete leases. No other process may use the directory.
pub(super) fn all(run: &Run) -> io::Result<()> {
    for name in run.online.names()? {
        let Ok(text) = std::str::from_utf8(&name) else {
            continue;
        };
        if !matches!(run.lease_file(text)?, LeaseFile::Current(_)) {
            run.online.remove(text)?;
        }
    }
    Ok(())
}

/// Removes ended leases, unless that was done recently. Best effort: errors are only logged.
pub(super) fn now_and_then(spool: &Spool) {
    let Ok(run) = spool.paths.run() else { return };
    let attempt = || -> io::Result<()> {
        let stamp = run.online.file_or_new(STAMP)?;
        if !is_due(&stamp)? {
            return Ok(());
        }
        let Ok(stamp) = Locked::attempt(stamp)? else {
            // Another process is sweeping.
            return Ok(());
        };
        if is_due(stamp.file())? {
            // Fixed width, so that it overwrites the old time completely.
            file::write_at(
                stamp.file(),
                format!("{:020}\n", boot_millis()).as_bytes(),
                0,
            )?;
            some(spool, run);
        }
        Ok(())
    };
    if let Err(e) = attempt() {
        log::debug!("cannot sweep {}: {e}", run.online.path().display());
    }
}

fn is_due(stamp: &std::fs::File) -> io::Result<bool> {
    let mut text = [0; 20];
    let n = file::read_at(stamp, &mut text, 0)?;
    let last = std::str::from_utf8(&text[..n]).ok();
    let last: Option<u64> = last.and_then(|text| text.parse().ok());
    let now = boot_millis();
    Ok(last.is_none_or(|last| last > now || now - last >= EVERY))
}

/// Removes the ended leases among [`AT_ONCE`] names. Starts at another name each time, to cover a larger directory too.
fn some(spool: &Spool, run: &Run) {
    let Ok(names) = run.online.names() else {
        return;
    };
    let first = usize::try_from(boot_millis()).unwrap_or_default() % names.len().max(1);
    let others = names[first..].iter().chain(&names[..first]);
    for name in others.filter_map(|name| Name::new(name).ok()).take(AT_ONCE) {
        if matches!(run.lease_file(name.as_str()), Ok(LeaseFile::Over)) {
            forget(spool, run, &name);
        }
    }
}

/// Removes the ended lease of `name`, unless another process holds the lock of the mailbox. Does not wait, and ignores
/// errors: an ended lease has no effect, and a later sweep finds it again.
pub(super) fn forget(spool: &Spool, run: &Run, name: &Name) {
    let Ok(file) = spool.paths.lock_file(name) else {
        return;
    };
    let Ok(Ok(_lock)) = Locked::attempt(file) else {
        return;
    };
    // A client may have taken the lease since it was read.
    if matches!(run.lease_file(name.as_str()), Ok(LeaseFile::Over)) {
        let _ = run.online.remove(name.as_str());
    }
}

/// Checks that the run directory has room for one more lease. The floors are those of the spool, limited by [`PART`].
///
/// # Errors
/// [`StoreError::DiskFull`]; I/O errors.
pub(super) fn room(spool: &Spool, run: &Run) -> Result<(), StoreError> {
    let path = run.online.path();
    let free =
        file::free(&run.online).map_err(StoreError::system("ask for free space in", path))?;
    let limits = &spool.limits;
    let least_bytes = limits.min_free_bytes.min(free.all_bytes / PART);
    let few_inodes = free
        .inodes
        .is_some_and(|inodes| inodes < limits.min_free_inodes.min(free.all_inodes / PART));
    if free.bytes < least_bytes || few_inodes {
        return Err(StoreError::disk_full(path));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{LeaseToken, Speaks};
    use crate::store::{Lease, Limits, Presence as _};

    fn spool(dir: &std::path::Path, limits: Limits) -> Spool {
        std::fs::create_dir(dir.join("run")).expect("made");
        let spool = Spool::open(&dir.join("spool"), limits).expect("a spool");
        spool.with_run_dir(&dir.join("run")).expect("a run dir")
    }

    fn take(spool: &Spool, name: &str, span: u64) -> Result<bool, StoreError> {
        let lease = Lease {
            address: Some("[::1]:8283".parse().expect("an address")),
            speaks: Speaks::Sealed,
            by: "10.0.0.1".parse().expect("an address"),
            token: LeaseToken([7; 8]),
            secret: None,
            since: 0,
            until: boot_millis() + span,
        };
        spool.take(&name.parse().expect("a name"), &lease, &|_| true)
    }

    fn files(spool: &Spool) -> Vec<String> {
        let run = spool.paths.run().expect("there");
        let names = run.online.names().expect("readable");
        let names = names
            .into_iter()
            .map(|n| String::from_utf8(n).expect("text"));
        let mut names: Vec<_> = names.filter(|name| name != STAMP).collect();
        names.sort();
        names
    }

    fn long_ago(spool: &Spool) {
        let run = spool.paths.run().expect("there");
        run.online.remove(STAMP).expect("swept before");
    }

    #[test]
    fn ended_leases_are_swept_when_another_is_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = spool(dir.path(), Limits::default());
        for n in 0..50 {
            assert!(take(&spool, &format!("u{n}"), 0).expect("taken"));
        }
        assert_eq!(files(&spool).len(), 50, "not each time");
        long_ago(&spool);
        assert!(take(&spool, "al", 60_000).expect("taken"));
        assert_eq!(files(&spool), ["al"]);
    }

    #[test]
    fn an_ended_lease_is_removed_when_it_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = spool(dir.path(), Limits::default());
        for name in ["al", "bob", "cy", "di"] {
            take(&spool, name, if name == "al" { 60_000 } else { 0 }).expect("taken");
        }
        let bob: Name = "bob".parse().expect("a name");
        assert_eq!(spool.lease(&bob).expect("readable"), None);
        assert_eq!(files(&spool), ["al", "cy", "di"]);
        // A locked mailbox is skipped without waiting.
        let cy: Name = "cy".parse().expect("a name");
        let lock = Locked::wait(spool.paths.lock_file(&cy).expect("opened")).expect("locked");
        assert_eq!(spool.lease(&cy).expect("readable"), None);
        assert_eq!(files(&spool), ["al", "cy", "di"]);
        drop(lock);
        assert_eq!(spool.lease(&cy).expect("readable"), None);
        assert_eq!(files(&spool), ["al", "di"]);
    }

    #[test]
    fn a_nearly_full_run_directory_takes_no_new_names() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut spool = spool(dir.path(), Limits::default());
        take(&spool, "al", 60_000).expect("taken");
        let free = file::free(&spool.paths.run().expect("there").online).expect("known");
        let full = free.bytes < free.all_bytes / PART;
        spool.limits.min_free_bytes = u64::MAX;
        // The floor is limited to a part of the file system.
        let new = take(&spool, "bob", 60_000);
        assert_eq!(matches!(new, Err(StoreError::DiskFull(_))), full);
        assert!(take(&spool, "al", 60_000).expect("renewed"));
    }
}
