//! Attacks from many addresses. Legitimate clients must be served while an attack runs.

mod half_open;
mod shared_lock;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use crate::support::namespace::Namespaces;
use crate::support::{Daemon, PATIENCE, counter, is_long, report, wait_until};

const OPEN: &str = "open_networks = [\"127.0.0.0/8\", \"10.88.0.0/15\"]\n";
/// The number of attacking addresses.
const ATTACKERS: u16 = 1_500;

/// Connects from this source address.
pub(crate) fn connect_from(from: [u8; 4], to: [u8; 4], port: u16) -> Option<TcpStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None).ok()?;
    let [from, to] =
        [(from, 0), (to, port)].map(|(ip, port)| SockaddrIn::new(ip[0], ip[1], ip[2], ip[3], port));
    bind(fd.as_raw_fd(), &from).ok()?;
    connect(fd.as_raw_fd(), &to).ok()?;
    Some(TcpStream::from(fd))
}

/// Connects from the address of this attacker. The socket is non-blocking.
fn from(attacker: u16, port: u16) -> Option<TcpStream> {
    let [high, low] = attacker.to_be_bytes();
    let stream = connect_from([10, 88, high, low], TARGET, port)?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

/// The service that legitimate clients received.
#[derive(Debug, Default)]
struct Honest {
    served: usize,
    refused: usize,
    slowest: Duration,
    /// The slowest answer of a second daemon that is not attacked. It measures the delay caused by the machine itself.
    slowest_calm: Duration,
}

/// The network of the legitimate clients and the server address that they use.
#[derive(Clone, Copy, Debug)]
struct Way {
    from: [u8; 3],
    server: [u8; 4],
}

const HONEST: Way = Way {
    from: [10, 89, 0],
    server: [10, 77, 2, 1],
};
/// The server address that the attackers use.
const TARGET: [u8; 4] = [10, 77, 1, 1];

impl Way {
    /// Stores one message from an address that does not attack, and returns the reply.
    fn store(self, number: usize, port: u16) -> Option<String> {
        let low = u8::try_from(number % 200).ok()? + 1;
        let [a, b, c] = self.from;
        let mut stream = connect_from([a, b, c, low], self.server, port)?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(b"store;bob;al;honest\n").ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        Some(reply)
    }
}

impl Honest {
    /// Runs legitimate clients for some seconds, alternately against the attacked daemon and the one at `calm`.
    fn are_served_at(&mut self, way: Way, port: u16, calm: u16) {
        let seconds = if is_long() { 30 } else { 6 };
        let begun = Instant::now();
        for number in 0.. {
            if begun.elapsed() > Duration::from_secs(seconds) {
                break;
            }
            self.serve_one(way, port, number);
            let asked = Instant::now();
            let reply = way.store(number, calm);
            assert_eq!(reply.as_deref(), Some("Message accepted and stored:\n"));
            self.slowest_calm = self.slowest_calm.max(asked.elapsed());
        }
    }

    /// Stores one message from a legitimate client, which retries when it is refused.
    fn serve_one(&mut self, way: Way, port: u16, number: usize) {
        let begun = Instant::now();
        while way.store(number, port).as_deref() != Some("Message accepted and stored:\n") {
            self.refused += 1;
            assert!(
                begun.elapsed() < PATIENCE,
                "a legitimate client is not served at all"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.served += 1;
        self.slowest = self.slowest.max(begun.elapsed());
    }

    /// Reports the result and checks the slowest answer. The limit is 10 seconds, or 2 with --long, plus ten times the
    /// slowest answer of the second daemon, because the machine may also run other tests.
    fn judge(&self, name: &str, made: usize, more: &str) {
        report(&format!(
            "attack {name}: {made} connections{more}; honest: {} served, {} tries refused, slowest {:.2} s, \
             {:.2} s without an attack, lost 0",
            self.served,
            self.refused,
            self.slowest.as_secs_f64(),
            self.slowest_calm.as_secs_f64()
        ));
        let quiet = Duration::from_secs(if is_long() { 2 } else { 10 });
        let most = quiet + 10 * self.slowest_calm;
        assert!(self.slowest < most, "{self:?}");
    }
}

/// Makes a server, a host of attackers with the addresses 10.88.0.0/16, and a host of legitimate clients. Clients on
/// the server itself would be one source, whatever their addresses are. Starts a daemon on the server.
fn stage(name: &str, config: &str) -> Option<(Namespaces, Daemon)> {
    let net = Namespaces::server_and_two(name)?;
    for (host, network) in [(1, "10.88.0.0/16"), (2, "10.89.0.0/16")] {
        net.ip(0, &format!("route add {network} via 10.77.{host}.2"));
    }
    net.ip(2, "route add local 10.89.0.0/16 dev lo");
    let daemon = Daemon::in_namespace(net.name(0), &format!("{OPEN}{config}"));
    Some((net, daemon))
}

/// Raises the descriptor limit, and returns how many connections each attacking thread may hold. Other tests of this
/// process need descriptors, too.
fn most_held() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("readable");
    let limit = hard.min(65_536);
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).expect("raised");
    usize::try_from(limit / 16).map_or(600, |share| share.min(600))
}

/// Runs `attack` from all addresses while legitimate clients are served. Returns `None` if the test was skipped.
fn under(
    name: &str,
    config: &str,
    attack: impl Fn(u16, u16, &mut Vec<TcpStream>) + Sync,
) -> Option<()> {
    let (net, daemon) = stage(name, config)?;
    net.ip(1, "route add local 10.88.0.0/16 dev lo");
    let calm = Daemon::in_namespace(net.name(0), OPEN);
    // For clients that do not read: more than fits into the socket buffers.
    net.inside(0, || {
        for _ in 0..100 {
            daemon.store("big", "al", &"x".repeat(60_000));
        }
    });
    let stop = AtomicBool::new(false);
    let made = AtomicUsize::new(0);
    let port = daemon.port;
    let mut honest = Honest::default();
    let most = most_held();
    net.inside(1, || {
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (attack, stop, made) = (&attack, &stop, &made);
                scope.spawn(move || {
                    let mut held = Vec::new();
                    let mine = (0..ATTACKERS).filter(|n| n % 3 == thread);
                    for attacker in mine.cycle() {
                        if stop.load(Ordering::SeqCst) {
                            break;
                        }
                        attack(attacker, port, &mut held);
                        made.fetch_add(1, Ordering::SeqCst);
                        if held.len() > most {
                            held.drain(..most / 6);
                        }
                    }
                });
            }
            wait_until("the attack goes on", || made.load(Ordering::SeqCst) > 300);
            net.inside(2, || honest.are_served_at(HONEST, port, calm.port));
            stop.store(true, Ordering::SeqCst);
        });
    });
    honest.judge(name, made.load(Ordering::SeqCst), "");
    // The attack must leak nothing. Timeouts end the children of clients that keep their connections open.
    wait_until("the children are gone", || daemon.children().len() < 5);
    let stored = net.inside(0, || daemon.fetch("bob")).len();
    assert_eq!(stored, honest.served);
    assert!(
        daemon.proc_entries("fd") < 40,
        "{}",
        daemon.proc_entries("fd")
    );
    let log = daemon.log();
    assert!(!log.contains("a bug in this program"));
    // The log has one line for each connection that got a child. All refusals before the fork share a limit of one line
    // in ten seconds.
    let refusals = log
        .lines()
        .filter(|line| line.contains(": a connection from "))
        .count();
    assert!(refusals < 30, "{refusals} log lines for refusals");
    let children = counter(&daemon, "forks");
    let lines = log.lines().count() as u64;
    assert!(
        lines < children + 200,
        "{lines} log lines for {children} children"
    );
    Some(())
}

const FAST: &str = "first_byte_timeout = 6\nrequest_timeout = 9\n";

#[test]
fn silent_clients() {
    under("silent_clients", FAST, |attacker, port, held| {
        held.extend(from(attacker, port));
    });
}

#[test]
fn slow_clients() {
    under("slow_clients", FAST, |attacker, port, held| {
        if let Some(mut stream) = from(attacker, port) {
            let _ = stream.write_all(b"store;eve;al;");
            held.push(stream);
        }
        // Send one more byte on an older connection.
        let index = usize::from(attacker) % held.len().max(1);
        if let Some(stream) = held.get_mut(index) {
            let _ = stream.write_all(b"x");
        }
        std::thread::sleep(Duration::from_millis(1));
    });
}

#[test]
fn garbage() {
    under("garbage", FAST, |attacker, port, _| {
        if let Some(mut stream) = from(attacker, port) {
            let _ = stream.write_all(&[0xff; 3_000]);
            let _ = stream.read(&mut [0; 100]);
        }
    });
}

#[test]
fn a_flood_from_one_address() {
    under("a_flood_from_one_address", FAST, |_, port, held| {
        if let Some(mut stream) = from(7, port) {
            let _ = stream.write_all(b"H");
            held.push(stream);
        }
    });
}

#[test]
fn readers_who_never_read() {
    under("readers_who_never_read", FAST, |attacker, port, held| {
        if let Some(mut stream) = from(attacker, port) {
            let _ = stream.write_all(b"fetch;big\n");
            held.push(stream);
        }
        std::thread::sleep(Duration::from_millis(1));
    });
}

#[test]
fn sessions_that_do_nothing() {
    let config = format!("{FAST}idle_timeout = 3\n");
    under(
        "sessions_that_do_nothing",
        &config,
        |attacker, port, held| {
            if let Some(mut stream) = from(attacker, port) {
                let _ = stream.write_all(b"HELLO dropline/1\nWHO\n");
                held.push(stream);
            }
            std::thread::sleep(Duration::from_millis(2));
        },
    );
}

#[test]
fn a_storm_of_sighups_refuses_no_client() {
    let daemon = Daemon::start();
    let stop = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    daemon.store("bob", "al", "hi");
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..100 {
            daemon.signal(nix::sys::signal::Signal::SIGHUP);
            std::thread::sleep(Duration::from_millis(3));
        }
        wait_until("some clients are served", || {
            served.load(Ordering::SeqCst) > 100
        });
        stop.store(true, Ordering::SeqCst);
    });
    report(&format!(
        "100 SIGHUPs under load: {} served, 0 refused",
        served.load(Ordering::SeqCst)
    ));
    assert_eq!(daemon.fetch("bob").len(), served.load(Ordering::SeqCst));
}
