//! Directories and programs for other logins, which may not be able to enter the checkout or `TMPDIR`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Makes a temporary directory that all logins can enter.
pub(crate) fn public_dir() -> TempDir {
    let mut places = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()].into_iter();
    let place = places.find(|place| can_all_enter(place));
    let place = place.expect("a directory for temporary files that all users can enter");
    let dir = tempfile::tempdir_in(place).expect("a directory");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("set");
    dir
}

fn can_all_enter(place: &Path) -> bool {
    let Ok(place) = place.canonicalize() else {
        return false;
    };
    place.ancestors().all(|dir| {
        let mode = fs::metadata(dir).map(|meta| meta.permissions().mode());
        mode.is_ok_and(|mode| mode & 0o001 != 0)
    })
}

/// Returns the same command with a copy of its program in `dir/programs` that all logins can execute.
pub(crate) fn for_others(command: &Command, dir: &Path) -> Command {
    let program = Path::new(command.get_program());
    let place = dir.join("programs");
    fs::create_dir(&place).expect("made");
    fs::set_permissions(&place, Permissions::from_mode(0o755)).expect("set");
    let copy = place.join(program.file_name().expect("a program"));
    // Copied by another process: a child that another test forks would inherit our descriptor, open for writing, and
    // execve(2) would fail with ETXTBSY.
    let copied = Command::new("install")
        .args(["-m", "755"])
        .arg(program)
        .arg(&copy)
        .status();
    assert!(copied.expect("install of coreutils").success());
    let mut other = Command::new(copy);
    other.args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => other.env(key, value),
            None => other.env_remove(key),
        };
    }
    other
}

/// Calls `what` in a thread whose new sockets belong to this uid. Needs root.
pub(crate) fn as_user<T: Send>(uid: u32, what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(uid));
            what()
        });
        thread.join().expect("done")
    })
}
