//! `-d`: a daemon that detaches, and whose command tells the truth.
//!
//! The command waits at a pipe until the daemon says that it listens, or why it does not.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};

use daemonize::{Daemonize, Outcome};

use crate::sys::process::close_all_but;

/// What the daemon says when it listens.
const READY: &str = "ready\n";

/// On which side of it one is.
pub(super) enum Side {
    /// The command that was called: whether the daemon listens, or what it has said.
    Command(Result<(), DetachError>),
    /// The daemon.
    Daemon(ReadyPipe),
}

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub(super) enum DetachError {
    /// The process could not be detached.
    #[error("cannot detach from the terminal: {0}")]
    System(String),
    /// It has said why not.
    #[error("{0}")]
    Said(String),
    /// It has said nothing.
    #[error("the daemon ended before it listened; syslog may say why")]
    Silent,
}

/// The way to tell the command.
#[derive(Debug)]
pub(super) struct ReadyPipe(Option<PipeWriter>);

impl ReadyPipe {
    /// No command waits.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The daemon listens: the command ends.
    pub(super) fn listens(&mut self) {
        self.tell(READY);
    }

    /// It does not: the command says so, and fails.
    pub(super) fn failed(&mut self, why: &str) {
        self.tell(why);
    }

    fn tell(&mut self, what: &str) {
        if let Some(mut pipe) = self.0.take() {
            // A command that was interrupted needs no answer.
            let _ = pipe.write_all(what.as_bytes());
        }
    }
}

/// Detaches. Must be called while there is only one thread. The daemon has the root directory as its own, /dev/null
/// as its standard streams, makes files for its user alone, and keeps no descriptor but `ready_fd`: nothing else in
/// this process may have one open.
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
            // Other descriptors that the caller had open are closed.
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
