//! The journal, which many processes share: what is in it alone is not lost, and without it all goes on.

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

/// So many sessions send at once.
const SESSIONS: usize = 12;
/// The mailbox of bob in a spool.
const BOB: &str = "mail/f5/bob";

/// What the sessions were told is stored.
#[derive(Default)]
struct Accepted(Mutex<BTreeSet<String>>, AtomicUsize);

impl Accepted {
    fn count(&self) -> usize {
        self.0.lock().expect("not poisoned").len()
    }

    /// Waits until `more` messages were accepted.
    fn more(&self, more: usize) {
        let enough = self.count() + more;
        wait_until("messages are accepted", || self.count() >= enough);
    }

    /// Fails the test unless each was there once, in `found`.
    fn are_all_in(&self, found: &[String]) {
        let unique: BTreeSet<&String> = found.iter().collect();
        assert_eq!(unique.len(), found.len(), "nothing twice");
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

    /// Sends messages to bob from many sessions, for as long as the daemon answers, beside `events`.
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

    /// Sends beside `events`, which has a daemon whose journal is in use, and the process that writes it.
    fn send_while_it_is_used<T>(&self, events: impl FnOnce(&Daemon, Pid) -> T) -> (Daemon, T) {
        let daemon = Daemon::start();
        daemon.store("bob", "al", "the first makes the mailbox");
        let happened = self.send_beside(&daemon, || {
            wait_until("it is used", || is_left(&daemon.spool()));
            let writer = daemon.writer().expect("it runs");
            events(&daemon, Pid::from_raw(writer.parse().expect("a number")))
        });
        (daemon, happened)
    }
}

fn segment(spool: &Path, number: usize) -> PathBuf {
    spool.join("journal").join(number.to_string())
}

/// Whether something is in the journal: the first bytes of a segment that was emptied are zeros.
fn is_left(spool: &Path) -> bool {
    (0..2).any(|number| {
        let bytes = fs::read(segment(spool, number)).unwrap_or_default();
        bytes.iter().take(512).any(|&byte| byte != 0)
    })
}

/// How many records the journal has, of mailboxes whose names end in `bob`.
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

/// What is in the spool, and what droplinectl has told of it.
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
fn many_sessions_share_it_and_it_is_empty_at_the_end() {
    let mut daemon = Daemon::start();
    daemon.store("bob", "al", "the first makes the mailbox");
    assert!(
        !segment(&daemon.spool(), 0).exists(),
        "it takes no room before it is needed"
    );
    let accepted = Accepted::default();
    accepted.send_beside(&daemon, || {
        accepted.more(200);
        wait_until("it is used", || is_left(&daemon.spool()));
    });
    // Whoever reads is shown all at once, and a daemon that has nothing to do empties it.
    wait_until("it is emptied", || !is_left(&daemon.spool()));
    let accepted_then = accepted.count();
    accepted.send_beside(&daemon, || {
        accepted.more(100);
        // While it is used.
        daemon.signal(Signal::SIGTERM);
    });
    assert!(daemon.ended().success());
    assert!(accepted.count() >= accepted_then + 100);
    assert!(!is_left(&daemon.spool()), "nothing is left behind");
    accepted.are_all_in(&sent(&daemon.spool()));
}

/// Kills the daemon while many send, and takes from the mailbox what the journal has, as a power cut may.
fn cut_off(accepted: &Accepted) -> tempfile::TempDir {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "the first makes the mailbox");
    accepted.send_beside(&daemon, || {
        wait_until("it is used", || is_left(&daemon.spool()));
        accepted.more(300);
        wait_until("much of it is there", || records(&daemon.spool()) > 150);
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
        taken >= 2 * batches,
        "{taken} in {batches}: one wait is for several"
    );
    fs::write(spool.join(BOB), mailbox).expect("written");
    dir
}

/// Where the records that a segment has lie in the mailbox of bob, and how long they are: their name comes before
/// them, their offset before that, and their length before the 24 bytes of both.
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
fn what_is_in_the_journal_alone_is_in_the_mailbox_at_the_next_start() {
    let accepted = Accepted::default();
    let dir = cut_off(&accepted);
    let daemon = Daemon::in_dir(dir, "", &[]);
    daemon.logged("were not in their mailboxes: now they are");
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
fn whoever_looks_at_the_spool_first_finds_it_all() {
    let accepted = Accepted::default();
    let dir = cut_off(&accepted);
    let spool = dir.path().join("spool");
    let (found, said) = sent_and_said(&spool);
    accepted.are_all_in(&found);
    assert!(
        said.contains("were not in their mailboxes: now they are"),
        "{said}"
    );
    assert!(!is_left(&spool));
    // Now there is nothing to do for the daemon.
    let daemon = Daemon::in_dir(dir, "", &[]);
    daemon.store("bob", "al", "it goes on");
    assert!(!daemon.log().contains("the journal"), "{}", daemon.log());
}

#[test]
fn a_journal_whose_header_is_damaged_is_read_all_the_same() {
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
    daemon.logged("is damaged: some of what was accepted may be lost");
    accepted.are_all_in(&sent(&daemon.spool()));
    let kept = fs::read_dir(daemon.spool().join("quarantine")).expect("there");
    assert!(kept.count() > 0, "the whole of it is kept");
}

#[test]
fn where_nothing_can_be_written_what_is_printed_is_not_said_to_be_all() {
    let Some(mount) = Mount::ext4("a journal on a read-only file system") else {
        return;
    };
    let spool = mount.path().join("spool");
    let accepted = Accepted::default();
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::with_spool(dir, &spool, "min_free_bytes = 0\nmin_free_inodes = 0", &[]);
    daemon.store("bob", "al", "the first makes the mailbox");
    accepted.send_beside(&daemon, || {
        wait_until("it is used", || is_left(&spool));
        let group = Pid::from_raw(i32::try_from(daemon.pid()).expect("a pid"));
        killpg(group, Signal::SIGKILL).expect("killed");
    });
    drop(daemon.kill());
    wait_until("it is unmounted", || mount.unmount());
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
            said.contains("this is not all: ") && said.contains("read-only"),
            "{command}: {said}"
        );
    }
    wait_until("it is unmounted", || mount.unmount());
    assert!(mount.mount(&["-o", "loop"], &mount.image()));
    accepted.are_all_in(&sent(&spool));
}

#[test]
fn without_its_journal_a_power_cut_would_have_lost_messages() {
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

/// When what is in the journal was written last.
fn written(spool: &Path) -> std::time::SystemTime {
    let of = |number| fs::metadata(segment(spool, number))?.modified();
    let times = (0..2).filter_map(|number| of(number).ok());
    times.max().expect("there")
}

/// Waits until a message goes through the journal, which is new to the segments then.
fn goes_on(accepted: &Accepted, spool: &Path) {
    let before = written(spool);
    wait_until("it is used again", || {
        accepted.more(1);
        written(spool) > before
    });
}

/// Kills the writer of a daemon whose journal is in use, and waits for the next one; its number.
fn replace_writer(daemon: &Daemon, writer: Pid) -> Pid {
    kill_with(writer, Signal::SIGKILL);
    daemon.logged(&format!(
        "the writer of the journal (process {writer}) killed by SIGKILL: it is started again in "
    ));
    let mut next = writer;
    wait_until("there is another", || {
        let found = daemon.writer().and_then(|pid| pid.parse().ok());
        next = found.map_or(writer, Pid::from_raw);
        next != writer
    });
    next
}

#[test]
fn a_writer_that_is_killed_is_started_again_and_nothing_is_lost() {
    let accepted = Accepted::default();
    let (mut daemon, ()) = accepted.send_while_it_is_used(|daemon, mut writer| {
        // The pauses grow.
        for round in 0..if is_long() { 8 } else { 5 } {
            writer = replace_writer(daemon, writer);
            goes_on(&accepted, &daemon.spool());
            // In the middle of a segment, and of emptying one.
            accepted.more(40 * round);
        }
    });
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success());
    assert!(!is_left(&daemon.spool()), "nothing is left behind");
    accepted.are_all_in(&sent(&daemon.spool()));
    let quarantine = fs::read_dir(daemon.spool().join("quarantine")).expect("there");
    assert_eq!(quarantine.count(), 0);
}

#[test]
fn a_daemon_that_is_killed_right_after_a_restart_of_the_writer_has_lost_nothing() {
    let accepted = Accepted::default();
    for round in 0..3 {
        let (daemon, ()) = accepted.send_while_it_is_used(|daemon, writer| {
            let next = replace_writer(daemon, writer);
            match round {
                // While it empties what the one before has left, soon after, and when it has been used.
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
fn what_a_killed_writer_has_left_is_emptied_before_the_daemon_ends() {
    let accepted = Accepted::default();
    let (mut daemon, supervised) = accepted.send_while_it_is_used(|daemon, mut writer| {
        // The last one has a long pause before it, in which the daemon is asked to end.
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
    assert!(!is_left(&daemon.spool()), "nothing is left behind");
    accepted.are_all_in(&sent(&daemon.spool()));
}

#[test]
fn without_a_supervisor_each_syncs_by_itself() {
    let accepted = Accepted::default();
    let (daemon, ()) = accepted.send_while_it_is_used(|daemon, _| {
        let supervisor = daemon.supervisor().expect("it runs");
        kill_with(
            Pid::from_raw(supervisor.parse().expect("a number")),
            Signal::SIGKILL,
        );
        daemon.logged("error: the supervisor of the helper processes (process");
        accepted.more(200);
        assert_eq!((daemon.supervisor(), daemon.writer()), (None, None));
    });
    // What was in the journal is still there, for the next start.
    let dir = daemon.kill_family();
    assert!(is_left(&dir.path().join("spool")));
    let daemon = Daemon::in_dir(dir, "", &[]);
    assert!(daemon.writer().is_some());
    accepted.are_all_in(&sent(&daemon.spool()));
}

#[test]
fn while_its_writer_hangs_each_waits_once_and_then_syncs_by_itself() {
    let accepted = Accepted::default();
    let (daemon, ()) = accepted.send_while_it_is_used(|daemon, writer| {
        kill_with(writer, Signal::SIGSTOP);
        // Each has at most one message in it; then they go on without it.
        accepted.more(20 * SESSIONS);
        kill_with(writer, Signal::SIGCONT);
        goes_on(&accepted, &daemon.spool());
        let same = daemon.writer().expect("it runs");
        assert_eq!(
            same,
            writer.to_string(),
            "only one that has ended is replaced"
        );
    });
    let dir = daemon.kill_family();
    accepted.are_all_in(&sent(&dir.path().join("spool")));
}

#[test]
fn when_the_disk_fails_under_it_nothing_is_lost() {
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
fn a_journal_of_nonsense_costs_nothing() {
    let mut dir = Daemon::start().kill_family();
    let nonsense: [Vec<u8>; 4] = [Vec::new(), b"DlJ\x01".to_vec(), vec![0xff; 100_000], {
        // A valid header, and behind it the head of a batch that is longer than the file.
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
            wait_until("it is used", || is_left(&daemon.spool()));
        });
        let found = Session::of(&daemon, "bob").read_all();
        let found: Vec<_> = found.into_iter().map(|(_, body)| body).collect();
        accepted.are_all_in(&found);
        dir = daemon.kill_family();
    }
}
