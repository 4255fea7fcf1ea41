//! Tests of the start, the exit and the configuration of the daemon.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::session::Session;
use crate::support::{
    Daemon, PATIENCE, configure, counter, files_below, listen, messages, program, wait_until,
};

#[test]
fn sigint_and_sigterm_end_the_daemon_cleanly() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut daemon = Daemon::start();
        let pid_file = daemon.path().join("run/droplined.pid");
        let pid = fs::read_to_string(&pid_file).expect("a pid file");
        assert_eq!(pid.trim(), daemon.pid().to_string());
        daemon.store("bob", "al", "hi");
        daemon.signal(signal);
        assert_eq!(daemon.ended().code(), Some(0));
        assert!(!pid_file.exists());
        assert!(TcpStream::connect(("127.0.0.1", daemon.port)).is_err());
        assert!(daemon.log().ends_with("ended\n"), "{}", daemon.log());
    }
}

/// Starts a daemon with a long mailbox for bob, and a client that has read only the start of it.
fn reader_in_the_middle() -> (Daemon, TcpStream) {
    let daemon = Daemon::with("drain_timeout = 30", &[]);
    let body = "x".repeat(60_000);
    for _ in 0..200 {
        daemon.store("bob", "al", &body);
    }
    let mut reader = daemon.say(b"fetch;bob\n");
    reader.read_exact(&mut [0; 23]).expect("the first line");
    (daemon, reader)
}

#[test]
fn signals_during_the_start_are_handled_after_it() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path();
    let mut daemon = program("droplined")
        .args([
            "-p",
            "0",
            "--bind",
            "127.0.0.1",
            "--ready-fd",
            "1",
            "--config",
        ])
        .arg(configure(dir, ""))
        .arg("--spool")
        .arg(dir.join("spool"))
        .arg("--run-dir")
        .arg(dir.join("run"))
        .stdout(Stdio::piped())
        .stderr(fs::File::create(dir.join("log")).expect("made"))
        .spawn()
        .expect("started");
    // The pid file is written early. Making the spool takes far longer than sending the signals.
    let pid_file = dir.join("run/droplined.pid");
    wait_until("the pid file is written", || {
        fs::read_to_string(&pid_file).is_ok_and(|pid| !pid.is_empty())
    });
    let pid = Pid::from_raw(i32::try_from(daemon.id()).expect("a pid"));
    for signal in [Signal::SIGHUP, Signal::SIGUSR1] {
        kill(pid, signal).expect("signalled");
    }
    let mut port = String::new();
    let stdout = daemon.stdout.take().expect("a pipe");
    BufReader::new(stdout)
        .read_line(&mut port)
        .expect("readable");
    assert!(
        port.trim().parse::<u16>().is_ok(),
        "the daemon has exited: {:?}",
        daemon.try_wait()
    );
    let log = || fs::read_to_string(dir.join("log")).expect("a log");
    wait_until("both signals are handled", || {
        log().contains("the configuration was read again") && log().contains("connections 0")
    });
    kill(pid, Signal::SIGTERM).expect("signalled");
    assert!(daemon.wait().expect("ended").success());
}

#[test]
fn a_running_request_is_finished_before_the_exit() {
    let (mut daemon, reader) = reader_in_the_middle();
    daemon.signal(Signal::SIGTERM);
    wait_until("the daemon drains", || {
        daemon.log().contains("waiting for 1 requests")
    });
    assert!(
        TcpStream::connect(("127.0.0.1", daemon.port)).is_err(),
        "the daemon must not listen any more"
    );
    let reply = format!("Retrieving messages...\n{}", listen(reader));
    assert_eq!(messages(&reply).len(), 200);
    assert_eq!(daemon.ended().code(), Some(0));
    daemon.logged("200 messages delivered");
}

#[test]
fn requests_that_have_begun_to_arrive_are_finished_before_the_exit() {
    let mut daemon = Daemon::with("drain_timeout = 60\n", &[]);
    let body = "x".repeat(4_000);
    let mut session = Session::of(&daemon, "al");
    session.send(format!("SEND cy {}\n{}", body.len(), &body[..2_000]));
    let mut framed = daemon.say(b"\x00\x06\x00\x00!send\0\x00\x08");
    let mut line = daemon.say(format!("store;bob;cy;{body}").as_bytes());
    // A pause of a second would end the request.
    let slow = std::thread::spawn(move || {
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(100));
            line.write_all(b"more").expect("sent");
        }
        line.write_all(b"\n").expect("sent");
        listen(line)
    });
    wait_until("all have begun", || daemon.children().len() == 3);
    daemon.signal(Signal::SIGTERM);
    wait_until("the daemon drains", || {
        daemon.log().contains("waiting for 3 requests")
    });
    framed.write_all(b"\x00\x00no-such\0").expect("sent");
    assert_eq!(listen(framed), "\0\x04\0\x00403\0");
    session.send(format!("{}\n", &body[2_000..]));
    assert!(session.line().ends_with(" to=cy seq=1"));
    assert_eq!(
        session.line(),
        "ERR shutdown the server ends; try again later"
    );
    assert_eq!(
        slow.join().expect("answered"),
        "Message accepted and stored:\n"
    );
    assert_eq!(daemon.ended().code(), Some(0));
    let daemon = Daemon::in_dir(daemon.kill(), "", &[]);
    let more = "more".repeat(20);
    assert_eq!(daemon.fetch("bob"), [format!("bob;cy;{body}{more}")]);
    assert_eq!(daemon.fetch("cy"), [format!("cy;al;{body}")]);
}

#[test]
fn a_second_signal_ends_the_daemon_at_once_without_loss() {
    let (mut daemon, reader) = reader_in_the_middle();
    daemon.signal(Signal::SIGINT);
    wait_until("the daemon drains", || {
        daemon.log().contains("waiting for 1 requests")
    });
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.ended().code(), Some(0));
    daemon.logged("with 1 requests unfinished");
    drop(reader);
    let daemon = Daemon::in_dir(daemon.kill(), "", &[]);
    assert_eq!(daemon.fetch("bob").len(), 200);
}

#[test]
fn an_idle_session_does_not_delay_the_exit() {
    let mut daemon = Daemon::with("drain_timeout = 3600\nidle_timeout = 3600\n", &[]);
    let mut session = Session::of(&daemon, "al");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ended().code(), Some(0));
    assert_eq!(
        session.line(),
        "ERR shutdown the server ends; try again later"
    );
}

#[test]
fn a_second_daemon_is_refused_with_the_pid_of_the_first() {
    let first = Daemon::start();
    let pid = format!("process {}", first.pid());
    let other = tempfile::tempdir().expect("a directory");
    let (spool, run) = (first.spool(), first.path().join("run"));
    for (spool, run) in [
        (spool.as_path(), other.path()),
        (other.path(), run.as_path()),
    ] {
        let output = program("droplined")
            .args(["-p", "0", "--config"])
            .arg(configure(other.path(), ""))
            .arg("--spool")
            .arg(spool)
            .arg("--run-dir")
            .arg(run)
            .output()
            .expect("run");
        assert_eq!(output.status.code(), Some(69));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&pid), "{said}");
    }
    first.store("bob", "al", "the first one works on");
}

#[test]
fn a_port_in_use_is_named_in_the_error() {
    let first = Daemon::start();
    let port = first.port.to_string();
    let other = tempfile::tempdir().expect("a directory");
    for flags in [&["-p", &port][..], &[&port]] {
        let output = program("droplined")
            .args(flags)
            .arg("--config")
            .arg(configure(other.path(), ""))
            .arg("--spool")
            .arg(other.path().join("spool"))
            .arg("--run-dir")
            .arg(other.path().join("run"))
            .output()
            .expect("run");
        assert_eq!(output.status.code(), Some(69));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(&format!("cannot listen on [::]:{port}")),
            "{said}"
        );
    }
}

#[test]
fn listens_on_the_configured_addresses() {
    let daemon = Daemon::with("bind = [\"127.0.0.1\"]", &[]);
    assert!(TcpStream::connect(("::1", daemon.port)).is_err());
    daemon.store("bob", "al", "over IPv4");
    let daemon = Daemon::with("", &["--bind", "127.0.0.2", "--bind", "127.0.0.1"]);
    daemon.store("bob", "al", "over either");
    TcpStream::connect(("127.0.0.2", daemon.port)).expect("the same port");
}

#[test]
fn check_validates_the_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("c.toml");
    for (text, status, word) in [
        ("port = 8282", 0, "valid"),
        ("prot = 8282", 78, "line 1, column 1"),
        ("port = \"x\"", 78, "line 1"),
        ("max_body = 0", 78, "1 to 1048576"),
        (
            "\nuser = \"nobody-here\"",
            78,
            "line 2, column 8: there is no account",
        ),
        (
            "bind = [\"::\", \"::1\"]",
            78,
            "line 1, column 8: \"::\" is all",
        ),
        (
            "max_children = 9\nearly_drop = 10",
            0,
            "is odd at line 2, column 14",
        ),
    ] {
        fs::write(&file, text).expect("written");
        let output = program("droplined")
            .arg("--check")
            .arg("--config")
            .arg(&file)
            .output()
            .expect("run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{text}: {said}");
        assert!(said.contains(word), "{text}: {said}");
    }
    fs::write(&file, "log = \"stderr\"").expect("written");
    let mut check = program("droplined");
    let output = check
        .args(["--check", "-d", "--config"])
        .arg(&file)
        .output();
    let said = String::from_utf8_lossy(&output.expect("run").stderr).into_owned();
    assert!(
        said.contains("with log = \"stderr\" nothing is logged"),
        "{said}"
    );
    let output = program("droplined")
        .args(["--check", "--config", "/nowhere"])
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        program("droplined")
            .arg("--wrong")
            .output()
            .expect("run")
            .status
            .code(),
        Some(64)
    );
    assert_eq!(
        program("droplined")
            .arg("-h")
            .output()
            .expect("run")
            .status
            .code(),
        Some(0)
    );
}

#[test]
fn survives_a_shortage_of_descriptors() {
    let daemon = Daemon::start();
    let limit = |limit: &str| {
        let pid = daemon.pid().to_string();
        let status = Command::new("prlimit")
            .args(["--pid", &pid, limit])
            .status();
        assert!(status.expect("prlimit of util-linux").success());
    };
    daemon.store("bob", "al", "before");
    let open = |fd: &usize| Path::new(&format!("/proc/{}/fd/{fd}", daemon.pid())).exists();
    let lowest_free = (0..).find(|fd| !open(fd)).expect("a number");
    limit(&format!("--nofile={lowest_free}:4096"));
    let waiting = daemon.say(b"store;bob;al;during\n");
    wait_until("the failure is logged", || {
        daemon.log().contains("cannot accept a connection")
    });
    limit("--nofile=1024:4096");
    assert_eq!(listen(waiting), "Message accepted and stored:\n");
    let complaints = daemon.log().matches("cannot accept a connection").count();
    assert_eq!(complaints, 1, "{}", daemon.log());
    assert_eq!(daemon.fetch("bob").len(), 2);
}

#[test]
fn connections_beyond_max_children_wait() {
    let daemon = Daemon::with(
        "max_children = 2\nfull_timeout = 60\ncrowd_timeout = 60",
        &[],
    );
    daemon.store("bob", "al", "hi");
    daemon.store("eve", "al", "hi");
    let readers = [daemon.say(b"fetch;bob\n"), daemon.say(b"fetch;eve\n")];
    for reader in &readers {
        assert_ne!(reader.peek(&mut [0; 8]).expect("a reply"), 0);
    }
    let third = daemon.say(b"store;carol;al;hi\n");
    assert_eq!(daemon.children().len(), 2);
    // The log names the reason. Clients of the socket are served from the reserve.
    daemon.logged("warning: all max_children = 2 are busy: connections wait");
    let socket = daemon.path().join("run/dropline.sock");
    let mut local = std::os::unix::net::UnixStream::connect(socket).expect("connected");
    local.set_read_timeout(Some(PATIENCE)).expect("set");
    let hello = b"HELLO dropline/1\n";
    std::io::Write::write_all(&mut local, hello).expect("sent");
    let mut reply = [0; 2];
    std::io::Read::read_exact(&mut local, &mut reply).expect("a reply");
    assert_eq!(&reply, b"OK");
    for reader in readers {
        assert_eq!(messages(&listen(reader)).len(), 1);
    }
    third.set_read_timeout(Some(PATIENCE)).expect("set");
    assert_eq!(listen(third), "Message accepted and stored:\n");
}

#[test]
fn the_spool_is_accessible_to_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start();
    daemon.store("bob", "al", "hi");
    for file in files_below(&daemon.spool()).expect("readable") {
        let mode = fs::metadata(&file).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
    let mode = fs::metadata(daemon.spool())
        .expect("there")
        .permissions()
        .mode()
        & 0o777;
    assert_eq!(mode, 0o700);
}

#[test]
fn sighup_reloads_the_configuration_or_keeps_the_old_one_if_it_is_invalid() {
    let daemon = Daemon::with("max_body = 3", &[]);
    let reload = |text: &str, said: &str| {
        configure(daemon.path(), text);
        daemon.signal(Signal::SIGHUP);
        wait_until(said, || daemon.log().contains(said));
    };
    assert!(daemon.ask("store;bob;al;long\n").contains("too long"));
    reload(
        "max_body = 5\nport = 1\n",
        "the configuration was read again",
    );
    assert!(
        !daemon.log().contains("has changed"),
        "-p must override the file: {}",
        daemon.log()
    );
    daemon.store("bob", "al", "long");
    reload("max_body = x\n", "stays as it was");
    daemon.logged("at line 1, column 12");
    daemon.store("bob", "al", "long");
    assert!(
        daemon
            .ask("store;bob;al;longer\n")
            .contains("at most 5 bytes")
    );
    reload("bind = [\"::1\"]\n", "bind has changed");
    daemon.store("bob", "al", "where it always was");
    assert_eq!(
        counter(&daemon, "reloads"),
        2,
        "only valid configurations count"
    );
    reload(
        "syslog_socket = \"/elsewhere\"\n",
        "syslog_socket has changed",
    );
    reload("max_children = 9\nearly_drop = 10\n", "is odd at line 2");
}

/// Starts a daemon that reports its port to a pipe on standard output, with this standard error.
fn with_pipes(stderr: Stdio) -> (TempDir, Child) {
    let dir = tempfile::tempdir().expect("a directory");
    let child = program("droplined")
        .args(["-p", "0", "--ready-fd", "1", "--config"])
        .arg(configure(dir.path(), ""))
        .arg("--spool")
        .arg(dir.path().join("spool"))
        .arg("--run-dir")
        .arg(dir.path().join("run"))
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .expect("started");
    (dir, child)
}

/// Sends SIGTERM to a daemon and returns its exit status.
fn terminate(mut child: Child) -> Option<i32> {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    kill(pid, Signal::SIGTERM).expect("signalled");
    child.wait().expect("ended").code()
}

#[test]
fn a_log_pipe_that_is_not_read_blocks_nothing() {
    let (_dir, mut child) = with_pipes(Stdio::piped());
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("readable");
    let port: u16 = line.trim().parse().expect("a port");
    // The log pipe holds 64 KiB, and a line has about 100 bytes.
    for _ in 0..1_200 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.write_all(b"store;bob;al;hi\n").expect("sent");
        assert_eq!(listen(stream), "Message accepted and stored:\n");
    }
    assert_eq!(terminate(child), Some(0));
}

#[test]
fn the_reader_of_the_ready_descriptor_may_close_it_early() {
    let (_dir, mut child) = with_pipes(Stdio::null());
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0; 1]).expect("the port begins");
    drop(stdout);
    assert_eq!(
        terminate(child),
        Some(0),
        "the daemon must survive until SIGTERM"
    );
}
