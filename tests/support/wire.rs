//! Runs `dropline` as a command, and builds its datagrams byte by byte.

use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

use super::session::{Session, field};
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

/// A ticket for one instant message.
pub(crate) struct Ticket {
    nonce: [u8; 16],
    key: [u8; 32],
}

impl Ticket {
    /// Asks the server for a ticket of `from`, over TCP, to send to `to`, who must be online.
    pub(crate) fn of(daemon: &Daemon, from: &str, to: &str) -> Self {
        let answer = Session::of(daemon, from).ask(&format!("LOOKUP {to}"));
        Self::in_answer(&answer)
    }

    /// Reads the ticket in the answer to a LOOKUP.
    pub(crate) fn in_answer(answer: &str) -> Self {
        let hex = |key| field(answer, key).unwrap_or_else(|| panic!("no {key}: {answer}"));
        Self {
            nonce: from_hex(hex("nonce")),
            key: from_hex(hex("key")),
        }
    }

    /// Seals a message of an unverified sender.
    pub(crate) fn seal(&self, id: [u8; 16], from: &str, to: &str, body: &[u8]) -> Vec<u8> {
        self.seal_as(0, id, from, to, body)
    }

    pub(crate) fn seal_as(
        &self,
        trust: u8,
        id: [u8; 16],
        from: &str,
        to: &str,
        body: &[u8],
    ) -> Vec<u8> {
        let mut bytes = b"\0DL2\x01".to_vec();
        bytes.extend(self.nonce);
        bytes.push(trust);
        for name in [from, to] {
            bytes.push(u8::try_from(name.len()).expect("short"));
            bytes.extend(name.as_bytes());
        }
        bytes.extend(id);
        let key = self.mac(b"msg", id);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).expect("32 bytes");
        let mut content = [&1_795_300_000_123_u64.to_be_bytes()[..], body].concat();
        LessSafeKey::new(key)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key([0; 12]),
                Aad::from(&bytes),
                &mut content,
            )
            .expect("sealed");
        bytes.extend(content);
        bytes
    }

    /// Returns the acknowledgement of a message under this ticket.
    pub(crate) fn ack(&self, id: [u8; 16]) -> Vec<u8> {
        let tag = self.mac(b"ack", id);
        [b"\0DL2\x02", &self.nonce[..], &id, &tag[..16]].concat()
    }

    fn mac(&self, purpose: &[u8], id: [u8; 16]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let tag = hmac::sign(&key, &[purpose, &id].concat());
        tag.as_ref().try_into().expect("32 bytes")
    }
}

/// Parses hexadecimal digits.
fn from_hex<const N: usize>(text: &str) -> [u8; N] {
    assert_eq!(text.len(), 2 * N, "{text}");
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("digits"))
}

/// Returns a UDP socket with a read timeout.
pub(crate) fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket
}

/// Sends an instant message of `from` to the menu of `to` at this address, and waits for the acknowledgement. Returns the
/// datagram and the acknowledgement.
pub(crate) fn instant(
    daemon: &Daemon,
    at: SocketAddr,
    id: [u8; 16],
    (from, to): (&str, &str),
    body: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let ticket = Ticket::of(daemon, from, to);
    let (bytes, ack) = (ticket.seal(id, from, to, body), ticket.ack(id));
    acknowledged(&socket(), at, &bytes, &ack);
    (bytes, ack)
}

/// Sends a datagram and waits for this acknowledgement.
pub(crate) fn acknowledged(socket: &UdpSocket, to: SocketAddr, bytes: &[u8], ack: &[u8]) {
    socket.send_to(bytes, to).expect("sent");
    let mut answer = [0; 100];
    let (n, from) = socket.recv_from(&mut answer).expect("an acknowledgement");
    assert_eq!((&answer[..n], from), (ack, to));
}

/// Returns the token and the secret of a user who is online, as options of `ONLINE`.
pub(crate) fn lease_options(daemon: &Daemon, name: &str) -> String {
    let path = daemon.path().join("run/online").join(name);
    let lease = std::fs::read_to_string(path).expect("a lease");
    let fields: Vec<_> = lease.split(' ').collect();
    format!("token={} secret={}", fields[4], fields[5])
}
