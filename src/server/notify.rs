//! Telling the service manager, where there is one (sd_notify(3)).

use sd_notify::NotifyState;

/// Says these things. A manager that does not listen is no reason to stop.
fn tell(what: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(what) {
        log::warn!("cannot tell the service manager: {e}");
    }
}

/// The daemon listens.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is read again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The daemon ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}
