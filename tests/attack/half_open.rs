//! Clients that vanish: they begin a connection and never answer again.
//!
//! The attackers are the addresses 10.88.0.0/16 of one host. Legitimate clients come from another host. An address that
//! its host does not own answers nothing, not even with a reset.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{MsgFlags, SockProtocol, sendto};

use super::*;

/// Like [`stage`], with attackers whose host answers for none of their addresses.
fn stage_of_vanishing(name: &str, config: &str) -> Option<(Namespaces, Daemon)> {
    let (net, daemon) = stage(name, config)?;
    net.ip(1, "route add blackhole 10.88.0.0/16");
    Some((net, daemon))
}

/// Runs `attack` while legitimate clients are served. Calls `facts` in the server's namespace before the attack ends.
fn beside(
    name: &str,
    (net, daemon): &(Namespaces, Daemon),
    attack: impl Fn(&AtomicBool, &AtomicUsize) + Sync,
    facts: impl Fn() -> String + Send,
) {
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    net.inside(0, || daemon.store("eve", "al", "the first"));
    wait_until("the child has exited", || daemon.children().is_empty());
    let descriptors = daemon.proc_entries("fd");
    let calm = Daemon::in_namespace(net.name(0), OPEN);
    let mut honest = Honest::default();
    let mut seen = String::new();
    std::thread::scope(|scope| {
        scope.spawn(|| net.inside(1, || attack(&stop, &made)));
        // A guard, because the attack must stop also when this thread panics.
        let _end = crate::support::ledger::End(&stop);
        wait_until("the attack goes on", || made.load(Ordering::SeqCst) > 2_000);
        net.inside(2, || honest.are_served_at(HONEST, daemon.port, calm.port));
        seen = net.inside(0, facts);
    });
    let made = made.load(Ordering::SeqCst);
    honest.judge(name, made, &seen);
    wait_until("the children are gone", || daemon.children().is_empty());
    assert_eq!(daemon.proc_entries("fd"), descriptors);
    let stored = net.inside(0, || daemon.fetch("bob")).len();
    assert_eq!(stored, honest.served, "a message was lost or duplicated");
    assert!(!daemon.log().contains("a bug in this program"));
}

/// Computes the Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

/// Builds a SYN packet: an IPv4 header, whose length and checksum the kernel fills in, and a TCP header.
fn syn(from: Ipv4Addr, from_port: u16, port: u16) -> Vec<u8> {
    let mut tcp = Vec::new();
    tcp.extend(from_port.to_be_bytes());
    tcp.extend(port.to_be_bytes());
    tcp.extend(0x1234_5678_u32.to_be_bytes());
    tcp.extend([0; 4]);
    // Header length in 32-bit words, SYN, window, checksum (filled in below), urgent pointer.
    tcp.extend([5 << 4, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    // The checksum includes the pseudo-header: addresses, protocol and length.
    let summed = [&from.octets(), &TARGET, &[0, 6, 0, 20][..], &tcp].concat();
    tcp[16..18].copy_from_slice(&checksum(&summed).to_be_bytes());
    let ip = [
        &[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0][..],
        &from.octets(),
        &TARGET,
    ];
    [ip.concat(), tcp].concat()
}

fn raw_socket() -> OwnedFd {
    let kind = (AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC);
    socket(kind.0, kind.1, kind.2, SockProtocol::Raw).expect("a raw socket")
}

/// Returns a kernel counter, as shown by nstat(8), of the calling thread's network namespace.
fn netstat(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/netstat").expect("readable");
    let lines: Vec<_> = text.lines().collect();
    let value = lines.chunks(2).find_map(|pair| {
        let at = pair[0].split(' ').position(|word| word == name)?;
        pair[1].split(' ').nth(at)?.parse().ok()
    });
    value.unwrap_or_else(|| panic!("no counter {name}"))
}

/// Counts the connections in state SYN_RECV in the calling thread's network namespace.
fn half_open() -> usize {
    let tables = ["tcp", "tcp6"].map(|table| format!("/proc/thread-self/net/{table}"));
    let texts = tables.map(|table| fs::read_to_string(table).expect("readable"));
    let state = |line: &str| line.split_whitespace().nth(3) == Some("03");
    texts
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| state(line))
        .count()
}

#[test]
fn handshakes_that_never_end() {
    let Some(stage) = stage_of_vanishing("handshakes_that_never_end", "") else {
        return;
    };
    let port = stage.1.port;
    let attack = |stop: &AtomicBool, made: &AtomicUsize| {
        let raw = raw_socket();
        let to = SockaddrIn::new(TARGET[0], TARGET[1], TARGET[2], TARGET[3], 0);
        for number in 0_u32.. {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let [_, round, high, low] = number.to_be_bytes();
            let from = Ipv4Addr::new(10, 88, high, low);
            let packet = syn(from, 1_024 + u16::from(round), port);
            let sent = sendto(raw.as_raw_fd(), &packet, &to, MsgFlags::empty());
            made.fetch_add(usize::from(sent.is_ok()), Ordering::SeqCst);
            if number % 10 == 0 {
                // Limit the rate to some thousands a second: the daemons need processor time, too.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    };
    let facts = || {
        let (waiting, cookies) = (half_open(), netstat("SyncookiesSent"));
        assert!(
            waiting > 100 || cookies > 100,
            "{waiting} half open, {cookies} cookies"
        );
        format!(", {waiting} half open at the end, {cookies} SYN cookies")
    };
    beside("handshakes_that_never_end", &stage, attack, facts);
    // The kernel never passed one of these connections to the daemon.
    let daemon = &stage.1;
    assert!(!daemon.log().contains("10.88."), "{}", daemon.log());
}

#[test]
fn clients_that_vanish() {
    let Some(stage) = stage_of_vanishing("clients_that_vanish", FAST) else {
        return;
    };
    let (net, daemon) = &stage;
    net.inside(0, || {
        for _ in 0..100 {
            daemon.store("big", "al", &"x".repeat(60_000));
        }
    });
    let attack = |stop: &AtomicBool, made: &AtomicUsize| {
        for block in (0..250_u8).cycle() {
            let network = format!("10.88.{block}.0/24");
            net.ip(1, &format!("route add local {network} dev lo"));
            let mut held = Vec::new();
            for low in 1..255_u8 {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let Some(mut stream) = connect_from([10, 88, block, low], TARGET, daemon.port)
                else {
                    continue;
                };
                // Half of the clients send an incomplete request. The other half do not read the whole reply.
                let half = if low % 2 == 0 {
                    "store;eve;al;"
                } else {
                    "fetch;big\n"
                };
                let _ = stream.write_all(half.as_bytes());
                made.fetch_add(1, Ordering::SeqCst);
                held.push(stream);
                if low % 2 == 0 {
                    // Limit the rate to about a thousand a second.
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            // Delete the addresses before the sockets are closed, so that no FIN or RST leaves the host.
            net.ip(1, &format!("route del local {network} dev lo"));
            drop(held);
            if stop.load(Ordering::SeqCst) {
                break;
            }
        }
    };
    beside("clients_that_vanish", &stage, attack, String::new);
}
