//! Sends a datagram, and waits for its acknowledgement.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::wire::datagram::{self, Ack, Datagram};

/// Times of the transmissions, since the start.
const TRIES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_millis(1_500),
];
/// Time of giving up, since the start.
pub(in crate::client) const END: Duration = Duration::from_secs(3);

/// Sends the datagram `bytes` until `END` or an acknowledgement that `is_ours` accepts. Returns whether there was one.
///
/// # Errors
/// No socket can be created, or the address is unreachable.
pub(super) fn send(
    to: SocketAddr,
    bytes: &[u8],
    is_ours: impl Fn(&Ack) -> bool,
) -> io::Result<bool> {
    let socket = connected(to)?;
    let begun = Instant::now();
    let mut tries = TRIES.iter().peekable();
    loop {
        let now = begun.elapsed();
        if let Some(due) = tries.next_if(|due| **due <= now) {
            debug_assert!(*due <= now, "it is time");
            // ECONNREFUSED: no socket was bound to the port when the previous datagram arrived.
            if socket.send(bytes).is_err_and(|e| is_refused(&e)) {
                return Ok(false);
            }
        }
        let until = tries.peek().map_or(END, |due| **due);
        let left = until.saturating_sub(begun.elapsed());
        if left.is_zero() {
            if tries.peek().is_none() {
                return Ok(false);
            }
            continue;
        }
        match hear(&socket, left)? {
            Heard::Ack(ack) if is_ours(&ack) => return Ok(true),
            Heard::Refused => return Ok(false),
            Heard::Ack(_) | Heard::Nothing => {}
        }
    }
}

/// Sends a datagram without waiting for an acknowledgement.
///
/// # Errors
/// No socket can be created, or the datagram cannot be sent.
pub(super) fn send_once(to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    connected(to)?.send(bytes).map(drop)
}

/// Returns a new socket that is connected to `to`, and receives only from there.
fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match to {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.connect(to)?;
    Ok(socket)
}

enum Heard {
    Ack(Ack),
    /// Nothing, or an irrelevant datagram.
    Nothing,
    /// The other host reports that the port is closed.
    Refused,
}

fn hear(socket: &UdpSocket, limit: Duration) -> io::Result<Heard> {
    let mut bytes = [0; datagram::MOST_BYTES + 1];
    socket.set_read_timeout(Some(limit))?;
    match socket.recv(&mut bytes) {
        Ok(n) => Ok(match datagram::decode(&bytes[..n]) {
            Ok(Datagram::Ack(ack)) => Heard::Ack(ack),
            _ => Heard::Nothing,
        }),
        Err(e) if is_refused(&e) => Ok(Heard::Refused),
        Err(e) => match e.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                Ok(Heard::Nothing)
            }
            _ => Err(e),
        },
    }
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{MessageId, TicketSecret, Trust};
    use crate::wire::datagram::{Letter, Ticket, TicketKey, TicketNonce};

    const ID: MessageId = MessageId([1; 16]);

    fn peer() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let limit = Some(Duration::from_secs(60));
        socket.set_read_timeout(limit).expect("set");
        let address = socket.local_addr().expect("an address");
        (socket, address)
    }

    /// Returns a ticket, an encoded message to `bob` under it, and the acknowledgement of bob's client.
    fn message(number: u8) -> (Ticket, Vec<u8>, Vec<u8>) {
        let letter = Letter {
            id: ID,
            at: 1,
            from: "al".parse().expect("a name"),
            to: "bob".parse().expect("a name"),
            body: b"hi",
        };
        let (secret, nonce) = (TicketSecret([number; 32]), TicketNonce([number; 16]));
        let key = TicketKey::derive(&secret, nonce, Trust::Open, &letter.from, &letter.to);
        let ticket = Ticket { nonce, key };
        let bytes = datagram::seal(&letter, Trust::Open, &ticket).expect("fits");
        let Ok(Datagram::Sealed(sealed)) = datagram::decode(&bytes) else {
            panic!("a sealed datagram");
        };
        let ack = sealed.open(&secret).expect("sealed with it").ack;
        (ticket, bytes, ack)
    }

    #[test]
    fn accepts_only_an_acknowledgement_with_the_key_from_the_address() {
        let (peer, address) = peer();
        let (ticket, bytes, ack) = message(1);
        let (_, _, forged) = message(2);
        let other = std::thread::spawn(move || {
            let (_, sender) = peer.recv_from(&mut [0; 10]).expect("the first try");
            let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let send = |from: &UdpSocket, bytes: &[u8]| from.send_to(bytes, sender).expect("sent");
            send(&stranger, &ack);
            send(&peer, &forged);
            send(&peer, b"junk");
            peer.recv_from(&mut [0; 10]).expect("the second try");
            send(&peer, &ack);
        });
        let is_ours = |ack: &Ack| ack.is_for(&ticket, ID);
        assert!(send(address, &bytes, is_ours).expect("sent"));
        other.join().expect("ended");
    }

    #[test]
    fn gives_up_after_three_transmissions() {
        let (peer, address) = peer();
        let begun = Instant::now();
        assert!(!send(address, b"message", |_| true).expect("sent"));
        assert!(begun.elapsed() >= END);
        peer.set_nonblocking(true).expect("set");
        let mut tries = 0;
        while peer.recv(&mut [0; 10]).is_ok() {
            tries += 1;
        }
        assert_eq!(tries, TRIES.len());
    }

    #[test]
    fn a_closed_port_fails_without_a_wait() {
        let (socket, address) = peer();
        drop(socket);
        let begun = Instant::now();
        assert!(!send(address, b"message", |_| true).expect("sent"));
        assert!(begun.elapsed() < END);
    }
}
