//! Helper processes: forked from this program for work beside the process that forks them.

use std::io;
use std::os::fd::RawFd;
use std::panic::{self, AssertUnwindSafe};

use super::process::{self, Fork, Pid};
use super::signal::Blocked;
use super::title;

/// How a helper process is set up before its work begins. All signals stay blocked in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Helper<'a> {
    title: Option<&'a str>,
    keep: Option<Vec<RawFd>>,
    outlives_parent: bool,
}

impl<'a> Helper<'a> {
    /// A helper that ps(1) shows like its parent, that keeps all descriptors, and that is killed when its parent ends.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The title that ps(1) shows, where titles were prepared.
    pub(crate) fn titled(self, title: &'a str) -> Self {
        let title = Some(title);
        Self { title, ..self }
    }

    /// Closes all descriptors above standard error but these.
    pub(crate) fn keeping(self, descriptors: impl Into<Vec<RawFd>>) -> Self {
        let keep = Some(descriptors.into());
        Self { keep, ..self }
    }

    /// Lets the helper run on when its parent ends.
    pub(crate) fn outliving_its_parent(self) -> Self {
        let outlives_parent = true;
        Self {
            outlives_parent,
            ..self
        }
    }

    /// Forks the helper; its number. It does `work` and ends with status 0 when that returns `true`, else, and after a
    /// panic, with status 1; no destructor of its parent runs. Must be called while there is only one thread.
    ///
    /// # Errors
    /// Those of `fork(2)`.
    pub(crate) fn fork(self, work: impl FnOnce() -> bool) -> io::Result<Pid> {
        let parent = Pid::own();
        // A handler of the parent's must not run in the helper.
        let blocked = Blocked::all()?;
        match process::fork()? {
            Fork::Parent(pid) => Ok(pid),
            Fork::Child => {
                blocked.for_good();
                // The hook of the program reports a panic.
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

    /// The other half of the test below, in a process of its own, which has no threads.
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
        // The first ends at once; of its own helpers one ends with it, and one runs on.
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
    fn a_helper_begins_with_what_it_is_to_have_and_ends_with_its_parent() {
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
