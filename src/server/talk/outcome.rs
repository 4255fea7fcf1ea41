//! How a connection ended: for the log, for the counters and for the master.

use std::fmt;
use std::io;
use std::time::Instant;

use crate::server::logging::AUTH;
use crate::server::principal::Refused;
use crate::server::scoreboard::Counter;

/// What became of a connection, with the text of its log line. The text never holds what a client said, but for names
/// that are valid.
pub(super) enum Outcome {
    /// What was asked was done.
    Done(String),
    /// The client was told why not.
    Refused(String),
    /// The server has failed, and the client was told so.
    Failed(String),
    /// The client went away.
    Broken(String),
    /// The client was too slow.
    Slow(String),
    /// The client speaks no dialect.
    Garbage(String),
    /// The client said nothing and left: it has looked whether the daemon listens.
    Nothing,
}

/// How a connection ended, for the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Ended {
    /// Nothing is held against the client.
    Well,
    /// It spoke no dialect.
    Garbage,
    /// It took too long.
    Slow,
}

impl Outcome {
    /// Writes the log line of the connection from `origin`, which has begun at `begun`.
    pub(super) fn log(&self, origin: &str, begun: Instant) {
        let took = Took(begun);
        match self {
            Self::Done(what) => log::info!("{origin} {what} ({took})"),
            Self::Refused(why) | Self::Garbage(why) => {
                log::info!(target: AUTH, "{origin} refused: {why} ({took})");
            }
            Self::Failed(why) => log::error!("{origin} {why} ({took})"),
            Self::Broken(how) => log::info!("{origin} {how} ({took})"),
            Self::Slow(how) => log::info!(target: AUTH, "{origin} too slow: {how} ({took})"),
            Self::Nothing => log::debug!("{origin} said nothing ({took})"),
        }
    }

    /// What it is counted as, by the child.
    pub(super) fn counter(&self) -> Option<Counter> {
        match self {
            Self::Refused(_) => Some(Counter::Refused),
            Self::Failed(_) => Some(Counter::Failed),
            _ => None,
        }
    }

    /// What the master is told.
    pub(super) fn ended(&self) -> Ended {
        match self {
            Self::Slow(_) => Ended::Slow,
            Self::Garbage(_) => Ended::Garbage,
            _ => Ended::Well,
        }
    }
}

/// The time since then.
struct Took(Instant);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole numbers: the code that prints others is large.
        let micros = u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX - 50);
        let tenths = (micros + 50) / 100;
        write!(f, "{}.{} ms", tenths / 10, tenths % 10)
    }
}

/// Why a request ends in the middle.
pub(super) enum Stop {
    /// The connection is broken.
    Broken(io::Error),
    /// It was refused, while this was done.
    Refused(String, Refused),
    /// The connection has ended so.
    Ended(Outcome),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// For `map_err`: what was done when it was refused. `what` is called for an error alone.
pub(super) fn doing<E: Into<Refused>, W: Into<String>>(
    what: impl FnOnce() -> W,
) -> impl FnOnce(E) -> Stop {
    move |error| Stop::Refused(what().into(), error.into())
}
