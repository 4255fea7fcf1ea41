//! A UDP proxy that simulates an unreliable network.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The faults that the proxy injects, in both directions.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    /// The percentage of lost datagrams.
    pub(crate) lost: u64,
    /// The percentage of duplicated datagrams.
    pub(crate) doubled: u64,
    /// The maximum delay. Each datagram has a random delay up to it, which reorders them.
    pub(crate) delay: Duration,
}

/// A running proxy. Stopped when dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    carried: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy to `target` with these faults.
    pub(crate) fn to(target: SocketAddr, weather: Weather) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = front.local_addr().expect("an address");
        let over = Arc::new(AtomicBool::new(false));
        let carried = Arc::new(AtomicU64::new(0));
        let mut road = Road {
            front,
            target,
            weather,
            senders: Vec::new(),
            on_the_way: Vec::new(),
            chance: 88_172_645_463_325_252,
            carried: Arc::clone(&carried),
        };
        let end = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                road.step();
            }
        });
        Self {
            address,
            carried,
            over,
            thread: Some(thread),
        }
    }

    /// Returns the number of datagrams that the proxy received, from both sides.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Road {
    front: UdpSocket,
    target: SocketAddr,
    weather: Weather,
    /// Each sender has its own socket towards the target.
    senders: Vec<(SocketAddr, UdpSocket)>,
    /// Delayed datagrams: the due time, whether it goes to the target, the sender's index, the bytes.
    on_the_way: Vec<(Instant, bool, usize, Vec<u8>)>,
    chance: u64,
    carried: Arc<AtomicU64>,
}

impl Road {
    fn step(&mut self) {
        let mut bytes = [0; 65_536];
        let pause = Some(Duration::from_millis(1));
        self.front.set_read_timeout(pause).expect("set");
        match self.front.recv_from(&mut bytes) {
            Ok((n, from)) => {
                let sender = self.sender(from);
                self.set_out(true, sender, &bytes[..n]);
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // An ICMP error: a sender has closed its socket.
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => {}
            Err(e) => panic!("the proxy: {e}"),
        }
        for sender in 0..self.senders.len() {
            while let Ok(n) = self.senders[sender].1.recv(&mut bytes) {
                self.set_out(false, sender, &bytes[..n]);
            }
        }
        let now = Instant::now();
        let (due, later): (Vec<_>, _) = self.on_the_way.drain(..).partition(|d| d.0 <= now);
        self.on_the_way = later;
        for (_, to_target, sender, bytes) in due {
            let (address, socket) = &self.senders[sender];
            // Errors are ignored: the receiver may have closed its socket.
            let _ = if to_target {
                socket.send(&bytes)
            } else {
                self.front.send_to(&bytes, address)
            };
        }
    }

    fn sender(&mut self, from: SocketAddr) -> usize {
        let known = self
            .senders
            .iter()
            .position(|(address, _)| *address == from);
        known.unwrap_or_else(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.connect(self.target).expect("connected");
            socket.set_nonblocking(true).expect("set");
            self.senders.push((from, socket));
            self.senders.len() - 1
        })
    }

    fn set_out(&mut self, to_target: bool, sender: usize, bytes: &[u8]) {
        self.carried.fetch_add(1, Ordering::Relaxed);
        let copies = 1 + usize::from(self.dice(100) < self.weather.doubled);
        for _ in 0..copies {
            if self.dice(100) < self.weather.lost {
                continue;
            }
            let most = u64::try_from(self.weather.delay.as_millis()).expect("short");
            let delay = Duration::from_millis(self.dice(most + 1));
            let datagram = (Instant::now() + delay, to_target, sender, bytes.to_vec());
            self.on_the_way.push(datagram);
        }
    }

    /// A xorshift generator with a fixed seed, so that runs are reproducible.
    fn dice(&mut self, sides: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % sides
    }
}
