//! Tests of exactly-once delivery in order, through kills of the daemon. Clients resend unacknowledged messages with
//! the same id. Readers use all dialects.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::session::{field, number};
use crate::support::{Daemon, exported, is_long, report, wait_until};

const WRITERS: usize = 3;
/// The number of pipelined messages.
const PIPELINE: usize = 8;
const KEEP_ALL: &str = "history_bytes = 1000000000000";

/// The state that all clients share.
#[derive(Default)]
struct World {
    /// The port of the daemon; 0 while it does not listen.
    port: AtomicU16,
    stop: AtomicBool,
    accepted: AtomicUsize,
    /// The number of each message that a reader has received, by mailbox and id.
    seen: Mutex<BTreeMap<(String, String), usize>>,
    /// Messages that were received under two numbers.
    strange: Mutex<Vec<String>>,
}

type Session = (TcpStream, BufReader<TcpStream>);

impl World {
    fn connect(&self) -> Option<TcpStream> {
        let port = match self.port.load(Ordering::SeqCst) {
            0 => {
                std::thread::sleep(Duration::from_millis(1));
                return None;
            }
            port => port,
        };
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        Some(stream)
    }

    fn session(&self, name: &str) -> Option<Session> {
        let mut stream = self.connect()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        writeln!(stream, "HELLO dropline/1 name={name}").ok()?;
        line(&mut reader)?
            .starts_with("OK ")
            .then_some((stream, reader))
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Sends messages in batches, and resends each message until it is accepted. Returns how many were accepted.
    fn write(&self, writer: usize) -> usize {
        let mut done = 0;
        while !self.is_over() {
            let mut left: Vec<usize> = (done..done + PIPELINE).collect();
            while !left.is_empty() {
                left = self.send(writer, &left).unwrap_or(left);
            }
            done += PIPELINE;
        }
        done
    }

    /// Sends a batch. Returns the rest of it from the first message that was not accepted, so that the order is kept.
    fn send(&self, writer: usize, batch: &[usize]) -> Option<Vec<usize>> {
        let (mut stream, mut reader) = self.session(&format!("w{writer}"))?;
        let mut bytes = Vec::new();
        for n in batch {
            let body = format!("{n:08}");
            let id = format!("{writer:016x}{n:016x}");
            writeln!(bytes, "SEND box{} 8 id={id}\n{body}", (n / PIPELINE) % 3).ok()?;
        }
        stream.write_all(&bytes).ok()?;
        for (at, _) in batch.iter().enumerate() {
            match line(&mut reader) {
                Some(reply) if reply.starts_with("OK ") => {
                    self.accepted.fetch_add(1, Ordering::SeqCst);
                }
                _ => return Some(batch[at..].to_vec()),
            }
        }
        Some(Vec::new())
    }

    fn note(&self, mailbox: &str, line: &str) {
        let id = field(line, "id").expect("an id").to_owned();
        let seq = number(line, "seq");
        let before = self
            .seen
            .lock()
            .expect("sound")
            .insert((mailbox.into(), id), seq);
        if before.is_some_and(|before| before != seq) {
            self.strange.lock().expect("sound").push(line.to_owned());
        }
    }

    /// Watches a mailbox and acknowledges each message.
    fn watch(&self, mailbox: &str) {
        while !self.is_over() {
            let _ = self.session(mailbox).and_then(|(mut stream, mut reader)| {
                writeln!(stream, "WATCH").ok()?;
                while !self.is_over() {
                    let line = line(&mut reader)?;
                    if line.starts_with("MSG ") {
                        reader.read_exact(&mut [0; 9]).ok()?;
                        self.note(mailbox, &line);
                        writeln!(stream, "ACK {}", number(&line, "seq")).ok()?;
                    }
                }
                Some(())
            });
        }
    }

    /// Fetches and acknowledges a few messages in each of a series of sessions.
    fn fetch(&self, mailbox: &str) {
        while !self.is_over() {
            let _ = self.session(mailbox).and_then(|(mut stream, mut reader)| {
                writeln!(stream, "FETCH max=5").ok()?;
                let mut last = None;
                loop {
                    let line = line(&mut reader)?;
                    if !line.starts_with("MSG ") {
                        break;
                    }
                    reader.read_exact(&mut [0; 9]).ok()?;
                    self.note(mailbox, &line);
                    last = Some(number(&line, "seq"));
                }
                writeln!(stream, "ACK {}\nQUIT", last?).ok()?;
                line(&mut reader).map(drop)
            });
        }
    }

    /// Reads alternately like the legacy menu client and the legacy chat client.
    fn read_as_of_old(&self, mailbox: &str) {
        let fetch = format!("fetch;{mailbox}\n").into_bytes();
        let [a, b] =
            [mailbox.len() + 1, mailbox.len()].map(|len| u8::try_from(len).expect("short"));
        assert!(b >= 3, "the framed dialect needs names of three letters");
        let mut register = b"\0\x0a\0\0!register\0".to_vec();
        register.extend([0, a, 0, 0]);
        register.extend(mailbox.as_bytes());
        register.extend(b"\0\0\x0d\0\x00127.0.0.1 99\0");
        let mut quit = b"\0\x06\0\0!quit\0".to_vec();
        quit.extend([0, a, 0, 0]);
        quit.extend(mailbox.as_bytes());
        quit.push(0);
        while !self.is_over() {
            for request in [&fetch, &register, &quit] {
                let _ = self.connect().and_then(|mut stream| {
                    stream.write_all(request).ok()?;
                    if request != &register {
                        stream.shutdown(Shutdown::Write).ok()?;
                    }
                    stream.read_to_end(&mut Vec::new()).ok()
                });
            }
        }
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    match reader.read_line(&mut line) {
        Ok(n) if n > 0 && line.ends_with('\n') => Some(line.trim_end().to_owned()),
        _ => None,
    }
}

#[test]
fn kills_lose_duplicate_and_reorder_no_message() {
    let rounds = if is_long() { 200 } else { 12 };
    let world = World::default();
    let (daemon, sent) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let world = &world;
                    move || world.write(writer)
                })
            })
            .collect();
        scope.spawn(|| world.watch("box0"));
        scope.spawn(|| world.fetch("box1"));
        scope.spawn(|| world.read_as_of_old("box2"));
        let mut daemon = Daemon::with(KEEP_ALL, &[]);
        for _ in 0..rounds {
            world.port.store(daemon.port, Ordering::SeqCst);
            let enough = world.accepted.load(Ordering::SeqCst) + 3 * PIPELINE;
            wait_until("messages are accepted", || {
                world.accepted.load(Ordering::SeqCst) >= enough
            });
            world.port.store(0, Ordering::SeqCst);
            daemon = Daemon::in_dir(daemon.kill_family(), KEEP_ALL, &[]);
        }
        world.port.store(daemon.port, Ordering::SeqCst);
        world.stop.store(true, Ordering::SeqCst);
        let sent: Vec<usize> = writers
            .into_iter()
            .map(|one| one.join().expect("done"))
            .collect();
        (daemon, sent)
    });
    assert_eq!(*world.strange.lock().expect("sound"), Vec::<String>::new());
    let (all, _) = exported(&daemon.spool());
    let mut found: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for line in all.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let (Some(from), Some(body)) = (line["from"].as_str(), line["body"].as_str()) else {
            continue;
        };
        let mailbox = line["mailbox"].as_str().expect("a name");
        let place = (
            from[1..].parse().expect("a writer"),
            mailbox[3..4].parse().expect("a mailbox"),
        );
        found
            .entry(place)
            .or_default()
            .push(body.parse().expect("a number"));
    }
    for (writer, sent) in sent.iter().enumerate() {
        for mailbox in 0..3 {
            let expected: Vec<usize> = (0..*sent)
                .filter(|n| (n / PIPELINE) % 3 == mailbox)
                .collect();
            let got = found.remove(&(writer, mailbox)).unwrap_or_default();
            assert_eq!(got, expected, "from writer {writer} to mailbox {mailbox}");
        }
    }
    let total: usize = sent.iter().sum();
    report(&format!(
        "resent until accepted, through {rounds} kills: {total} messages, lost: 0, duplicated: 0"
    ));
}
