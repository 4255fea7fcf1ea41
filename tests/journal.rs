//! Tests of the journal that writers share: its messages are recovered, and messages are stored without it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::support::ledger::End;
use crate::support::mount::Mount;
use crate::support::session::Session;
use crate::support::{Daemon, exported, is_long, program, skip, trace, wait_until};

const SESSIONS: usize = 12;
/// The path of bob's mailbox in a spool.
const BOB: &str = "mail/f5/bob";

/// The messages that the server acknowledged as stored, and the number of runs so far.
#[derive(Default)]
struct Accepted(Mutex<BTreeSet<String>>, AtomicUsize);

impl Accepted {
    fn count(&self) -> usize {
        self.0.lock().expect("not poisoned").len()
    }

    fn more(&self, more: usize) {
        let enough = self.count() + more;
        wait_until("messages are accepted", || self.count() >= enough);
    }

    /// Panics unless `found` has each accepted message, and none twice.
    fn are_all_in(&self, found: &[String]) {
        let unique: BTreeSet<&String> = found.iter().collect();
        assert_eq!(unique.len(), found.len(), "a message was stored twice");
        let accepted = self.0.lock().expect("not poisoned");
        let lost: Vec<_> = accepted
            .iter()
            .filter(|text| !unique.contains(text))
            .collect();
        assert!(
            lost.is_empty(),
            "{} of {}: {lost:?}",
            lost.len(),
            accepted.len()
        );
    }

    /// Runs `events` while many sessions send messages to bob. A session ends when the daemon stops answering.
    fn send_beside<T>(&self, daemon: &Daemon, events: impl FnOnce() -> T) -> T {
        let stop = AtomicBool::new(false);
        let run = self.1.fetch_add(1, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for session in 0..SESSIONS {
                let stop = &stop;
                scope.spawn(move || {
                    let mut client = Session::of(daemon, &format!("s{session}"));
                    let mut n = 0;
                    while !stop.load(Ordering::SeqCst) {
                        let text = format!("s{session} {run} {n}");
                        if !client.try_store("bob", text.as_bytes()) {
                            break;
                        }
                        self.0.lock().expect("not poisoned").insert(text);
                        n += 1;
                    }
                });
            }
            let _end = End(&stop);
            events()
        })
    }

    /// Like [`send_beside`](Self::send_beside), with a new daemon. Calls `events` with it and its journal writer as
    /// soon as the journal is in use.
    fn send_while_it_is_used<T>(&self, events: impl FnOnce(&Daemon, Pid) -> T) -> (Daemon, T) {
        let daemon = Daemon::start();
        daemon.store("bob", "al", "the first makes the mailbox");
        let happened = self.send_beside(&daemon, || {
            wait_until("the journal is in use", || is_left(&daemon.spool()));
            let writer = daemon.writer().expect("a pid");
            events(&daemon, Pid::from_raw(writer.parse().expect("a number")))
        });
        (daemon, happened)
    }
}

fn segment(spool: &Path, number: usize) -> PathBuf {
    spool.join("journal").join(number.to_string())
}

/// Returns whether the journal has content. An emptied segment begins with zeros.
fn is_left(spool: &Path) -> bool {
    (0..2).any(|number| {
        let bytes = fs::read(segment(spool, number)).unwrap_or_default();
        bytes.iter().take(512).any(|&byte| byte != 0)
    })
}

/// Counts the records in the journal of mailboxes whose names end in `bob`.
fn records(spool: &Path) -> usize {
    let in_one = |number| {
        let bytes = fs::read(segment(spool, number)).unwrap_or_default();
        memchr::memmem::find_iter(&bytes, b"bobDlR\x01").count()
    };
    (0..2).map(in_one).sum()
}

fn sent(spool: &Path) -> Vec<String> {
    sent_and_said(spool).0
}

/// Returns the messages in the spool, and the standard error of `droplinectl export`.
fn sent_and_said(spool: &Path) -> (Vec<String>, String) {
    let (text, said) = exported(spool);
    let body = |line: &str| {
        let rest = line.split_once("\"body\":\"")?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let bodies = text.lines().filter_map(body);
    let sent = bodies.filter(|body| body.starts_with('s'));
    (sent.collect(), said)
}

fn kill_with(pid: Pid, signal: Signal) {
    nix::sys::signal::kill(pid, signal).expect("signalled");
}

#[test]
fn many_sessions_share_the_journal_and_it_is_emptied_at_the_end() {
    let mut daemon = Daemon::start();
    daemon.store("bob", "al", "the first makes the mailbox");
    assert!(
        !segment(&daemon.spool(), 0).exists(),
        "a segment must not be made before it is needed"
    );
    let accepted = Accepted::default();
    accepted.send_beside(&daemon, || {
        accepted.more(200);
        wait_until("the journal is in use", || is_left(&daemon.spool()));
    });
    // An idle daemon empties the journal. Readers need not wait for that.
    wait_until("the journal is empty", || !is_left(&daemon.spool()));
    let accepted_then = accepted.count();
    accepted.send_beside(&daemon, || {
        accepted.more(100);
        // Stop the daemon while the journal is in use.
        daemon.signal(Signal::SIGTERM);
    });
    assert!(daemon.ended().success());
    assert!(accepted.count() >= accepted_then + 100);
    assert!(!is_left(&daemon.spool()), "the journal is not empty");
    accepted.are_all_in(&sent(&daemon.spool()));
}

/// Kills a daemon under load and zeroes all records of the mailbox that the journal has, as a power cut may.
fn cut_off(accepted: &Accepted) -> tempfile::TempDir {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "the first makes the mailbox");
    accepted.send_beside(&daemon, || {
        wait_until("the journal is in use", || is_left(&daemon.spool()));
        accepted.more(300);
        wait_until("the journal has many records", || {
            records(&daemon.spool()) > 150
        });
        let group = Pid::from_raw(i32::try_from(daemon.pid()).expect("a pid"));
        killpg(group, Signal::SIGKILL).expect("killed");
    });
    let dir = daemon.kill();
    let spool = dir.path().join("spool");
    let mut mailbox = fs::read(spool.join(BOB)).expect("there");
    let (mut taken, mut batches) = (0, 0);
    for segment in [segment(&spool, 0), segment(&spool, 1)] {
        let bytes = fs::read(segment).expect("there");
        batches += memchr::memmem::find_iter(&bytes, b"DlB\x01").count();
        for (offset, len) in in_segment(&bytes) {
            mailbox[offset..offset + len].fill(0);
            taken += 1;
        }
    }
    assert!(taken > 100, "{taken}");
    assert!(
        taken > batches,
        "{taken} records in {batches} batches: syncs are not shared"
    );
    fs::write(spool.join(BOB), mailbox).expect("written");
    dir
}

/// Returns the offset in bob's mailbox and the length of each record in a segment. An entry of the journal is its
/// length (u32), a head of 24 bytes that ends with the offset (u64), the name of the mailbox, and the record.
fn in_segment(bytes: &[u8]) -> Vec<(usize, usize)> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | usize::from(byte))
    };
    let entries = memchr::memmem::find_iter(bytes, b"bobDlR\x01").map(|at| {
        let len = number(&bytes[at - 28..at - 24]) - 24 - 3;
        (number(&bytes[at - 8..at]), len)
    });
    entries.collect()
}

#[test]
fn the_next_start_moves_messages_from_the_journal_to_the_mailbox() {
    let accepted = Accepted::default();
    let dir = cut_off(&accepted);
    let daemon = Daemon::in_dir(dir, "", &[]);
    daemon.logged("were missing from their mailboxes and were written to them");
    assert!(!is_left(&daemon.spool()));
    let found: Vec<_> = Session::of(&daemon, "bob")
        .read_all()
        .into_iter()
        .map(|(_, body)| body)
        .filter(|body| body.starts_with('s'))
        .collect();
    accepted.are_all_in(&found);
    daemon.store("bob", "al", "it goes on");
    let check = program("droplinectl")
        .arg("--spool")
        .arg(daemon.spool())
        .arg("check")
        .output();
    let check = check.expect("run");
    assert!(
        check.status.success(),
        "{}",
        String::from_utf8_lossy(&check.stdout)
    );
}

#[test]
fn an_export_before_the_next_start_includes_the_journal() {
    let accepted = Accepted::default();
    let dir = cut_off(&accepted);
    let spool = dir.path().join("spool");
    let (found, said) = sent_and_said(&spool);
    accepted.are_all_in(&found);
    assert!(
        said.contains("were missing from their mailboxes and were written to them"),
        "{said}"
    );
    assert!(!is_left(&spool));
    // The export has emptied the journal, so the daemon has nothing to recover.
    let daemon = Daemon::in_dir(dir, "", &[]);
    daemon.store("bob", "al", "it goes on");
    assert!(!daemon.log().contains("the journal"), "{}", daemon.log());
}

#[test]
fn a_journal_with_a_damaged_header_is_recovered() {
    let accepted = Accepted::default();
    let dir = cut_off(&accepted);
    let spool = dir.path().join("spool");
    for number in 0..2 {
        let mut bytes = fs::read(segment(&spool, number)).expect("there");
        if bytes[0] != 0 {
            bytes[5] ^= 1;
        }
        fs::write(segment(&spool, number), bytes).expect("written");
    }
    let daemon = Daemon::in_dir(dir, "", &[]);
    daemon.logged("is damaged: accepted messages may be lost");
    accepted.are_all_in(&sent(&daemon.spool()));
    let kept = fs::read_dir(daemon.spool().join("quarantine")).expect("there");
    assert!(kept.count() > 0, "the damaged journal was not quarantined");
}

#[test]
fn on_a_read_only_file_system_output_is_reported_as_incomplete() {
    let Some(mount) = Mount::ext4("a journal on a read-only file system") else {
        return;
    };
    let spool = mount.path().join("spool");
    let accepted = Accepted::default();
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::with_spool(dir, &spool, "min_free_bytes = 0\nmin_free_inodes = 0", &[]);
    daemon.store("bob", "al", "the first makes the mailbox");
    accepted.send_beside(&daemon, || {
        wait_until("the journal is in use", || is_left(&spool));
        let group = Pid::from_raw(i32::try_from(daemon.pid()).expect("a pid"));
        killpg(group, Signal::SIGKILL).expect("killed");
    });
    drop(daemon.kill());
    wait_until("the file system is unmounted", || mount.unmount());
    assert!(mount.mount(&["-o", "loop,ro"], &mount.image()));
    for command in ["queue", "export", "check"] {
        let output = program("droplinectl")
            .arg("--spool")
            .arg(&spool)
            .arg(command)
            .output();
        let output = output.expect("run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(
            said.contains("the output is incomplete: ") && said.contains("read-only"),
            "{command}: {said}"
        );
    }
    wait_until("the file system is unmounted", || mount.unmount());
    assert!(mount.mount(&["-o", "loop"], &mount.image()));
    accepted.are_all_in(&sent(&spool));
}

#[test]
fn without_the_journal_a_power_cut_loses_messages() {
    let accepted = Accepted::default();
    let dir = cut_off(&accepted);
    let spool = dir.path().join("spool");
    fs::remove_dir_all(spool.join("journal")).expect("removed");
    let found: BTreeSet<_> = sent(&spool).into_iter().collect();
    let lost = accepted
        .0
        .lock()
        .expect("not poisoned")
        .difference(&found)
        .count();
    assert!(lost > 100, "{lost}");
}

/// Returns the time of the last write to a segment.
fn written(spool: &Path) -> std::time::SystemTime {
    let of = |number| fs::metadata(segment(spool, number))?.modified();
    let times = (0..2).filter_map(|number| of(number).ok());
    times.max().expect("there")
}

/// Waits until another message goes through the journal.
fn goes_on(accepted: &Accepted, spool: &Path) {
    let before = written(spool);
    wait_until("the journal is in use again", || {
        accepted.more(1);
        written(spool) > before
    });
}

/// Kills the journal writer of a daemon whose journal is in use. Waits for the next writer and returns its pid.
fn replace_writer(daemon: &Daemon, writer: Pid) -> Pid {
    kill_with(writer, Signal::SIGKILL);
    daemon.logged(&format!(
        "the writer of the journal (process {writer}) killed by SIGKILL: it is started again in "
    ));
    next_writer(daemon, writer)
}

/// Waits until another writer runs than `writer`.
fn next_writer(daemon: &Daemon, writer: Pid) -> Pid {
    let mut next = writer;
    wait_until("a new writer runs", || {
        let found = daemon.writer().and_then(|pid| pid.parse().ok());
        next = found.map_or(writer, Pid::from_raw);
        next != writer
    });
    next
}

#[test]
fn a_killed_writer_is_restarted_and_no_message_is_lost() {
    let accepted = Accepted::default();
    let (mut daemon, ()) = accepted.send_while_it_is_used(|daemon, mut writer| {
        // The pause before each restart is longer than the one before.
        for round in 0..if is_long() { 8 } else { 5 } {
            writer = replace_writer(daemon, writer);
            goes_on(&accepted, &daemon.spool());
            // The kills must also hit a writer in the middle of a segment, and one that empties a segment.
            accepted.more(40 * round);
        }
    });
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success());
    assert!(!is_left(&daemon.spool()), "the journal is not empty");
    accepted.are_all_in(&sent(&daemon.spool()));
    let quarantine = fs::read_dir(daemon.spool().join("quarantine")).expect("there");
    assert_eq!(quarantine.count(), 0);
}

#[test]
fn a_daemon_killed_after_a_restart_of_the_writer_loses_nothing() {
    let accepted = Accepted::default();
    for round in 0..3 {
        let (daemon, ()) = accepted.send_while_it_is_used(|daemon, writer| {
            let next = replace_writer(daemon, writer);
            match round {
                // Kill the new writer while it empties the old journal, soon after that, and after it was used.
                0 => {}
                1 => accepted.more(20),
                _ => goes_on(&accepted, &daemon.spool()),
            }
            kill_with(next, Signal::SIGKILL);
            daemon.signal(Signal::SIGKILL);
        });
        let dir = daemon.kill_family();
        let daemon = Daemon::in_dir(dir, "", &[]);
        let found = sent(&daemon.spool());
        accepted.are_all_in(&found);
        accepted.0.lock().expect("not poisoned").clear();
    }
}

#[test]
fn the_journal_of_a_killed_writer_is_emptied_before_the_daemon_exits() {
    let accepted = Accepted::default();
    let (mut daemon, supervised) = accepted.send_while_it_is_used(|daemon, mut writer| {
        // The pause before the last restart is long enough to stop the daemon in it.
        for _ in 0..5 {
            writer = replace_writer(daemon, writer);
        }
        goes_on(&accepted, &daemon.spool());
        kill_with(writer, Signal::SIGKILL);
        daemon.logged("started again in 3.2s");
        daemon.signal(Signal::SIGTERM);
        daemon.supervisor()
    });
    assert!(supervised.is_some());
    assert!(daemon.ended().success());
    assert!(!is_left(&daemon.spool()), "the journal is not empty");
    accepted.are_all_in(&sent(&daemon.spool()));
}

#[test]
fn a_killed_supervisor_is_replaced_and_no_message_is_lost() {
    let accepted = Accepted::default();
    let (mut daemon, ()) = accepted.send_while_it_is_used(|daemon, mut writer| {
        for _ in 0..3 {
            wait_until("there is a reserve", || daemon.reserve().is_some());
            let supervisor = daemon.supervisor().expect("a pid");
            kill_with(
                Pid::from_raw(supervisor.parse().expect("a number")),
                Signal::SIGKILL,
            );
            writer = next_writer(daemon, writer);
            goes_on(&accepted, &daemon.spool());
        }
    });
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success());
    assert!(!is_left(&daemon.spool()), "the journal is not empty");
    accepted.are_all_in(&sent(&daemon.spool()));
}

#[test]
fn without_a_supervisor_each_child_syncs_its_own_messages() {
    let accepted = Accepted::default();
    let (daemon, ()) = accepted.send_while_it_is_used(|daemon, _| {
        daemon.kill_supervisor_and_reserve();
        daemon.logged("error: the supervisor of the helper processes (process");
        accepted.more(200);
        assert_eq!((daemon.supervisor(), daemon.writer()), (None, None));
    });
    // The content of the journal is left to the next start.
    let dir = daemon.kill_family();
    assert!(is_left(&dir.path().join("spool")));
    let daemon = Daemon::in_dir(dir, "", &[]);
    assert!(daemon.writer().is_some());
    accepted.are_all_in(&sent(&daemon.spool()));
}

#[test]
fn while_the_writer_hangs_each_child_waits_once_and_then_syncs() {
    let accepted = Accepted::default();
    let (daemon, ()) = accepted.send_while_it_is_used(|daemon, writer| {
        kill_with(writer, Signal::SIGSTOP);
        // Each session has at most one message in the journal, and then continues without it.
        accepted.more(20 * SESSIONS);
        kill_with(writer, Signal::SIGCONT);
        goes_on(&accepted, &daemon.spool());
        let same = daemon.writer().expect("a pid");
        assert_eq!(same, writer.to_string(), "a running writer was replaced");
    });
    let dir = daemon.kill_family();
    accepted.are_all_in(&sent(&dir.path().join("spool")));
}

#[test]
fn a_disk_error_in_the_journal_loses_no_message() {
    let test = "a disk that fails under the journal";
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test, "strace is not installed");
    }
    for call in ["fdatasync", "pwrite64"] {
        let accepted = Accepted::default();
        let (daemon, attached) = accepted.send_while_it_is_used(|daemon, writer| {
            let inject = format!("inject={call}:error=EIO");
            let trace = format!("trace={call}");
            let options = ["-e", &trace, "-e", &inject];
            let pid = u32::try_from(writer.as_raw()).expect("a number");
            let Some(mut strace) = trace::attach_to(pid, &options, Path::new("/dev/null")) else {
                return false;
            };
            daemon.logged("cannot write to the journal");
            daemon.logged(
                "ended with status 1: it is started again in 100ms; until then each child syncs",
            );
            accepted.more(100);
            let _ = strace.kill();
            let _ = strace.wait();
            goes_on(&accepted, &daemon.spool());
            true
        });
        if !attached {
            return skip(test, "strace may not attach here");
        }
        let dir = daemon.kill_family();
        accepted.are_all_in(&sent(&dir.path().join("spool")));
    }
}

#[test]
fn a_journal_of_garbage_is_harmless() {
    let mut dir = Daemon::start().kill_family();
    let nonsense: [Vec<u8>; 4] = [Vec::new(), b"DlJ\x01".to_vec(), vec![0xff; 100_000], {
        // The header of an empty segment, and the head of a batch that is longer than the file.
        let mut bytes = vec![0; 600];
        bytes[512..516].copy_from_slice(b"DlB\x01");
        bytes[520..524].copy_from_slice(&u32::MAX.to_le_bytes());
        bytes
    }];
    for bytes in nonsense {
        fs::write(segment(&dir.path().join("spool"), 0), &bytes).expect("written");
        fs::write(segment(&dir.path().join("spool"), 1), &bytes).expect("written");
        let daemon = Daemon::in_dir(dir, "", &[]);
        daemon.store("bob", "al", "hi");
        let accepted = Accepted::default();
        accepted.send_beside(&daemon, || {
            accepted.more(100);
            wait_until("the journal is in use", || is_left(&daemon.spool()));
        });
        let found = Session::of(&daemon, "bob").read_all();
        let found: Vec<_> = found.into_iter().map(|(_, body)| body).collect();
        accepted.are_all_in(&found);
        dir = daemon.kill_family();
    }
}
