//! The slowest answer that a client gets while another one asks for the most expensive things there are.
//!
//! The attacker is a process with a uid of its own, because the daemon divides its connections among the users of the
//! machine. It keeps all its connections busy: it sends as much as they take, and discards the answers. Meanwhile the
//! client stores messages and fetches them, a connection for each request, and repeats a request that was refused.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::load::{self, HELLO};
use crate::report::Goal;
use crate::servers::{self, Server};
use crate::{Bench, Result};

/// The uid and gid of the attacker. Nobody has it.
const ATTACKER: u32 = 60_117;
/// The mailbox of the client.
const VICTIM: &str = "victim";
/// The body of each message that fills the attacker's mailbox, in bytes.
const LARGE: usize = 64_000;
/// The number of registered names.
const NAMES: usize = 2_000;
/// Goal for each kind, in seconds.
const GOAL: Goal = Goal::AtMost(2.0, 0.2);

/// What the attacker asks for.
struct Attack {
    what: &'static str,
    connections: usize,
    /// The beginning of each connection. `NUMBER` stands for a new number, and `FULL` for the attacker's mailbox.
    begin: &'static str,
    /// The request that it repeats; empty for a connection that waits.
    request: &'static str,
    /// Whether it reads the answers.
    reads: bool,
}

const HELLO_FULL: &str = "HELLO dropline/1 name=FULL\n";
const HELLO_NEW: &str = "HELLO dropline/1 name=wNUMBER\n";

const ATTACKS: [Attack; 12] = [
    Attack {
        what: "SEND with ids into a full mailbox",
        connections: 3,
        begin: "HELLO dropline/1 name=alice\n",
        request: "SEND FULL 1 id=NUMBER\nx\n",
        reads: true,
    },
    Attack {
        what: "WHO",
        connections: 10,
        begin: "HELLO dropline/1\n",
        request: "WHO max=1\nWHO\n",
        reads: true,
    },
    Attack {
        what: "STATUS of an old message",
        connections: 10,
        begin: HELLO_FULL,
        request: "STATUS to=FULL seq=1\n",
        reads: true,
    },
    Attack {
        what: "HISTORY before an old message",
        connections: 10,
        begin: HELLO_FULL,
        request: "HISTORY before=2 max=1\n",
        reads: true,
    },
    Attack {
        what: "LOOKUP",
        connections: 10,
        begin: "HELLO dropline/1 name=alice\n",
        request: "LOOKUP FULL\nLOOKUP nNUMBER\n",
        reads: true,
    },
    Attack {
        what: "FETCH peek=1, never reading",
        connections: 100,
        begin: HELLO_FULL,
        request: "FETCH peek=1\n",
        reads: false,
    },
    Attack {
        what: "fetch, never reading",
        connections: 100,
        begin: "fetch;FULL\n",
        request: "",
        reads: false,
    },
    Attack {
        what: "ONLINE with new names",
        connections: 20,
        begin: HELLO_NEW,
        request: "ONLINE port=9\nDEREGISTER\n",
        reads: true,
    },
    Attack {
        what: "SEND to new names",
        connections: 10,
        begin: "HELLO dropline/1 name=alice\n",
        request: "SEND nNUMBER 1\nx\n",
        reads: true,
    },
    Attack {
        what: "300 WATCH",
        connections: 300,
        begin: "HELLO dropline/1 name=wNUMBER\nWATCH\n",
        request: "",
        reads: true,
    },
    Attack {
        what: "300 times one byte",
        connections: 300,
        begin: "s",
        request: "",
        reads: true,
    },
    Attack {
        what: "garbage",
        connections: 100,
        begin: "\u{7f}garbage\n",
        request: "",
        reads: true,
    },
];

impl Bench {
    /// The slowest answer of a client during each attack, compared with that without one.
    pub(crate) fn worst(&mut self) -> Result<()> {
        if !Uid::effective().is_root() {
            let why = "only root can give the attacker a uid of its own";
            self.report.skip("slowest answer during an attack", why);
            return Ok(());
        }
        let ours = servers::droplined_with_defaults(&self.dir("worst"))?;
        let full = name_beside(VICTIM);
        prepare(&ours, &full, if self.quick { 512 } else { 4_096 })?;
        let time = self.time * 4;
        let idle = slowest(&ours, time)?;
        for (index, attack) in ATTACKS.iter().enumerate() {
            let attacker = start(&ours, index, &full)?;
            // The attack begins before the measurement.
            std::thread::sleep(self.time / 4);
            let during = slowest(&ours, time);
            drop(attacker);
            self.report.value(
                &format!("slowest answer beside {}", attack.what),
                "s",
                during?,
                Some(("idle", idle)),
                Some(GOAL),
            );
        }
        Ok(())
    }
}

/// Returns a name whose mailbox has the same lock file as that of `name`, if lock files are chosen by an unkeyed CRC-32.
fn name_beside(name: &str) -> String {
    let stripe = |name: &str| crc32fast::hash(name.as_bytes()) % 4_096;
    let names = (0..).map(|number| format!("full{number}"));
    let mut beside = names.filter(|other| stripe(other) == stripe(name));
    beside.next().unwrap_or_default()
}

/// Fills the attacker's mailbox with `count` large messages, of which some are read, and registers names.
fn prepare(server: &Server, full: &str, count: usize) -> Result<()> {
    let head = format!("SEND {full} {LARGE}\n");
    load::fill(server.port, HELLO, count, 1, move |to, _| {
        to.extend_from_slice(head.as_bytes());
        to.extend_from_slice(&[b'x'; LARGE]);
        to.push(b'\n');
    })?;
    let hello = format!("HELLO dropline/1 name={full}\n");
    let read = b"FETCH max=100\nACK 50\n";
    load::bulk(server.port, hello.as_bytes(), read, &|tail| {
        tail.ends_with(b"\nOK\n")
    })?;
    for number in 0..NAMES {
        let hello = format!("HELLO dropline/1 name=u{number}\n");
        load::fill(server.port, hello.as_bytes(), 1, 1, |to, _| {
            to.extend_from_slice(b"ONLINE port=9\n");
        })?;
    }
    Ok(())
}

/// Returns the slowest answer of a client that stores and fetches for `time`, in seconds.
fn slowest(server: &Server, time: Duration) -> Result<f64> {
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let requests: [(String, &[u8]); 2] = [
        (
            format!("store;{VICTIM};alice;honest\n"),
            b"Message accepted and stored:\n",
        ),
        (format!("fetch;{VICTIM}\n"), b"Retrieving"),
    ];
    while begun.elapsed() < time {
        for (request, answer) in &requests {
            let asked = Instant::now();
            while !ask(server.port, request, answer).unwrap_or(false) {
                if asked.elapsed() > Duration::from_secs(60) {
                    return Ok(60.0);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            slowest = slowest.max(asked.elapsed());
        }
    }
    Ok(slowest.as_secs_f64())
}

fn ask(port: u16, request: &str, answer: &[u8]) -> io::Result<bool> {
    let mut stream = load::connect(port, 0)?;
    stream.write_all(request.as_bytes())?;
    let mut got = Vec::new();
    stream.read_to_end(&mut got)?;
    Ok(got.starts_with(answer))
}

/// A running attacker, which ends when its value is dropped.
struct Attacker(Child);

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(server: &Server, attack: usize, full: &str) -> Result<Attacker> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        "attacker",
        &server.port.to_string(),
        &attack.to_string(),
        full,
    ]);
    Ok(Attacker(command.stdin(Stdio::null()).spawn()?))
}

/// Runs the attacker. The arguments are the port, the index of the attack and the name of its mailbox.
pub(crate) fn attack(args: &[String]) -> Result<()> {
    let [port, attack, full] = args else {
        return Err("the attacker needs three arguments".into());
    };
    let (port, attack) = (port.parse()?, &ATTACKS[attack.parse::<usize>()?]);
    setgroups(&[])?;
    let (uid, gid) = (Uid::from_raw(ATTACKER), Gid::from_raw(ATTACKER));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    let mut texts = Texts { full, number: 0 };
    let mut all: Vec<Option<Line>> = (0..attack.connections).map(|_| None).collect();
    loop {
        let mut is_busy = false;
        for line in &mut all {
            match line {
                Some(open) => match open.step(attack, &mut texts) {
                    Ok(moved) => is_busy |= moved,
                    Err(_) => *line = None,
                },
                None => *line = Line::open(port, attack, &mut texts).ok(),
            }
        }
        if !is_busy {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The source of texts with new numbers.
struct Texts<'a> {
    full: &'a str,
    number: u64,
}

impl Texts<'_> {
    fn of(&mut self, text: &str) -> String {
        self.number += 1;
        let pid = std::process::id();
        let number = format!("{pid:08x}{:024x}", self.number);
        text.replace("FULL", self.full).replace("NUMBER", &number)
    }
}

/// A connection of the attacker.
struct Line {
    stream: TcpStream,
    /// What is to be sent.
    waiting: Vec<u8>,
}

impl Line {
    fn open(port: u16, attack: &Attack, texts: &mut Texts<'_>) -> io::Result<Self> {
        let stream = load::connect(port, 1)?;
        stream.set_nonblocking(true)?;
        let waiting = texts.of(attack.begin).into_bytes();
        Ok(Self { stream, waiting })
    }

    /// Sends and receives what it can. Returns whether that was anything; fails when the connection has ended.
    fn step(&mut self, attack: &Attack, texts: &mut Texts<'_>) -> io::Result<bool> {
        let mut moved = false;
        while !attack.request.is_empty() && self.waiting.len() < 16 * 1024 {
            self.waiting.extend(texts.of(attack.request).bytes());
        }
        match self.stream.write(&self.waiting) {
            Ok(n) => {
                self.waiting.drain(..n);
                moved |= n > 0;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        if attack.reads {
            match self.stream.read(&mut [0; 64 * 1024]) {
                Ok(0) => {
                    let _ = self.stream.shutdown(Shutdown::Both);
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(_) => moved = true,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        Ok(moved)
    }
}
