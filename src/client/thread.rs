//! Named threads.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that ps(1) and top(1) show as `name`.
///
/// # Errors
/// Those of `pthread_create(3)`.
pub(super) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.into()).spawn(work)
}
