use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tempfile::TempDir;

use super::getent::Getent;
use super::*;
use crate::sys::clock::Deadline;
use crate::sys::poll;

#[test]
fn finds_root_and_no_invalid_or_unknown_names() {
    let root = account("root").expect("looked up");
    let root = root.expect("every machine has it");
    assert!(root.is_root() && root.gid() == 0 && root.groups.contains(&Gid::from_raw(0)));
    assert_eq!(name(0).expect("looked up").as_deref(), Some("root"));
    for unknown in ["no-such-account", "", "-x", "0", "root:x", "+root"] {
        assert_eq!(account(unknown).expect("looked up"), None, "{unknown:?}");
        assert!(!exists(unknown).expect("looked up"));
    }
    assert_eq!(name(u32::MAX).expect("looked up"), None);
}

#[test]
fn a_missing_file_has_no_logins_and_an_unreadable_one_is_an_error() {
    let read = |path: &str| in_file(path, |file| files::login(file, Key::Uid(0)));
    assert_eq!(read("/nonexistent/passwd").expect("nothing"), None);
    let error = read("/").expect_err("a directory").to_string();
    assert!(error.starts_with("cannot read /: "), "{error}");
}

/// Creates a script that stands in for getent, in a temporary directory. It logs its arguments to the file `asked`.
pub(super) fn getent(does: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("getent");
    let text = format!("#!/bin/sh\necho \"$*\" >>\"${{0%/*}}/asked\"\n{does}\n");
    // Another process writes the script: a program that a concurrent test starts would inherit a descriptor that this
    // process has open for writing, and execve(2) would fail with ETXTBSY.
    let done = Command::new("sh")
        .args(["-c", "printf %s \"$1\" >\"$0\""])
        .arg(&path)
        .arg(text)
        .status();
    assert!(done.expect("sh").success());
    let runs = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, runs).expect("set");
    (dir, path)
}

const ONE: &str = "[ \"$3\" = 1000 ] || [ \"$3\" = al ] || exit 2; echo al:x:1000:8::/:";

#[test]
fn runs_getent_for_valid_keys_only() {
    let (dir, program) = getent(ONE);
    let ask = |argument: &str| getent::ask(&program, "passwd", argument);
    assert_eq!(ask("al").expect("an answer"), b"al:x:1000:8::/:\n");
    assert_eq!(ask("1000").expect("an answer"), b"al:x:1000:8::/:\n");
    assert_eq!(ask("bo").expect("an answer"), b"");
    let asked = std::fs::read_to_string(dir.path().join("asked")).expect("written");
    assert_eq!(asked, "passwd -- al\npasswd -- 1000\npasswd -- bo\n");
    // Names that getent would take for a number or an option are rejected.
    for name in [
        "", "7", "0123", "-7", "+7", " 7", "-s", "a:b", "a\nb", "a\0b", "#a",
    ] {
        assert_eq!(Key::Name(name).argument(), None, "{name:?}");
    }
    assert_eq!(Key::Name(&"x".repeat(257)).argument(), None);
    assert_eq!(Key::Uid(u32::MAX).argument(), None);
    for name in ["al", "7a", "dom\\al b", "al@dom", "host$", "ü"] {
        assert_eq!(Key::Name(name).argument().as_deref(), Some(name));
    }
    assert_eq!(Key::Uid(7).argument().as_deref(), Some("7"));
}

#[test]
fn checks_the_output_of_getent_and_isolates_it() {
    let fails = |does: &str| {
        let (_dir, program) = getent(does);
        let error = getent::ask(&program, "passwd", "al").expect_err(does);
        error.to_string()
    };
    assert!(fails("yes").contains("longer than 65536 bytes"));
    assert!(fails("printf al:x:1000:8").contains("in the middle of a line"));
    assert!(fails("exit 1").contains("exit status: 1"));
    assert!(fails("echo al:x:1:8::/:; kill -SEGV $$").contains("signal: 11"));
    let nowhere = getent::ask(Path::new("/nonexistent"), "passwd", "al");
    assert!(nowhere.is_err());
    // getent inherits neither standard input nor the environment.
    let (_dir, program) = getent("env >&2; read line && exit 1; echo \"$LC_ALL$HOME$CARGO\"");
    let said = getent::ask(&program, "passwd", "al").expect("an answer");
    assert_eq!(said, b"C\n");
}

/// A helper in a thread of this process, and the way to it.
pub(super) struct InThread {
    pub(super) requests: Requests,
    thread: std::thread::JoinHandle<io::Result<()>>,
}

impl InThread {
    /// Starts a helper for a machine with the sources `files ldap`.
    pub(super) fn start(program: PathBuf) -> Self {
        let remote = "ldap".into();
        let (helper, requests) = LoginHelper::pair(Getent { program, remote }).expect("a pair");
        let thread = std::thread::spawn(move || helper.serve());
        Self { requests, thread }
    }

    fn ask(&self, key: Key<'_>) -> io::Result<Vec<u8>> {
        self.requests.ask(key, Purpose::Client)
    }

    /// Sends an arbitrary request with these descriptors.
    fn send(&self, purpose: Purpose, request: &[u8], to: &[BorrowedFd<'_>]) {
        let to: Vec<_> = to.iter().map(|fd| fd.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&to)];
        let with = if to.is_empty() { &[][..] } else { &rights };
        let parts = [io::IoSlice::new(request)];
        let fd = self.requests.socket(purpose).as_raw_fd();
        sendmsg::<()>(fd, &parts, with, MsgFlags::empty(), None).expect("sent");
    }

    pub(super) fn end(self) {
        drop(self.requests);
        self.thread.join().expect("joined").expect("no error");
    }
}

#[test]
fn the_helper_answers_requests() {
    let (dir, program) = getent(ONE);
    let helper = InThread::start(program);
    let line = b"al:x:1000:8::/:\n";
    assert_eq!(helper.ask(Key::Uid(1000)).expect("an answer"), line);
    assert_eq!(helper.ask(Key::Name("al")).expect("an answer"), line);
    assert_eq!(helper.ask(Key::Uid(7)).expect("an answer"), b"");
    // Concurrent requests get their own answers.
    std::thread::scope(|scope| {
        for n in 0..16_u32 {
            let helper = &helper;
            scope.spawn(move || {
                let uid = 1000 * (n % 2);
                let answer = helper.ask(Key::Uid(uid)).expect("an answer");
                assert_eq!(answer.len(), if uid == 0 { 0 } else { line.len() });
            });
        }
    });
    let asked = || std::fs::read_to_string(dir.path().join("asked")).expect("written");
    assert_eq!(asked().lines().count(), 19);
    helper.end();
    // A helper that cannot run getent returns the error.
    let helper = InThread::start("/nonexistent".into());
    let error = helper.ask(Key::Uid(7)).expect_err("no getent");
    let begins = "cannot run /nonexistent: ";
    assert!(error.to_string().starts_with(begins), "{error}");
    helper.end();
}

#[test]
fn the_helper_ignores_invalid_requests() {
    let (dir, program) = getent(ONE);
    let helper = InThread::start(program);
    let send = |request: &[u8], to: &[_]| helper.send(Purpose::Client, request, to);
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let (to, twice) = ([theirs.as_fd()], [theirs.as_fd(), theirs.as_fd()]);
    let long = [b"name ".as_slice(), &[b'x'; 600]].concat();
    for request in [
        b"".as_slice(),
        b"uid",
        b"uid ",
        b"uid -1",
        b"uid x",
        b"uid 4294967295",
        b"uid 99999999999",
        b"name ",
        b"name -s",
        b"name 7",
        b"name a\nb",
        b"name \xff",
        b"group al",
        b"remote ",
        b"remote al -s",
        b"remote al  bob",
        b"\0\0\0",
        &long,
    ] {
        send(request, &to);
    }
    send(b"uid 1000", &twice);
    send(b"uid 1000", &[]);
    let many: Vec<_> = (0..20).map(|_| theirs.as_fd()).collect();
    send(b"uid 1000", &many);
    // No getent runs for a client that has closed its end.
    let (gone, to_gone) = UnixStream::pair().expect("a pair");
    drop(gone);
    send(b"uid 1000", &[to_gone.as_fd()]);
    // A descriptor that is not a socket does no harm.
    let nowhere = File::open("/dev/null").expect("opened");
    send(b"uid 1000", &[nowhere.as_fd()]);
    assert!(!helper.ask(Key::Uid(1000)).expect("an answer").is_empty());
    drop(theirs);
    assert_eq!(
        getent::answer(&ours, Deadline::after(LIMIT)).expect("its end"),
        b""
    );
    let asked = std::fs::read_to_string(dir.path().join("asked")).expect("written");
    assert!(asked.lines().count() <= 2, "{asked}");
    helper.end();
}

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_helper_runs_eight_getents_at_once_and_kills_those_that_hang() {
    let (dir, program) = getent("[ \"$3\" = 1000 ] || exec sleep 600; echo al:x:1000:8::/:");
    let helper = InThread::start(program);
    let begun = Instant::now();
    let hanging: Vec<UnixStream> = (0..12)
        .map(|n| {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            helper.send(
                Purpose::Client,
                format!("uid {n}").as_bytes(),
                &[theirs.as_fd()],
            );
            ours
        })
        .collect();
    let asked = || {
        let asked = std::fs::read_to_string(dir.path().join("asked"));
        asked.unwrap_or_default().lines().count()
    };
    while asked() < 8 {
        assert!(begun.elapsed() < LIMIT);
        std::thread::sleep(Duration::from_millis(5));
    }
    // A further request waits, and times out.
    let error = helper.ask(Key::Uid(1000)).expect_err("too late");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "getent does not answer in time");
    assert_eq!(asked(), 8);
    // The hanging processes are killed after ten seconds. The queued requests follow, except the one that timed out.
    for ours in hanging.iter().take(8) {
        // A lookup that was killed must not look like one that found nothing.
        let answer = getent::answer(ours, Deadline::after(LIMIT)).expect("its end");
        assert!(answer.starts_with(b"!"), "{answer:?}");
    }
    assert!(begun.elapsed() >= Duration::from_secs(9), "{begun:?}");
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    helper.send(Purpose::Client, b"uid 1000", &[theirs.as_fd()]);
    drop(theirs);
    let answer = getent::answer(&ours, Deadline::after(LIMIT)).expect("an answer");
    assert_eq!(answer, b"al:x:1000:8::/:\n=\n");
    assert_eq!(asked(), 8 + 4 + 1);
    // Processes that still run are killed when the thread of the helper ends.
    helper.end();
    for ours in hanging {
        assert!(poll::readable_by(ours.as_fd(), Deadline::after(LIMIT)).expect("waited"));
    }
}

#[test]
fn a_flood_of_names_does_not_delay_the_lookup_of_a_client() {
    let (dir, program) = getent("[ \"$3\" = 1000 ] || exec sleep 600; echo al:x:1000:8::/:");
    let helper = InThread::start(program);
    let begun = Instant::now();
    let asked = || {
        let asked = std::fs::read_to_string(dir.path().join("asked"));
        asked.unwrap_or_default().lines().count()
    };
    // More than there are places for names; the others wait in the socket.
    let hanging: Vec<UnixStream> = (0..20)
        .map(|n| {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            let request = format!("name n{n}");
            helper.send(Purpose::Name, request.as_bytes(), &[theirs.as_fd()]);
            ours
        })
        .collect();
    while asked() < 8 {
        assert!(begun.elapsed() < LIMIT);
        std::thread::sleep(Duration::from_millis(5));
    }
    let answer = helper.ask(Key::Uid(1000)).expect("an answer");
    assert_eq!(answer, b"al:x:1000:8::/:\n");
    assert_eq!(asked(), 8 + 1, "the places for names are taken");
    helper.end();
    drop(hanging);
}

#[test]
fn the_sources_that_can_be_away_are_asked_for_several_names_at_once() {
    let does = "[ \"$2\" = passwd:ldap ] && echo al:x:1000:8::/: && exit 2";
    let (dir, program) = getent(does);
    let helper = InThread::start(program);
    let keys = ["7", "al", "bob"].map(str::to_owned);
    let answer = helper.requests.ask_remote(&keys, Purpose::Name);
    assert_eq!(answer.expect("an answer"), b"al:x:1000:8::/:\n");
    let asked = std::fs::read_to_string(dir.path().join("asked")).expect("written");
    assert_eq!(asked, "-s passwd:ldap passwd -- 7 al bob\n");
    helper.end();
}

#[test]
fn a_request_to_an_ended_helper_fails() {
    let helper = InThread::start("/nonexistent".into());
    for purpose in [Purpose::Client, Purpose::Name] {
        let socket = helper.requests.socket(purpose).as_raw_fd();
        nix::sys::socket::shutdown(socket, nix::sys::socket::Shutdown::Write).expect("done");
    }
    helper.thread.join().expect("joined").expect("no error");
    let error = helper.requests.ask(Key::Uid(7), Purpose::Name);
    let error = error.expect_err("no helper");
    assert_eq!(error.to_string(), "the helper for logins has ended");
}
