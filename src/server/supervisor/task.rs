//! What a helper process does.

use std::error::Error;
use std::os::fd::RawFd;

use crate::sys::sandbox::Rules;
use crate::sys::submission_queue::SubmissionQueue;

/// The description of a helper process.
pub(in crate::server) struct Task<'a> {
    /// The helper's name in the log.
    pub(in crate::server) name: &'static str,
    pub(in crate::server) title: &'static str,
    /// The effect on the daemon while the helper does not run, for the log.
    pub(in crate::server) meanwhile: &'static str,
    /// The descriptors that it keeps open.
    pub(in crate::server) descriptors: Vec<RawFd>,
    pub(in crate::server) sandbox: Option<Rules<'a>>,
    /// The queue that it serves. The queue is closed when the helper exits and drained when the daemon shuts down. A
    /// helper without a queue is killed at shutdown.
    pub(in crate::server) queue: Option<SubmissionQueue>,
    /// Its work. Returns when the helper is to exit.
    pub(in crate::server) work: Box<dyn Fn() -> Result<(), Box<dyn Error>> + 'a>,
}
