//! Compares the messages that the daemon accepted with the contents of the spool.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use super::exported;

/// The number of mailboxes that the writers use.
const MAILBOXES: usize = 7;
/// The number of writers. Large enough that they share syncs of the journal.
const WRITERS: usize = 10;

/// Writers and readers that continue through crashes of the daemon, and record each accepted message.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The port of the daemon; 0 while it does not listen.
    pub(crate) port: AtomicU16,
    pub(crate) stop: AtomicBool,
    /// Set at a simulated power cut. The daemon still answers then, but these answers do not count.
    pub(crate) dark: AtomicBool,
    accepted: Mutex<Vec<(String, String)>>,
}

/// Sets a stop flag when dropped.
pub(crate) struct End<'a>(pub(crate) &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) accepted: usize,
    pub(crate) missing: Vec<String>,
    pub(crate) doubled: Vec<String>,
    pub(crate) disordered: Vec<String>,
}

impl Verdict {
    /// Panics if a message was lost, duplicated or reordered.
    pub(crate) fn must_be_clean(&self) {
        assert!(
            self.missing.is_empty() && self.doubled.is_empty() && self.disordered.is_empty(),
            "{self:?}"
        );
    }
}

/// Sends one request and returns the reply.
fn ask(port: u16, request: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request.as_bytes())?;
    if request.starts_with("store") {
        stream.shutdown(Shutdown::Write)?;
    }
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(reply)
}

impl Ledger {
    /// Runs writers and readers until `events` returns.
    pub(crate) fn run<T>(&self, events: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || self.write(writer));
            }
            scope.spawn(|| self.read());
            // A guard, because the threads must stop also when `events` panics.
            let _end = End(&self.stop);
            events()
        })
    }

    /// Returns the number of messages accepted so far.
    pub(crate) fn count(&self) -> usize {
        self.accepted.lock().expect("not poisoned").len()
    }

    /// Records a message as accepted that was never sent.
    pub(crate) fn invent(&self, mailbox: &str, name: &str) {
        let message = (mailbox.to_owned(), name.to_owned());
        self.accepted.lock().expect("not poisoned").push(message);
    }

    fn until_stopped(&self, mut each: impl FnMut(u16, usize)) {
        let mut turn = 0;
        while !self.stop.load(Ordering::SeqCst) {
            match self.port.load(Ordering::SeqCst) {
                0 => std::thread::sleep(Duration::from_millis(1)),
                port => {
                    each(port, turn);
                    turn += 1;
                }
            }
        }
    }

    fn write(&self, writer: usize) {
        self.until_stopped(|port, turn| {
            let mailbox = format!("m{}", turn % MAILBOXES);
            // Every tenth message spans several pages.
            let text = if turn % 10 == 9 {
                "x".repeat(20_000)
            } else {
                "x".repeat(60)
            };
            let request = format!("store;{mailbox};w{writer};{turn:08} {text}\n");
            let accepted =
                ask(port, &request).is_ok_and(|reply| reply == b"Message accepted and stored:\n");
            if accepted && !self.dark.load(Ordering::SeqCst) {
                let message = (mailbox, format!("w{writer} {turn:08}"));
                self.accepted.lock().expect("not poisoned").push(message);
            }
        });
    }

    fn read(&self) {
        self.until_stopped(|port, turn| {
            // The reply is ignored: read messages stay in the history, which `compare` includes.
            let _ = ask(port, &format!("fetch;m{}\n", turn % MAILBOXES));
        });
    }

    /// Compares the record with the messages in the spool, history included.
    pub(crate) fn compare(&self, spool: &Path) -> Verdict {
        let (all, _) = exported(spool);
        let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut last: HashMap<(String, String), String> = HashMap::new();
        let mut verdict = Verdict::default();
        for line in all.lines() {
            let (Some(mailbox), Some(from), Some(body)) = (
                field(line, "mailbox"),
                field(line, "from"),
                field(line, "body"),
            ) else {
                continue;
            };
            let number = body[..8].to_owned();
            let name = format!("{from} {number}");
            *found.entry((mailbox.clone(), name.clone())).or_default() += 1;
            let before = last.insert((mailbox, from), number.clone());
            if before.is_some_and(|before| before >= number) {
                verdict.disordered.push(name);
            }
        }
        let accepted = self.accepted.lock().expect("not poisoned");
        verdict.accepted = accepted.len();
        let missing = accepted
            .iter()
            .filter(|message| !found.contains_key(message));
        verdict.missing = missing
            .map(|(mailbox, name)| format!("{name} to {mailbox}"))
            .collect();
        let doubled = found.into_iter().filter(|(_, times)| *times > 1);
        verdict.doubled = doubled
            .map(|((mailbox, name), _)| format!("{name} to {mailbox}"))
            .collect();
        verdict
    }
}

/// Returns a text field of a line of `droplinectl export`. The ledger's messages contain nothing to unescape.
fn field(line: &str, key: &str) -> Option<String> {
    let start = line.find(&format!("\"{key}\":\""))? + key.len() + 4;
    let end = line[start..].find('"')? + start;
    Some(line[start..end].to_owned())
}
