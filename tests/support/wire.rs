//! Runs `dropline` as a command, and builds its datagrams byte by byte.

use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;

use super::{Daemon, PATIENCE};

/// Runs `dropline` with these arguments. Returns its exit status, standard output and standard error.
pub(crate) fn run(daemon: &Daemon, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = daemon.client();
    let output = command
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Encodes an instant message.
pub(crate) fn datagram(id: [u8; 16], from: &str, to: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\0DL1\x01".to_vec();
    bytes.extend(id);
    bytes.extend(1_795_300_000_123_u64.to_be_bytes());
    for name in [from, to] {
        bytes.push(u8::try_from(name.len()).expect("short"));
        bytes.extend(name.as_bytes());
    }
    bytes.extend(u16::try_from(body.len()).expect("short").to_be_bytes());
    bytes.extend(body);
    bytes
}

pub(crate) fn ack(id: [u8; 16]) -> Vec<u8> {
    [&b"\0DL1\x02"[..], &id].concat()
}

/// Returns a UDP socket with a read timeout.
pub(crate) fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket
}

/// Sends a datagram and waits for the acknowledgement.
pub(crate) fn acknowledged(socket: &UdpSocket, to: SocketAddr, id: [u8; 16], bytes: &[u8]) {
    socket.send_to(bytes, to).expect("sent");
    let mut answer = [0; 100];
    let (n, from) = socket.recv_from(&mut answer).expect("an acknowledgement");
    assert_eq!((&answer[..n], from), (&ack(id)[..], to));
}
