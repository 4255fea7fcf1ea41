//! Helper processes, forked from this program to do work concurrently with their parent.

use std::io;
use std::os::fd::RawFd;
use std::panic::{self, AssertUnwindSafe};

use super::process::{self, Fork, Pid};
use super::signal::Blocked;
use super::title;

/// The setup of a helper process. All signals stay blocked in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Helper<'a> {
    title: Option<&'a str>,
    keep: Option<Vec<RawFd>>,
    outlives_parent: bool,
}

impl<'a> Helper<'a> {
    /// Returns a helper that keeps the title and all descriptors of its parent, and is killed when its parent ends.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets the title that ps(1) shows, if titles were prepared.
    pub(crate) fn titled(self, title: &'a str) -> Self {
        let title = Some(title);
        Self { title, ..self }
    }

    /// Makes the helper close all descriptors above standard error, except these.
    pub(crate) fn keeping(self, descriptors: impl Into<Vec<RawFd>>) -> Self {
        let keep = Some(descriptors.into());
        Self { keep, ..self }
    }

    /// Lets the helper continue after its parent has ended.
    pub(crate) fn outliving_its_parent(self) -> Self {
        let outlives_parent = true;
        Self {
            outlives_parent,
            ..self
        }
    }

    /// Forks the helper and returns its PID. The helper exits with status 0 if `work` returns `true`, and with status 1
    /// if it returns `false` or panics. No destructors of the parent run in it. Must be called while there is only one
    /// thread.
    pub(crate) fn fork(self, work: impl FnOnce() -> bool) -> io::Result<Pid> {
        let parent = Pid::own();
        // A signal handler of the parent must not run in the helper.
        let blocked = Blocked::all()?;
        match process::fork()? {
            Fork::Parent(pid) => Ok(pid),
            Fork::Child => {
                blocked.for_good();
                // The panic hook of the program reports a panic.
                let worked = panic::catch_unwind(AssertUnwindSafe(|| {
                    if !self.outlives_parent && !process::end_with(parent) {
                        return false;
                    }
                    if let Some(mut keep) = self.keep {
                        process::close_all_but(&mut keep);
                    }
                    if let Some(title) = self.title {
                        title::set(&[title]);
                    }
                    work()
                }));
                process::exit_now(i32::from(!worked.unwrap_or(false)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Read as _, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::process::Command;
    use std::time::Duration;

    use nix::sys::signal::{SigSet, Signal};

    use super::*;
    use crate::sys::process::End;

    const INSIDE: &str = "DROPLINE_TEST_HELPER";

    /// The part of the test below that runs in its own process, which has no other threads.
    #[test]
    fn inside() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let keep = || Helper::new().keeping([writer.as_raw_fd()]);
        let say = |mut to: &PipeWriter, text: &str| to.write_all(text.as_bytes()).is_ok();
        let ended = |pid: io::Result<Pid>| {
            let pid = pid.expect("forked");
            loop {
                if let Some((ended, end)) = process::reap() {
                    assert_eq!(ended, pid);
                    return end;
                }
                std::thread::yield_now();
            }
        };
        assert_eq!(ended(keep().fork(|| true)), End::Status(0));
        assert_eq!(ended(keep().fork(|| false)), End::Status(1));
        assert_eq!(ended(keep().fork(|| panic!("on purpose"))), End::Status(1));
        let other = std::fs::File::open("/dev/null").expect("opened");
        let set_up = keep().fork(|| {
            let mask = SigSet::thread_get_mask().expect("known");
            other.metadata().is_err() && mask.contains(Signal::SIGTERM) && say(&writer, "set up,")
        });
        assert_eq!(ended(set_up), End::Status(0));
        let mask = SigSet::thread_get_mask().expect("known");
        assert!(!mask.contains(Signal::SIGTERM), "the parent's is as it was");
        // The first helper ends at once. It has two helpers itself: one is killed with it, and one outlives it.
        let waits = || {
            std::thread::sleep(Duration::from_secs(60));
            say(&writer, "not killed,")
        };
        let of_both = keep().fork(|| {
            let with_it = keep().fork(waits).is_ok();
            let first = Pid::own();
            let later = keep().outliving_its_parent().fork(|| {
                while Pid::parent() == first {
                    std::thread::yield_now();
                }
                say(&writer, "outlived")
            });
            with_it && later.is_ok()
        });
        assert_eq!(ended(of_both), End::Status(0));
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).expect("the end of all");
        assert_eq!(said, "set up,outlived");
    }

    #[test]
    fn a_helper_is_set_up_as_requested_and_is_killed_with_its_parent() {
        let inside = Command::new(std::env::current_exe().expect("a program"))
            .args(["--exact", "sys::helper::tests::inside"])
            .args(["--nocapture", "--test-threads=1"])
            .env(INSIDE, "1")
            .output()
            .expect("run");
        let said = String::from_utf8_lossy(&inside.stdout);
        assert!(
            inside.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&inside.stderr)
        );
    }
}
