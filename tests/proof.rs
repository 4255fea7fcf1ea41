//! Tests of the store under real failures: killed processes, power cuts, failing and full disks.
//!
//! The tests are short by default. `DROPLINE_TEST_LONG=1`, as set by `scripts/test --long`, extends them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::ledger::{Ledger, Verdict};
use crate::support::mount::Mount;
use crate::support::session::{Session, number};
use crate::support::{Daemon, is_long, program, report, skip, trace, wait_until};

/// The ledger is compared with the history, so no message may expire from it.
const KEEP_ALL: &str = "history_bytes = 1000000000000";

/// Waits until `more` further messages are accepted, so that there are messages to lose.
fn accepted(ledger: &Ledger, more: usize) {
    let enough = ledger.count() + more;
    wait_until("messages are accepted", || ledger.count() >= enough);
}

/// Returns a random number less than `below`.
fn chance(below: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) % below
}

/// Kills the journal writer in every other round, and waits for its successor in every fourth. The random moment that
/// the caller chooses is then before the restart, or while the successor empties the journal, or after that.
fn kill_writer(daemon: &Daemon, round: usize) {
    let Some(writer) = daemon.writer().filter(|_| round % 2 == 1) else {
        return;
    };
    let pid = nix::unistd::Pid::from_raw(writer.parse().expect("a number"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
    if round % 4 == 3 {
        let next = || daemon.writer().is_some_and(|next| next != writer);
        wait_until("a new writer runs", next);
    }
}

#[test]
fn kill_9_of_all_processes_at_any_moment_loses_nothing() {
    let rounds = if is_long() { 300 } else { 15 };
    let ledger = Ledger::default();
    let daemon = ledger.run(|| {
        let mut daemon = Daemon::with(KEEP_ALL, &[]);
        for round in 0..rounds {
            ledger.port.store(daemon.port, Ordering::SeqCst);
            accepted(&ledger, 20);
            kill_writer(&daemon, round);
            // Kill at a random moment, not right after an answer.
            std::thread::sleep(Duration::from_micros(chance(20_000)));
            ledger.port.store(0, Ordering::SeqCst);
            daemon = Daemon::in_dir(daemon.kill_family(), KEEP_ALL, &[]);
        }
        daemon
    });
    let verdict = ledger.compare(&daemon.spool());
    report(&format!(
        "kills of all processes: {rounds}, accepted: {}, lost: {}",
        verdict.accepted,
        verdict.missing.len()
    ));
    verdict.must_be_clean();
    let check = program("droplinectl")
        .arg("--spool")
        .arg(daemon.spool())
        .arg("check")
        .output()
        .expect("run");
    // A torn last record is not damage: it is repaired before the next append.
    let found = String::from_utf8_lossy(&check.stdout);
    assert!(
        found.lines().all(|line| line.contains("was cut off")),
        "{found}"
    );
}

impl Mount {
    /// Simulates a power cut: nothing more reaches the disk, not even the journal of the file system.
    #[expect(unsafe_code, reason = "no crate wraps this ioctl")]
    fn cut_power(&self) {
        // EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH of the kernel's fs/ext4/ext4.h.
        nix::ioctl_read!(ext4_shutdown, b'X', 125, u32);
        use std::os::fd::AsRawFd;
        let dir = fs::File::open(self.path()).expect("open");
        let mut flags: u32 = 2;
        // SAFETY: the ioctl reads one u32, which outlives the call.
        unsafe { ext4_shutdown(dir.as_raw_fd(), &raw mut flags) }.expect("shut down");
    }

    fn daemon(&self, flags: &[(&str, &Path)]) -> Daemon {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = self.path().join("spool");
        Daemon::with_spool(
            dir,
            &spool,
            &format!("{KEEP_ALL}\nmin_free_bytes = 0\nmin_free_inodes = 0"),
            flags,
        )
    }
}

/// Returns how many messages the daemon found at its start in the journal and not in their mailboxes.
fn recovered(daemon: &Daemon) -> usize {
    let log = daemon.log();
    let before = |line: &str| {
        let (before, _) = line.split_once(" were missing from their mailboxes")?;
        before.rsplit(' ').next()?.parse::<usize>().ok()
    };
    log.lines().filter_map(before).sum()
}

/// Cuts the power under load, `rounds` times on one file system. Returns the verdict, and how many messages were only
/// in the journal.
fn power_cuts(mount: &Mount, rounds: usize, env: &[(&str, &Path)]) -> (Verdict, usize) {
    let ledger = Ledger::default();
    let mut from_journal = 0;
    ledger.run(|| {
        for round in 0..rounds {
            let daemon = mount.daemon(env);
            from_journal += recovered(&daemon);
            ledger.dark.store(false, Ordering::SeqCst);
            ledger.port.store(daemon.port, Ordering::SeqCst);
            accepted(&ledger, 50);
            kill_writer(&daemon, round);
            std::thread::sleep(Duration::from_micros(chance(50_000)));
            ledger.dark.store(true, Ordering::SeqCst);
            mount.cut_power();
            ledger.port.store(0, Ordering::SeqCst);
            drop(daemon.kill_family());
            wait_until("the file system is unmounted", || mount.unmount());
            assert!(
                mount.mount(&["-o", "loop"], &mount.image()),
                "mounted again"
            );
        }
    });
    // The daemon must start and serve on the remounted file system.
    let daemon = mount.daemon(&[]);
    daemon.store("after", "al", "all is well");
    from_journal += recovered(&daemon);
    (ledger.compare(&mount.path().join("spool")), from_journal)
}

#[test]
fn a_power_cut_loses_no_accepted_message() {
    let rounds = if is_long() { 60 } else { 4 };
    for (test, mount) in [
        ("power cuts on ext4", Mount::ext4 as fn(&str) -> _),
        (
            "power cuts on ext4 without a journal",
            Mount::ext4_without_journal,
        ),
    ] {
        let Some(mount) = mount(test) else {
            continue;
        };
        let (verdict, from_journal) = power_cuts(&mount, rounds, &[]);
        report(&format!(
            "{test}: {rounds}, accepted: {}, lost: {}, only in the journal: {from_journal}",
            verdict.accepted,
            verdict.missing.len()
        ));
        verdict.must_be_clean();
        assert!(from_journal > 0, "the journal was not used");
    }
}

/// Negative control: if syncs do nothing, the same test must find losses.
#[test]
fn without_syncing_a_power_cut_loses_messages() {
    let test = "power cuts without syncing (the negative control)";
    let library = [
        "/usr/lib/x86_64-linux-gnu/libeatmydata.so",
        "/usr/lib/aarch64-linux-gnu/libeatmydata.so",
    ];
    let Some(library) = library.iter().map(Path::new).find(|path| path.exists()) else {
        return skip(test, "eatmydata is not installed");
    };
    let Some(mount) = Mount::ext4(test) else {
        return;
    };
    let (verdict, _) = power_cuts(&mount, 1, &[("LD_PRELOAD", library)]);
    report(&format!(
        "power cuts without syncing (must lose): 1, accepted: {}, lost: {}",
        verdict.accepted,
        verdict.missing.len()
    ));
    assert!(
        !verdict.missing.is_empty(),
        "the power cut had no effect: none of {} accepted messages is lost",
        verdict.accepted
    );
}

#[test]
fn a_full_file_system_refuses_messages_and_loses_none() {
    let Some(mount) = Mount::tmpfs("a full file system", "size=3m,mode=0700") else {
        return;
    };
    let daemon = mount.daemon(&[]);
    let full = "Message declined. The server's disk is full, try again later\n";
    for round in 0..3 {
        let mut accepted = Vec::new();
        let reply = loop {
            let body = format!("{round} {} {}", accepted.len(), "x".repeat(5_000));
            let reply = daemon.ask(format!("store;m{};al;{body}\n", accepted.len() % 3));
            if reply != "Message accepted and stored:\n" {
                break reply;
            }
            accepted.push(body);
        };
        assert_eq!(reply, full);
        assert!(accepted.len() > 100, "{} in round {round}", accepted.len());
        let mut found = Vec::new();
        for mailbox in 0..3 {
            let lines = daemon.fetch(&format!("m{mailbox}"));
            found.push(
                lines
                    .into_iter()
                    .map(|line| line.split_once(";al;").map(|(_, b)| b.to_owned())),
            );
        }
        for (n, body) in accepted.into_iter().enumerate() {
            assert_eq!(
                found[n % 3].next().flatten().as_ref(),
                Some(&body),
                "a message is lost, out of order or truncated"
            );
        }
    }
}

#[test]
fn a_file_system_out_of_inodes_refuses_new_mailboxes_only() {
    let Some(mount) = Mount::tmpfs("out of inodes", "nr_inodes=4700,mode=0700") else {
        return;
    };
    let daemon = mount.daemon(&[]);
    let mut made = 0;
    let reply = loop {
        let reply = daemon.ask(format!("store;m{made};al;hi\n"));
        if reply != "Message accepted and stored:\n" {
            break reply;
        }
        made += 1;
    };
    assert_eq!(
        reply,
        "Message declined. The server's disk is full, try again later\n"
    );
    assert!(made > 10, "{made}");
    daemon.store("m0", "al", "there is one already");
    assert_eq!(daemon.fetch("m0").len(), 2);
}

#[test]
fn without_hole_punching_the_mailbox_is_copied() {
    let test = "a file system without holes";
    let Some(mount) = Mount::nothing(test) else {
        return;
    };
    if !mount.mount(&["-t", "ramfs", "-o", "mode=0700"], Path::new("none")) {
        return skip(test, "cannot mount a ramfs");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::with_spool(
        dir,
        &mount.path().join("spool"),
        "history_bytes = 100000",
        &[],
    );
    let body = "x".repeat(30_000);
    for round in 0..10 {
        for n in 0..10 {
            daemon.store("bob", "al", &format!("{round} {n} {body}"));
        }
        let lines = daemon.fetch("bob");
        let whole = |(n, line): (usize, &String)| *line == format!("bob;al;{round} {n} {body}");
        assert!(
            lines.len() == 10 && lines.iter().enumerate().all(whole),
            "round {round}"
        );
    }
    wait_until("all messages are acknowledged", || {
        daemon.log().matches("10 messages delivered").count() == 10
    });
    let mailbox = mount.path().join("spool/mail/f5/bob");
    let len = fs::metadata(mailbox).expect("there").len();
    assert!(len < 1_000_000, "{len} bytes after 3 MB were read");
    daemon.store("bob", "al", "next");
    daemon.logged("store bob/101 from");
}

#[test]
fn a_watcher_follows_a_mailbox_that_is_replaced() {
    let test = "a_watcher_follows_a_mailbox_that_is_replaced";
    let Some(mount) = Mount::nothing(test) else {
        return;
    };
    if !mount.mount(&["-t", "ramfs", "-o", "mode=0700"], Path::new("none")) {
        return skip(test, "cannot mount a ramfs");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let spool = mount.path().join("spool");
    let daemon = Daemon::with_spool(dir, &spool, "history_bytes = 0", &[]);
    let inode = || {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(spool.join("mail/f5/bob"))
            .expect("there")
            .ino()
    };
    daemon.store("bob", "al", "message 0");
    let before = inode();
    let mut bob = Session::of(&daemon, "bob");
    bob.send("WATCH\n");
    let body = "x".repeat(20_000);
    for n in 0..30 {
        let (line, got) = bob.message();
        assert!(got.starts_with(format!("message {n}").as_bytes()), "{line}");
        // Some messages still wait while others are acknowledged and the mailbox is copied.
        if n % 3 == 2 {
            assert_eq!(bob.ask(&format!("ACK {}", number(&line, "seq"))), "OK");
        }
        daemon.store("bob", "al", &format!("message {} {body}", n + 1));
    }
    assert_ne!(inode(), before, "the mailbox was not copied");
    let (line, _) = bob.message();
    assert_eq!(number(&line, "seq"), 31);
    assert_eq!(bob.ask("ACK 31"), "OK");
    assert_eq!(bob.ask("QUIT"), "OK");
    drop(bob);
    wait_until("nothing waits", || daemon.fetch("bob").is_empty());
}

/// Runs `droplinectl` on a spool.
fn ctl(spool: &Path, args: &[&str]) -> Output {
    let mut command = program("droplinectl");
    command.arg("--spool").arg(spool).args(args);
    command.output().expect("run")
}

/// A strace(1) of a daemon and its children that makes one system call of each process fail.
struct Saboteur {
    strace: Child,
}

impl Saboteur {
    fn attach(daemon: &Daemon, inject: &str) -> Option<Self> {
        let call = inject.split(':').next()?;
        let (calls, inject) = (format!("trace={call}"), format!("inject={inject}"));
        let options = ["-e", &calls, "-e", &inject];
        let strace = trace::attach(daemon, &options, Path::new("/dev/null"))?;
        Some(Self { strace })
    }
}

impl Drop for Saboteur {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

#[test]
fn failing_system_calls_lose_no_accepted_message() {
    let test = "failing system calls";
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test, "strace is not installed");
    }
    let most = if is_long() { 6 } else { 2 };
    let mut tried = 0;
    let mut accepted_in_all = 0;
    let calls = [
        "pwrite64",
        "fdatasync",
        "openat",
        "fsync",
        "flock",
        "pread64",
        "fstat",
        "ftruncate",
    ];
    let few = if is_long() { calls.len() } else { 4 };
    for call in &calls[..few] {
        for fault in ["error=EIO", "error=ENOSPC", "error=EINTR", "signal=KILL"] {
            for when in 1..=most {
                let inject = format!("{call}:{fault}:when={when}");
                let Some(accepted) = sabotaged(&inject) else {
                    return skip(test, "strace may not attach here");
                };
                accepted_in_all += accepted;
                tried += 1;
            }
        }
    }
    assert!(
        accepted_in_all < tried * 7,
        "no message was refused: no fault was injected"
    );
    report(&format!(
        "injected faults: {tried}, accepted: {accepted_in_all}, lost: 0"
    ));
}

/// Stores and fetches while a system call of each child fails as given by `inject`. Panics if an accepted message is
/// missing afterwards. Returns the number of accepted messages, or `None` if strace may not attach.
fn sabotaged(inject: &str) -> Option<usize> {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "before");
    let mut accepted = vec!["before".to_owned()];
    {
        let _saboteur = Saboteur::attach(&daemon, inject)?;
        for n in 0..3 {
            for mailbox in ["bob", "eve"] {
                let reply = daemon.try_ask(&format!("store;{mailbox};al;{mailbox} {n}\n"));
                if reply == "Message accepted and stored:\n" {
                    accepted.push(format!("{mailbox} {n}"));
                }
            }
            let _ = daemon.try_ask("fetch;eve\n");
        }
    }
    let dir = daemon.kill_family();
    let spool = dir.path().join("spool");
    let ctl = |args: &[&str]| ctl(&spool, args);
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let exported = text(&ctl(&["export"]));
    for message in &accepted {
        let times = exported.matches(&format!("\"body\":\"{message}\"")).count();
        assert_eq!(times, 1, "{inject}: {message}\n{exported}");
    }
    // After a disk error, the mailbox is read-only until an operator repairs it.
    ctl(&["check", "--repair"]);
    let check = ctl(&["check"]);
    assert!(check.status.success(), "{inject}: {}", text(&check));
    assert_eq!(
        text(&ctl(&["export"])),
        exported,
        "{inject}: repair has changed the messages"
    );
    let daemon = Daemon::in_dir(dir, "", &[]);
    daemon.store("bob", "al", "after");
    daemon.store("eve", "al", "after");
    assert!(
        daemon.fetch("bob").contains(&"bob;al;before".to_owned()),
        "{inject}"
    );
    Some(accepted.len())
}

#[test]
fn a_failed_sync_makes_the_mailbox_read_only() {
    let test = "a failed sync";
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test, "strace is not installed");
    }
    let daemon = Daemon::start();
    daemon.store("bob", "al", "one");
    let later = "Message declined. The server cannot write to this mailbox now, try again later\n";
    {
        let Some(_saboteur) = Saboteur::attach(&daemon, "fdatasync:error=EIO:when=1") else {
            return skip(test, "strace may not attach here");
        };
        assert_eq!(daemon.ask("store;bob;al;two\n"), later);
    }
    assert_eq!(
        daemon.ask("store;bob;al;three\n"),
        later,
        "also when later syncs succeed"
    );
    daemon.store("eve", "al", "others are not concerned");
    daemon.logged("the mailbox is read-only from now on");
    let dir = daemon.kill();
    let spool = dir.path().join("spool");
    let ctl = |args: &[&str]| ctl(&spool, args);
    let check = ctl(&["check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&check.stdout).contains("bob: byte 0: read-only"));
    let daemon = Daemon::in_dir(dir, "", &[]);
    assert_eq!(
        daemon.ask("store;bob;al;four\n"),
        later,
        "also after a restart"
    );
    let dir = daemon.kill();
    assert_eq!(ctl(&["check", "--repair"]).status.code(), Some(0));
    let daemon = Daemon::in_dir(dir, "", &[]);
    daemon.store("bob", "al", "five");
    assert_eq!(
        daemon.fetch("bob").last().map(String::as_str),
        Some("bob;al;five")
    );
}
