//! The directory: what is in it, how it is made, and who may work on it.
//!
//! ```text
//! spool/           0700, files 0600
//!   FORMAT         which format this is; another one is refused
//!   lock/000..fff  lock files, made once and never removed
//!   mail/3f/bob    the mailbox of bob
//!   user/3f/bob    that bob is registered
//!   quarantine/    what repair took out of mailboxes
//! run/             may vanish at a reboot
//!   online/bob     that bob is online, and where
//!   watch/bob      a FIFO, to wake whoever watches the mailbox of bob
//! ```

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::path::Path;

use super::kept::{self, Kept};
use super::limits::Limits;
use super::sweep;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::clock;
use crate::sys::file::{self, Dir};
use crate::sys::lock::{Claim, OwnerFile};

/// The whole of the file FORMAT. The hash is part of the format: it chooses the folder of a mailbox.
const FORMAT: &str = "dropline spool 1\nhash crc32\nlocks 4096\nfolders 256\n";
const LOCKS: u32 = 4096;
const FOLDERS: u32 = 256;
/// The file whose lock says that somebody works on the spool; it holds that process's number.
const OWNER: &str = "owner";

/// A spool that is ready for use. Open it once and fork: the handles may be shared, and every file is
/// opened after the fork.
#[derive(Debug)]
pub(crate) struct Spool {
    locks: Dir,
    mail: Dir,
    users: Dir,
    pub(super) quarantine: Dir,
    run: Option<Run>,
    limits: Limits,
    /// Told of each request that fails for want of room.
    alarm: Option<Alarm>,
    /// The mailboxes that this process has appended to lately.
    pub(super) kept: Kept,
}

/// What may vanish at a reboot.
#[derive(Debug)]
pub(super) struct Run {
    /// A lease for each who is online.
    pub(super) online: Dir,
    /// A FIFO for each mailbox that is watched.
    pub(super) watch: Dir,
    /// Which start of this machine this is.
    pub(super) boot: String,
}

/// Whom to tell that a disk is full.
struct Alarm(Box<dyn Fn(&StoreError) + Send + Sync>);

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alarm")
    }
}

/// The right to work on a spool, for one daemon at a time. It goes with the process, however it ends.
#[derive(Debug)]
pub(crate) struct SpoolLock {
    _owner: OwnerFile,
}

impl Spool {
    /// Opens the spool at `path` for a daemon. A directory that is not there, or is empty, is made one.
    ///
    /// # Errors
    /// When somebody else works on it, when it has another format, or belongs to another user, and those
    /// of the system.
    pub(crate) fn open(path: &Path, limits: Limits) -> Result<(Self, SpoolLock), StoreError> {
        make_path(path)?;
        let root = Dir::open(path).map_err(StoreError::system("open the spool", path))?;
        let format = read_format(&root)?;
        if format.is_none() {
            // Before anything is changed: what is not a spool shall stay as it is.
            refuse_strangers(&root)?;
            root.make_private()
                .map_err(StoreError::system("chmod 0700", path))?;
        }
        let privacy = root
            .privacy()
            .map_err(StoreError::system("look at", path))?;
        privacy.map_err(|what| unusable(path, what))?;
        let lock = own(&root)?;
        match &format {
            Some(format) => known(path, format)?,
            None => make(&root)?,
        }
        // It is empty at first, and may have been removed when it was empty again.
        root.make_dir("quarantine")
            .map_err(StoreError::system("make", root.path_of("quarantine")))?;
        Ok((Self::handles(&root, limits)?, lock))
    }

    /// Opens the spool at `path` to look at it, whether or not a daemon works on it.
    ///
    /// # Errors
    /// When there is none, or it has another format, and those of the system.
    pub(crate) fn look_at(path: &Path) -> Result<Self, StoreError> {
        let root = Dir::open(path).map_err(StoreError::system("open the spool", path))?;
        match read_format(&root)? {
            Some(format) => known(path, &format)?,
            None => return Err(unusable(path, "it has no file FORMAT".into())),
        }
        Self::handles(&root, Limits::default())
    }

    fn handles(root: &Dir, limits: Limits) -> Result<Self, StoreError> {
        let sub = |name| {
            root.sub(name)
                .map_err(StoreError::system("open", root.path_of(name)))
        };
        Ok(Self {
            locks: sub("lock")?,
            mail: sub("mail")?,
            users: sub("user")?,
            quarantine: sub("quarantine")?,
            run: None,
            limits,
            alarm: None,
            kept: Kept::within(kept::DESCRIPTORS),
        })
    }

    /// Lets it know who is online, and wake who watches, in the directory `run_dir`. What is there from an
    /// earlier daemon and has ended is removed.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn with_run_dir(mut self, run_dir: &Path) -> Result<Self, StoreError> {
        let boot = clock::boot_id().map_err(StoreError::system("read", clock::BOOT_ID))?;
        let open = || -> io::Result<Run> {
            let dir = Dir::open(run_dir)?;
            let sub = |name| {
                dir.make_dir(name)?;
                let sub = dir.sub(name)?;
                sub.make_private()?;
                Ok::<_, io::Error>(sub)
            };
            let run = Run {
                online: sub("online")?,
                watch: sub("watch")?,
                boot,
            };
            sweep::all(&run.online, &run.boot)?;
            for fifo in run.watch.names()? {
                run.watch.remove(&String::from_utf8_lossy(&fifo))?;
            }
            Ok(run)
        };
        self.run = Some(open().map_err(StoreError::system("prepare", run_dir))?);
        Ok(self)
    }

    /// What may vanish at a reboot.
    ///
    /// # Errors
    /// When this spool was opened without it.
    pub(super) fn run(&self) -> Result<&Run, StoreError> {
        self.run.as_ref().ok_or_else(|| StoreError::Spool {
            path: self.mail.path().to_owned(),
            what: "it was opened without a run directory".into(),
        })
    }

    /// Opens the lock file that guards the mailbox of `name`; it guards others as well.
    pub(super) fn stripe(&self, name: &Name) -> Result<File, StoreError> {
        let stripe = format!("{:03x}", hash(name) % LOCKS);
        self.locks
            .file(&stripe)
            .and_then(|file| file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)))
            .map_err(StoreError::system(
                "open the lock file",
                self.locks.path_of(&stripe),
            ))
    }

    /// Where the mailbox of `name` is, from [`mail`](Self::mail) on.
    pub(super) fn place(name: &Name) -> String {
        format!("{}/{name}", folder(name))
    }

    /// The descriptors that it needs, for a process that closes all others.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let mut dirs = vec![&self.locks, &self.mail, &self.users, &self.quarantine];
        dirs.extend(self.run.iter().flat_map(|run| [&run.online, &run.watch]));
        dirs.iter().map(|dir| dir.as_fd().as_raw_fd()).collect()
    }

    /// Tells `whom` of each request that fails for want of room on a disk.
    pub(crate) fn alarm(&mut self, whom: impl Fn(&StoreError) + Send + Sync + 'static) {
        self.alarm = Some(Alarm(Box::new(whom)));
    }

    /// Hands on what came of a request, and tells of a disk that is full.
    pub(super) fn heard<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(e @ StoreError::DiskFull(_)), Some(alarm)) = (&result, &self.alarm) {
            alarm.0(e);
        }
        result
    }

    /// Keeps no more files open than a process may that has so many descriptors.
    pub(crate) fn keep_within(&mut self, descriptors: usize) {
        self.kept = Kept::within(descriptors);
    }

    /// Other limits from now on.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What a mailbox may hold, and what is kept.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Removes the mailbox of `name`, which has nothing in it.
    pub(super) fn remove(&self, name: &Name) -> Result<(), StoreError> {
        let folder = self.folder(name)?;
        folder
            .remove(name.as_str())
            .and_then(|()| folder.sync())
            .map_err(StoreError::system("remove", folder.path_of(name.as_str())))
    }

    /// The directory of all mailboxes.
    pub(super) fn mail(&self) -> &Dir {
        &self.mail
    }

    /// The name of the folder of the mailbox of `name`.
    pub(super) fn folder_name(name: &Name) -> String {
        folder(name)
    }

    /// The directory of all users.
    pub(super) fn user_dir(&self) -> &Dir {
        &self.users
    }

    /// The folder of the mailbox of `name`, to wait until its name is on the disk.
    pub(super) fn folder(&self, name: &Name) -> Result<Dir, StoreError> {
        let folder = folder(name);
        self.mail
            .sub(&folder)
            .map_err(StoreError::system("open", self.mail.path_of(&folder)))
    }
}

fn hash(name: &Name) -> u32 {
    crc32fast::hash(name.as_bytes())
}

fn folder(name: &Name) -> String {
    format!("{:02x}", hash(name) >> 24)
}

/// Whether this is the format that we know.
fn known(path: &Path, format: &str) -> Result<(), StoreError> {
    if format == FORMAT {
        return Ok(());
    }
    let said = format.lines().next().unwrap_or_default();
    let what = format!(
        "its file FORMAT, which begins with \"{}\", is not the one of format 1 as this program writes \
         it; use the version that made the spool",
        said.escape_debug()
    );
    Err(unusable(path, what))
}

fn unusable(path: &Path, what: String) -> StoreError {
    StoreError::Spool {
        path: path.to_owned(),
        what,
    }
}

/// Makes the directory, and those above it.
fn make_path(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StoreError::system("make the spool", path))?;
    let above = path.parent().unwrap_or(path);
    let above = if above.as_os_str().is_empty() {
        Path::new(".")
    } else {
        above
    };
    Dir::open(above)
        .and_then(|dir| dir.sync())
        .map_err(StoreError::system("sync", above))
}

fn read_format(root: &Dir) -> Result<Option<String>, StoreError> {
    let path = root.path_of("FORMAT");
    let Some(file) = root
        .file("FORMAT")
        .map_err(StoreError::system("open", &path))?
    else {
        return Ok(None);
    };
    let mut text = [0; 256];
    let n = file::read_at(&file, &mut text, 0).map_err(StoreError::system("read", &path))?;
    Ok(Some(String::from_utf8_lossy(&text[..n]).into_owned()))
}

/// Without a FORMAT there must be nothing, or what an earlier attempt at [`make`] has left.
fn refuse_strangers(root: &Dir) -> Result<(), StoreError> {
    let path = root.path();
    let names = root.names().map_err(StoreError::system("read", path))?;
    let ours = [
        &b"lock"[..],
        b"mail",
        b"user",
        b"quarantine",
        OWNER.as_bytes(),
        b"FORMAT.new",
    ];
    if let Some(stranger) = names.iter().find(|name| !ours.contains(&name.as_slice())) {
        let what = format!(
            "it is not empty and has no file FORMAT (it has \"{}\"); name an empty directory, or one \
             that dropline made",
            stranger.escape_ascii()
        );
        return Err(unusable(path, what));
    }
    for n in 0..FOLDERS {
        let folder = format!("mail/{n:02x}");
        match root.sub(&folder).and_then(|dir| dir.names()) {
            Ok(names) if !names.is_empty() => {
                let what = format!(
                    "its file FORMAT is gone, but {folder} has mailboxes; put the file back (from a \
                     backup, or from a new spool of the same version)"
                );
                return Err(unusable(path, what));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes the lock of the whole spool: of the directory itself, which nobody can remove by mistake. The file
/// says who has it.
fn own(root: &Dir) -> Result<SpoolLock, StoreError> {
    let path = root.path_of(OWNER);
    let claim = OwnerFile::claim_dir(root, OWNER);
    match claim.map_err(StoreError::system("lock", &path))? {
        Claim::Ours(owner) => Ok(SpoolLock { _owner: owner }),
        Claim::Theirs(pid) => {
            let what = format!("process {pid} works on it already");
            Err(unusable(root.path(), what))
        }
    }
}

/// Makes a spool of an empty directory. Whatever moment it is cut off at, it can be done again: FORMAT
/// comes last.
fn make(root: &Dir) -> Result<(), StoreError> {
    fill(root).map_err(StoreError::system("make the spool in", root.path()))
}

fn fill(root: &Dir) -> io::Result<()> {
    for name in ["lock", "mail", "user", "quarantine"] {
        root.make_dir(name)?;
    }
    let locks = root.sub("lock")?;
    let mail = root.sub("mail")?;
    let users = root.sub("user")?;
    let mut name = String::new();
    for n in 0..LOCKS {
        name.clear();
        let _ = write!(name, "{n:03x}");
        locks.file_or_new(&name)?;
    }
    for n in 0..FOLDERS {
        name.clear();
        let _ = write!(name, "{n:02x}");
        mail.make_dir(&name)?;
        users.make_dir(&name)?;
    }
    locks.sync()?;
    mail.sync()?;
    users.sync()?;
    let format = root.file_or_new("FORMAT.new")?;
    file::truncate(&format, 0)?;
    file::write_at(&format, FORMAT.as_bytes(), 0)?;
    file::sync(&format)?;
    root.sync()?;
    root.rename("FORMAT.new", "FORMAT")?;
    root.sync()
}
