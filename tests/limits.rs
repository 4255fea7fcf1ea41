//! Tests of the resource limits of children, and of service when a resource is exhausted.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::others::public_dir;
use crate::support::session::Session;
use crate::support::{Daemon, configure, listen, program, skip, wait_until};

#[test]
fn children_have_resource_limits() {
    let dir = tempfile::tempdir().expect("a directory");
    // The daemon starts with core files enabled.
    let starter = ["prlimit", "--core=1048576:1048576"];
    let daemon = Daemon::started_by(&starter, dir, "child_memory = 134217728\n");
    let _held = daemon.say(b"\x00");
    wait_until("there is a child", || !daemon.children().is_empty());
    let child = &daemon.children()[0];
    let limit = |pid: &str, what: &str| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("readable");
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix(what))
            .expect("a line");
        line.split_whitespace().next().expect("a number").to_owned()
    };
    wait_until("the limits are set", || {
        limit(child, "Max address space") == "134217728"
    });
    assert_eq!(limit(child, "Max core file size"), "0");
    assert_eq!(limit(child, "Max processes"), "0");
    assert_eq!(limit(child, "Max open files"), "352");
    assert_ne!(limit(&daemon.pid().to_string(), "Max processes"), "0");
}

#[test]
fn a_session_writes_to_any_number_of_mailboxes_with_few_descriptors() {
    // The minimum in the manual, and a limit above that of a child.
    for limit in ["64", "1024"] {
        let dir = tempfile::tempdir().expect("a directory");
        let starter = ["prlimit", &format!("--nofile={limit}:{limit}")];
        let daemon = Daemon::started_by(&starter, dir, "");
        let mut session = Session::of(&daemon, "al");
        for round in 1..=2 {
            for to in 0..200 {
                let answer = session.store(&format!("bob{to}"), "", b"one by one");
                let expected = format!(" to=bob{to} seq={round}");
                assert!(answer.ends_with(&expected), "{limit}: {answer}");
            }
        }
        let batch: String = (0..200).map(|to| format!("SEND bob{to} 2\nhi\n")).collect();
        session.send(batch);
        for to in 0..200 {
            let answer = session.line();
            let expected = format!(" to=bob{to} seq=3");
            assert!(answer.ends_with(&expected), "{limit}: {answer}");
        }
    }
}

#[test]
fn timeouts_are_shorter_with_many_children() {
    let daemon = Daemon::with(
        "max_children = 4\nearly_drop = 4\nrequest_timeout = 9\n",
        &[],
    );
    let begun = Instant::now();
    let mut early = Session::of(&daemon, "al");
    early.send("SEND bob 100\n");
    // It has more than a third of the time while it is alone.
    std::thread::sleep(Duration::from_millis(4_200));
    assert_eq!(daemon.children().len(), 1);
    // With half of max_children, only a third is left, also for a client that waits already.
    let late = daemon.say(b"\0");
    assert_eq!(early.line(), "ERR timeout nothing came for too long");
    let took = begun.elapsed();
    assert!(
        took < Duration::from_millis(8_500),
        "{took:?}: the timeout was not shortened"
    );
    drop(late);
}

#[test]
fn a_missing_kernel_feature_of_the_sandbox_is_logged_or_fatal() {
    let test = "a_missing_kernel_feature_of_the_sandbox_is_logged_or_fatal";
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test, "strace is not installed");
    }
    let lacks = |dir: &Path| {
        let trace = dir.join("trace").display().to_string();
        let call = "landlock_create_ruleset";
        let inject = format!("inject={call}:error=ENOSYS");
        let trace_it = format!("trace={call}");
        let words = [
            "strace", "-DD", "-qq", "-o", &trace, "-e", &trace_it, "-e", &inject,
        ];
        words.map(str::to_owned)
    };
    let dir = tempfile::tempdir().expect("a directory");
    let starter = lacks(dir.path());
    let starter: Vec<&str> = starter.iter().map(String::as_str).collect();
    let daemon = Daemon::started_by(&starter, dir, "");
    daemon.logged("the sandbox is without landlock: ");
    daemon.store("bob", "al", "still served");
    let dir = tempfile::tempdir().expect("a directory");
    let [strace, rest @ ..] = lacks(dir.path());
    let output = Command::new(strace)
        .args(rest)
        .arg(program("droplined").get_program())
        .args(["-p", "0", "--config"])
        .arg(configure(dir.path(), "sandbox = \"require\"\n"))
        .arg("--spool")
        .arg(dir.path().join("spool"))
        .arg("--run-dir")
        .arg(dir.path().join("run"))
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(69));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("landlock: ") && said.contains("sandbox = \"require\""),
        "{said}"
    );
}

#[test]
fn clients_are_refused_while_no_process_can_be_forked() {
    let test = "clients_are_refused_while_no_process_can_be_forked";
    if !nix::unistd::geteuid().is_root() {
        return skip(
            test,
            "the limit does not apply to root, and only root can change the user",
        );
    }
    let dir = public_dir();
    // The limit counts all processes of a login. irc runs the master, the supervisor with its helpers, and two
    // children.
    let other = Daemon::start();
    wait_until("there is a reserve", || other.reserve().is_some());
    let supervisor = other.supervisor().expect("one");
    let helpers = || crate::support::children(supervisor.parse().expect("a number")).len();
    let most = 4 + helpers();
    drop(other);
    let starter = ["prlimit", &format!("--nproc={most}:{most}")];
    let daemon = Daemon::started_by(&starter, dir, "user = \"irc\"\n");
    let held: Vec<_> = (0..2).map(|_| Session::of(&daemon, "al")).collect();
    let refusal = "Message declined. The server is out of processes, try again later\n";
    assert_eq!(listen(daemon.say(b"fetch;bob\n")), refusal);
    daemon.logged("cannot fork a child for ");
    // The master pauses for 100 ms after each failed fork.
    let begun = Instant::now();
    for _ in 0..5 {
        assert_eq!(listen(daemon.say(b"fetch;bob\n")), refusal);
    }
    assert!(begun.elapsed() > Duration::from_millis(350));
    assert_eq!(daemon.log().matches("cannot fork a child for ").count(), 1);
    drop(held);
    wait_until("the fork succeeds again", || {
        daemon.ask("store;bob;al;hi\n") == "Message accepted and stored:\n"
    });
    // Wait for the exit of all processes: orphans would count towards the limit of the login.
    let mut daemon = daemon;
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.ended().success());
}
