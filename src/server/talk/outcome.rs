//! The outcome of a connection: for the log, for the counters and for the master.

use std::fmt;
use std::io;
use std::time::Instant;

use crate::server::logging::AUTH;
use crate::server::principal::Refused;
use crate::server::scoreboard::Counter;

/// The outcome of a connection, with the text of its log line. Of the client's input, it contains only valid names.
pub(super) enum Outcome {
    /// The request was done.
    Done(String),
    /// The request was refused with a reason.
    Refused(String),
    /// The server failed and reported that to the client.
    Failed(String),
    /// The connection ended early.
    Broken(String),
    Slow(String),
    /// Like `Slow`, in the middle of a request.
    HalfSaid(String),
    Garbage(String),
    /// The client sent nothing and left, for example to check whether the daemon listens.
    Nothing,
}

/// The outcome of a connection, for the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Ended {
    /// The client committed no offence.
    Well,
    Garbage,
    Slow,
    /// The client took too long in the middle of a request: an offence if others needed its place.
    HalfSaid,
}

impl Outcome {
    /// Writes the log line of a connection from `origin` that began at `begun`.
    pub(super) fn log(&self, origin: &str, begun: Instant) {
        let took = Took(begun);
        match self {
            Self::Done(what) => log::info!("{origin} {what} ({took})"),
            Self::Refused(why) | Self::Garbage(why) => {
                log::info!(target: AUTH, "{origin} refused: {why} ({took})");
            }
            Self::Failed(why) => log::error!("{origin} {why} ({took})"),
            Self::Broken(how) => log::info!("{origin} {how} ({took})"),
            Self::Slow(how) | Self::HalfSaid(how) => {
                log::info!(target: AUTH, "{origin} too slow: {how} ({took})");
            }
            Self::Nothing => log::debug!("{origin} sent nothing ({took})"),
        }
    }

    /// Returns the counter for this outcome, if the child counts it.
    pub(super) fn counter(&self) -> Option<Counter> {
        match self {
            Self::Refused(_) => Some(Counter::Refused),
            Self::Failed(_) => Some(Counter::Failed),
            _ => None,
        }
    }

    /// Returns the outcome for the master.
    pub(super) fn ended(&self) -> Ended {
        match self {
            Self::Slow(_) => Ended::Slow,
            Self::HalfSaid(_) => Ended::HalfSaid,
            Self::Garbage(_) => Ended::Garbage,
            _ => Ended::Well,
        }
    }
}

/// The time since an instant.
struct Took(Instant);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Integers only: the code that formats floating-point numbers is large.
        let micros = u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX - 50);
        let tenths = (micros + 50) / 100;
        write!(f, "{}.{} ms", tenths / 10, tenths % 10)
    }
}

/// Why a request ends early.
pub(super) enum Stop {
    Broken(io::Error),
    /// It was refused or failed. The text tells what was attempted.
    Refused(String, Refused),
    /// The connection ends with this outcome.
    Ended(Outcome),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// For `map_err`: adds what was attempted. `what` is called for errors only.
pub(super) fn doing<E: Into<Refused>, W: Into<String>>(
    what: impl FnOnce() -> W,
) -> impl FnOnce(E) -> Stop {
    move |error| Stop::Refused(what().into(), error.into())
}
