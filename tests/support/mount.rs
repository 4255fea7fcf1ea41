//! Private file systems for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::skip;

/// A file system mounted from an image file or from memory. Unmounted when dropped.
pub(crate) struct Mount {
    dir: TempDir,
}

impl Mount {
    pub(crate) fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// Mounts an ext4 image. `None`, with a reported skip, if the machine does not permit it.
    pub(crate) fn ext4(test: &str) -> Option<Self> {
        Self::ext4_with(test, &[])
    }

    /// Mounts an ext4 image without a journal: its syncs write other blocks in another order.
    pub(crate) fn ext4_without_journal(test: &str) -> Option<Self> {
        Self::ext4_with(test, &["-O", "^has_journal"])
    }

    fn ext4_with(test: &str, options: &[&str]) -> Option<Self> {
        let mount = Self::nothing(test)?;
        let image = mount.image();
        let file = fs::File::create(&image).expect("made");
        file.set_len(256 << 20).expect("sized");
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-F"])
            .args(options)
            .arg(&image)
            .status();
        if !made.is_ok_and(|status| status.success()) {
            skip(test, "mkfs.ext4 is not available");
            return None;
        }
        mount
            .mount(&["-o", "loop"], &image)
            .then_some(mount)
            .or_else(|| {
                skip(test, "cannot mount a loop device");
                None
            })
    }

    pub(crate) fn tmpfs(test: &str, options: &str) -> Option<Self> {
        let mount = Self::nothing(test)?;
        mount
            .mount(&["-t", "tmpfs", "-o", options], Path::new("none"))
            .then_some(mount)
            .or_else(|| {
                skip(test, "cannot mount a tmpfs");
                None
            })
    }

    pub(crate) fn nothing(test: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip(test, "mounting a file system needs root");
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let mount = Self { dir };
        fs::create_dir(mount.path()).expect("made");
        Some(mount)
    }

    pub(crate) fn mount(&self, args: &[&str], what: &Path) -> bool {
        let status = Command::new("mount")
            .args(args)
            .arg(what)
            .arg(self.path())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }

    pub(crate) fn unmount(&self) -> bool {
        let status = Command::new("umount")
            .arg(self.path())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A killed process may still be exiting and hold files open.
        if !self.unmount() {
            let _ = Command::new("umount")
                .arg("-l")
                .arg(self.path())
                .stderr(Stdio::null())
                .status();
        }
    }
}
