//! Notifications to the service manager, if there is one (sd_notify(3)).

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use sd_notify::NotifyState;

/// The connection to the service manager; empty if none has started this process.
#[derive(Debug)]
pub(super) struct ServiceManager(Option<UnixDatagram>);

impl ServiceManager {
    /// Connects to the service manager. Must be called before the sandbox is applied, in which no process can connect.
    pub(super) fn connect() -> Self {
        let named = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let connected = named.map(connected_to).transpose();
        Self(connected.inspect_err(failed).unwrap_or_default())
    }

    /// Sends these states. A failure is logged only.
    fn tell(&self, states: &[NotifyState<'_>]) {
        let lines: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Some(Err(e)) = self
            .0
            .as_ref()
            .map(|manager| manager.send(lines.as_bytes()))
        {
            failed(&e);
        }
    }

    pub(super) fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Reports that the configuration is read again. [`ready`](Self::ready) must follow.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    pub(super) fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }
}

fn failed(why: &io::Error) {
    log::warn!("cannot notify the service manager: {why}");
}

/// Connects to a socket with this path, or with this abstract name after an `@` (unix(7)).
fn connected_to(name: OsString) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        _ => socket.connect(name)?,
    }
    // The master must not wait for a service manager that does not read.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_reach_a_socket_with_a_path_and_one_with_a_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let named = format!("dropline-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&named).expect("an address");
        let managers = [
            (UnixDatagram::bind(&path), path.into_os_string()),
            (
                UnixDatagram::bind_addr(&address),
                format!("@{named}").into(),
            ),
        ];
        for (manager, name) in managers {
            let manager = manager.expect("bound");
            ServiceManager(connected_to(name).ok()).ready("serving");
            let mut bytes = [0; 100];
            let n = manager.recv(&mut bytes).expect("a message");
            assert_eq!(&bytes[..n], b"READY=1\nSTATUS=serving\n");
        }
    }
}
