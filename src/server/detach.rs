//! `-d`: detaches the daemon. The command waits on a pipe until the daemon reports that it listens, or why it does not.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};

use daemonize::{Daemonize, Outcome};

use crate::sys::process::close_all_but;

/// What the daemon writes to the pipe when it listens.
const READY: &str = "ready\n";

/// Which of the two processes returned from [`detach`].
pub(super) enum Side {
    /// The command that the user ran, with the outcome of the daemon's start.
    Command(Result<(), DetachError>),
    Daemon(ReadyPipe),
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum DetachError {
    #[error("cannot detach from the terminal: {0}")]
    System(String),
    /// The daemon reported this reason.
    #[error("{0}")]
    Said(String),
    #[error("the daemon ended before it listened; see syslog for the reason")]
    Silent,
}

/// The daemon's end of the pipe to the command.
#[derive(Debug)]
pub(super) struct ReadyPipe(Option<PipeWriter>);

impl ReadyPipe {
    /// Returns the handle of a daemon in the foreground: no command waits.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Reports that the daemon listens. The command then exits with success.
    pub(super) fn listens(&mut self) {
        self.tell(READY);
    }

    /// Reports why the daemon does not listen. The command prints the reason and fails.
    pub(super) fn failed(&mut self, why: &str) {
        self.tell(why);
    }

    fn tell(&mut self, what: &str) {
        if let Some(mut pipe) = self.0.take() {
            // The command may have been interrupted.
            let _ = pipe.write_all(what.as_bytes());
        }
    }
}

/// Detaches. Must be called while this process has one thread and no value in it owns a descriptor: the daemon closes
/// all but `ready_fd`. It works in the root directory, with /dev/null as its standard streams and a umask of 077.
pub(super) fn detach(ready_fd: Option<RawFd>) -> Side {
    let failed = |e: &dyn std::fmt::Display| Side::Command(Err(DetachError::System(e.to_string())));
    let (reader, writer) = match io::pipe() {
        Ok(pipe) => pipe,
        Err(e) => return failed(&e),
    };
    match Daemonize::new().umask(0o077).execute() {
        Outcome::Parent(Err(e)) => failed(&e),
        Outcome::Parent(Ok(_)) => {
            drop(writer);
            Side::Command(outcome(reader))
        }
        Outcome::Child(Ok(_)) => {
            drop(reader);
            // The command may have inherited other descriptors from its caller.
            let mut keep = vec![writer.as_raw_fd()];
            keep.extend(ready_fd);
            close_all_but(&mut keep);
            Side::Daemon(ReadyPipe(Some(writer)))
        }
        Outcome::Child(Err(e)) => {
            let mut ready = ReadyPipe(Some(writer));
            ready.failed(&format!("cannot detach: {e}"));
            failed(&e)
        }
    }
}

fn outcome(mut pipe: PipeReader) -> Result<(), DetachError> {
    let mut said = String::new();
    match pipe.read_to_string(&mut said) {
        Ok(_) if said == READY => Ok(()),
        Ok(_) if said.is_empty() => Err(DetachError::Silent),
        Ok(_) => Err(DetachError::Said(said)),
        Err(e) => Err(DetachError::System(e.to_string())),
    }
}
