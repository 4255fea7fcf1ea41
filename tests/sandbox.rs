//! Tests that the sandbox lets the daemon do all that it does. What it forbids is tested in `sys::sandbox::tests`.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::frames::{Frames, register};
use crate::support::session::Session;
use crate::support::{Daemon, operator_on, skip, trace, wait_until};

/// Traces of the failed system calls of all processes of a daemon.
struct Traces(Vec<(Child, PathBuf)>);

impl Traces {
    /// Traces these processes, and those that they fork from now on. `None` if strace is not installed or not permitted
    /// to attach.
    fn of(daemon: &Daemon, pids: &[String]) -> Option<Self> {
        let traces = pids.iter().map(|pid| {
            let file = daemon.path().join(format!("trace{pid}"));
            let options = ["-e", "status=failed,unavailable"];
            let number = pid.parse().expect("a number");
            Some((trace::attach_to(number, &options, &file)?, file))
        });
        traces.collect::<Option<_>>().map(Self)
    }

    /// Stops the traces. Returns the calls that the sandbox has refused.
    fn end(self) -> Vec<String> {
        let mut refused = Vec::new();
        for (mut strace, file) in self.0 {
            let pid = Pid::from_raw(i32::try_from(strace.id()).expect("a pid"));
            // It has ended if the process has ended.
            let _ = kill(pid, Signal::SIGINT);
            strace.wait().expect("ended");
            let text = fs::read_to_string(&file).expect("a trace");
            let lines = text.lines().map(str::to_owned);
            refused.extend(lines.filter(|line| line.contains("EPERM") || line.contains("ENOSYS")));
        }
        refused
    }
}

/// Returns the pids of all processes of a daemon that serve no client.
fn processes(daemon: &Daemon) -> Vec<String> {
    let helpers = || [daemon.supervisor(), daemon.reserve(), daemon.writer()];
    wait_until("the helpers run", || helpers().iter().all(Option::is_some));
    let mut all = vec![daemon.pid().to_string()];
    all.extend(helpers().into_iter().flatten());
    all.extend(daemon.login_helper());
    all
}

/// Talks to a daemon in all dialects, with all requests.
fn talk(daemon: &Daemon) {
    for n in 0..40 {
        daemon.store("bob", "al", &format!("{n}{}", "x".repeat(20_000)));
    }
    assert!(daemon.fetch("bob").len() >= 40);
    assert!(daemon.ask("nonsense\n").contains("Bad verb"));
    register(daemon, "carol", "127.0.0.1 9000");
    Frames::say(daemon, &["!who"]).frame();
    let mut send = Frames::say(daemon, &["!send", "bob"]);
    send.send(b"a message");
    drop(send);
    Frames::say(daemon, &["!send", "bob"]).kill();
    let mut al = Session::of(daemon, "al");
    let mut bob = Session::of(daemon, "bob");
    for request in [
        "ONLINE port=8283",
        "RENEW",
        "LOOKUP al",
        "TICKET to=al",
        "WHO",
        "STATUS to=bob seq=1",
        "OFFLINE",
        "DEREGISTER",
        "FETCH",
        "RELEASE",
        "HISTORY",
    ] {
        al.ask(request);
    }
    bob.send("WATCH\n");
    let mut others: Vec<_> = (0..8)
        .map(|n| Session::of(daemon, &format!("u{n}")))
        .collect();
    // Together they use the journal.
    for _ in 0..20 {
        for other in &mut others {
            other.send("SEND bob 5\nhello\n");
        }
        for other in &mut others {
            let answer = other.line();
            assert!(answer.starts_with("OK "), "{answer}");
        }
    }
    let (line, _) = bob.message();
    assert!(line.starts_with("MSG "), "{line}");
    drop(bob);
    drop(daemon.say(b"store;bob"));
    let expired = operator_on(daemon, &["expire"]);
    assert!(expired.status.success(), "{expired:?}");
}

#[test]
fn a_conversation_makes_no_system_call_that_the_sandbox_forbids() {
    let test = "a_conversation_makes_no_system_call_that_the_sandbox_forbids";
    let mut daemon = Daemon::start();
    let Some(traces) = Traces::of(&daemon, &processes(&daemon)) else {
        return skip(test, "strace is not installed or may not attach");
    };
    talk(&daemon);
    if nix::unistd::geteuid().is_root() {
        let socket = daemon.path().join("run/dropline.sock");
        let said = crate::logins::ask_at(&socket, "root", "fetch;root\n");
        assert!(said.starts_with("Retrieving "), "{said}");
    }
    daemon.signal(Signal::SIGHUP);
    daemon.logged("the configuration was read again");
    daemon.signal(Signal::SIGUSR1);
    daemon.logged("children ");
    // The helpers are started again, and a child is killed.
    let writer = daemon.writer().expect("one");
    let writer_pid = Pid::from_raw(writer.parse().expect("a number"));
    kill(writer_pid, Signal::SIGKILL).expect("signalled");
    wait_until("another writer runs", || {
        daemon.writer().is_some_and(|pid| pid != writer)
    });
    talk(&daemon);
    let held = Session::of(&daemon, "held");
    daemon.signal(Signal::SIGTERM);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success());
    drop(held);
    let refused = traces.end();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn each_process_has_a_filter_of_system_calls() {
    let daemon = Daemon::start();
    let held = Session::of(&daemon, "held");
    let all = [processes(&daemon), daemon.children()].concat();
    for pid in all {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("there");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.map(|line| line.replace('\t', " "))
        };
        assert_eq!(field("Seccomp:").as_deref(), Some("Seccomp: 2"), "{pid}");
        assert_eq!(field("NoNewPrivs:").as_deref(), Some("NoNewPrivs: 1"));
    }
    drop(held);
}

#[test]
fn a_failure_of_the_filter_is_fatal_if_the_sandbox_is_required() {
    let test = "a_failure_of_the_filter_is_fatal_if_the_sandbox_is_required";
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test, "strace is not installed");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let trace = dir.path().join("trace");
    let config = crate::support::configure(dir.path(), "sandbox = \"require\"\n");
    let output = Command::new("strace")
        .args([
            "-qq",
            "-e",
            "trace=seccomp",
            "-e",
            "inject=seccomp:error=ENOSYS",
            "-o",
        ])
        .arg(&trace)
        .arg(crate::support::program("droplined").get_program())
        .args(["-p", "0", "--config"])
        .arg(config)
        .arg("--spool")
        .arg(dir.path().join("spool"))
        .arg("--run-dir")
        .arg(dir.path().join("run"))
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("seccomp: "), "{said}");
}
