//! Tests of the outbox: a message that the server could not take is sent later, exactly once.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use crate::support::menu::Menu;
use crate::support::session::Session;
use crate::support::wire::run;
use crate::support::{Daemon, files_below, is_long, program, wait_until};

/// Counts the messages in the outbox next to this daemon's spool.
fn files(daemon: &Daemon) -> usize {
    let dir = daemon.path().join("state/outbox");
    let files = files_below(&dir).unwrap_or_default();
    for file in &files {
        assert_eq!(file.metadata().expect("there").mode() & 0o777, 0o600);
    }
    let name =
        |file: &std::path::PathBuf| file.file_name().map(|n| n.to_string_lossy().into_owned());
    let mut names: Vec<_> = files.iter().filter_map(name).collect();
    names.retain(|name| !name.starts_with('.'));
    names.len()
}

/// Restarts the daemon on the same port with this configuration.
fn restart(daemon: Daemon, config: &str) -> Daemon {
    let port = daemon.port.to_string();
    Daemon::in_dir(daemon.kill_family(), config, &["-p", &port])
}

/// Kills the daemon and waits until its port is closed.
fn away(daemon: &Daemon) {
    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    wait_until("the port is closed", || {
        std::net::TcpStream::connect(("127.0.0.1", daemon.port)).is_err()
    });
}

/// Sends a signal to all processes of a daemon, to stop or to continue them.
fn freeze(daemon: &Daemon, signal: nix::sys::signal::Signal) {
    let group = nix::unistd::Pid::from_raw(i32::try_from(daemon.pid()).expect("a pid"));
    nix::sys::signal::killpg(group, signal).expect("signalled");
}

#[test]
fn a_client_killed_while_the_server_hangs_loses_no_message() {
    use nix::sys::signal::Signal;
    let daemon = Daemon::start();
    freeze(&daemon, Signal::SIGSTOP);
    let mut client = daemon.client();
    client.args(["-u", "al", "send", "bob", "frozen"]);
    let mut impatient = client.stderr(Stdio::null()).spawn().expect("started");
    wait_until("the message is in the outbox", || files(&daemon) == 1);
    impatient.kill().expect("killed");
    impatient.wait().expect("reaped");
    // Another client waits for the server.
    let mut client = daemon.client();
    client.args(["-u", "al", "send", "bob", "patient"]);
    let patient = client.stdout(Stdio::piped()).stderr(Stdio::piped());
    let patient = patient.spawn().expect("started");
    std::thread::sleep(Duration::from_millis(300));
    freeze(&daemon, Signal::SIGCONT);
    let patient = patient.wait_with_output().expect("ended");
    assert!(
        patient.status.success() || patient.status.code() == Some(75),
        "{patient:?}"
    );
    wait_until("both messages are sent", || {
        run(&daemon, &["-u", "al", "outbox", "--send"]);
        files(&daemon) == 0
    });
    let (_, read, _) = run(&daemon, &["-u", "bob", "read"]);
    let mut lines: Vec<_> = read.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["~al: frozen", "~al: patient"],
        "each message must arrive once"
    );
}

#[test]
fn a_menu_left_while_the_server_hangs_loses_no_message() {
    use nix::sys::signal::Signal;
    let daemon = Daemon::start();
    let mut menu = Menu::open(&daemon, "al");
    freeze(&daemon, Signal::SIGSTOP);
    menu.line("1");
    menu.expect("To:");
    menu.line("bob");
    menu.expect("Message:");
    menu.line("on its way");
    wait_until("the message is in the outbox", || files(&daemon) == 1);
    menu.expect("does not answer yet; the message to bob is in the outbox");
    menu.screen.send_control('c').expect("typed");
    menu.expect("Exiting as soon as");
    menu.screen.exp_eof().expect("the end");
    freeze(&daemon, Signal::SIGCONT);
    assert_eq!(run(&daemon, &["-u", "al", "outbox", "--send"]).0, Some(0));
    assert_eq!(daemon.fetch("bob"), ["bob;al;on its way"]);
    assert_eq!(files(&daemon), 0);
}

#[test]
fn the_next_command_sends_the_outbox() {
    let daemon = Daemon::start();
    away(&daemon);
    for text in ["one", "two"] {
        let (status, out, err) = run(&daemon, &["-u", "al", "send", "bob", text]);
        assert_eq!((status, out.as_str()), (Some(75), ""));
        assert!(err.contains("queued: will be sent later"), "{err}");
    }
    assert_eq!(files(&daemon), 2);
    let (_, list, _) = run(&daemon, &["outbox"]);
    assert!(list.contains("to bob  waiting  one"), "{list}");
    assert_eq!(run(&daemon, &["outbox", "--send"]).0, Some(75));
    let daemon = restart(daemon, "");
    // Queued messages are sent first.
    let (status, out, err) = run(&daemon, &["-u", "al", "send", "bob", "three"]);
    assert_eq!(
        (status, out.as_str(), err.as_str()),
        (Some(0), "bob/3\n", "")
    );
    assert_eq!(files(&daemon), 0);
    assert_eq!(
        daemon.fetch("bob"),
        ["bob;al;one", "bob;al;two", "bob;al;three"]
    );
    assert_eq!(run(&daemon, &["outbox"]).2, "The outbox is empty.\n");
}

#[test]
fn a_refusal_for_too_many_connections_is_temporary() {
    let daemon = Daemon::with(
        "children_per_source = 2\nwaiting_source_percent = 100\n",
        &[],
    );
    for dialect in ["auto", "session", "line"] {
        wait_until("no session is open", || daemon.children().is_empty());
        let held = [Session::of(&daemon, "al"), Session::of(&daemon, "al")];
        let args = ["-u", "al", "--dialect", dialect, "send", "bob", dialect];
        let (status, _, said) = run(&daemon, &args);
        assert_eq!((status, files(&daemon)), (Some(75), 1), "{dialect}: {said}");
        assert!(said.contains("Too many connections"), "{said}");
        drop(held);
        wait_until("no session is open", || daemon.children().is_empty());
        let (status, _, said) = run(&daemon, &["-u", "al", "outbox", "--send"]);
        assert_eq!((status, files(&daemon)), (Some(0), 0), "{said}");
    }
    let all = ["bob;al;auto", "bob;al;session", "bob;al;line"];
    assert_eq!(daemon.fetch("bob"), all);
}

#[test]
fn a_permanent_refusal_is_reported_with_its_reason() {
    let daemon = Daemon::start();
    away(&daemon);
    let long = "x".repeat(5_000);
    for text in [long.as_str(), "short"] {
        assert_eq!(run(&daemon, &["-u", "al", "send", "bob", text]).0, Some(75));
    }
    let daemon = restart(daemon, "max_body = 1024\n");
    let (_, out, err) = run(&daemon, &["-u", "al", "who"]);
    assert!(
        err.contains("cannot be sent: the server refuses the request: the message is too long"),
        "{out}{err}"
    );
    assert_eq!(
        run(&daemon, &["-u", "al", "who"])
            .2
            .matches("cannot")
            .count(),
        0
    );
    let (_, list, _) = run(&daemon, &["outbox", "--json"]);
    assert!(
        list.contains("\"state\":\"refused\",\"reason\":\"the server refuses the request"),
        "{list}"
    );
    assert_eq!(
        daemon.fetch("bob"),
        ["bob;al;short"],
        "the other message must be sent"
    );
    wait_until("the message is acknowledged", || {
        run(&daemon, &["-u", "bob", "count"]).1 == "0\n"
    });
    let daemon = restart(daemon, "");
    assert_eq!(run(&daemon, &["-u", "al", "who"]).0, Some(0));
    assert_eq!(
        files(&daemon),
        1,
        "only outbox --send may retry a refused message"
    );
    let (status, _, err) = run(&daemon, &["outbox", "--send"]);
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(daemon.fetch("bob"), [format!("bob;al;{long}")]);
    away(&daemon);
    assert_eq!(run(&daemon, &["-u", "al", "send", "bob", "x"]).0, Some(75));
    let (_, list, _) = run(&daemon, &["outbox"]);
    assert_eq!(run(&daemon, &["outbox", "--drop", "zz"]).0, Some(64));
    assert_eq!(run(&daemon, &["outbox", "--drop", &list[..8]]).0, Some(0));
    assert_eq!(files(&daemon), 0);
}

#[test]
fn a_full_mailbox_does_not_delay_other_recipients() {
    let daemon = Daemon::with("quota_messages = 1\n", &[]);
    let send = |to: &str| run(&daemon, &["-u", "al", "send", to, "hi"]).0;
    assert_eq!(send("bob"), Some(0));
    assert_eq!(send("bob"), Some(75));
    assert_eq!(send("carol"), Some(0));
    assert_eq!(files(&daemon), 1);
    assert_eq!(daemon.fetch("bob").len(), 1);
    wait_until("the message is sent", || {
        run(&daemon, &["-u", "al", "count"]);
        files(&daemon) == 0
    });
    assert_eq!(daemon.fetch("bob").len(), 1);
}

#[test]
fn in_the_line_dialect_a_full_mailbox_or_unknown_refusal_queues_the_message() {
    let daemon = Daemon::with("quota_messages = 1\n", &[]);
    let send = ["--dialect", "line", "-u", "al", "send", "bob", "hi"];
    assert_eq!(run(&daemon, &send).0, Some(0));
    let (status, _, err) = run(&daemon, &send);
    assert_eq!(status, Some(75), "{err}");
    assert!(err.contains("The mailbox is full"), "{err}");
    assert_eq!(files(&daemon), 1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = listener.local_addr().expect("an address").to_string();
    let other_server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.read_exact(&mut [0; 16]).expect("a request");
        stream
            .write_all(b"Message declined. Come back on Monday\n")
            .expect("sent");
    });
    let mut client = daemon.client();
    let state = daemon.path().join("other");
    client
        .env("DROPLINE_STATE_DIR", &state)
        .args(["-d", &other]);
    let output = client
        .args(send)
        .stdin(Stdio::null())
        .output()
        .expect("run");
    other_server.join().expect("ended");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{err}");
    assert!(err.contains("Come back on Monday"), "{err}");
    assert!(
        !files_below(&state.join("outbox"))
            .expect("an outbox")
            .is_empty()
    );
}

#[test]
fn without_an_outbox_a_message_is_reported_as_not_sent() {
    let daemon = Daemon::start();
    away(&daemon);
    let output = daemon
        .client()
        .args(["-u", "al", "send", "bob", "hi"])
        .env("DROPLINE_STATE_DIR", "/proc/nowhere")
        .stdin(Stdio::null())
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(73));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("the message was NOT sent"), "{err}");
}

/// A xorshift generator with a fixed seed, so that runs are reproducible.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

#[test]
fn killed_clients_and_servers_lose_and_duplicate_no_message() {
    let each = if is_long() { 300 } else { 40 };
    let mut daemon = Daemon::start();
    let server = format!("localhost:{}", daemon.port);
    let state = daemon.path().join("state");
    let client = || {
        let mut command = program("dropline");
        command
            .env("DROPLINE_SERVER", &server)
            .env("DROPLINE_STATE_DIR", &state);
        command
    };
    // The exit status of the sender of each message, or `None` if it was killed.
    let told = Mutex::new(BTreeMap::new());
    let daemon = std::thread::scope(|scope| {
        let mut senders = Vec::new();
        for who in 0..4_u64 {
            let (told, client) = (&told, &client);
            senders.push(scope.spawn(move || {
                let mut chance = Chance(88_172_645_463_325_252 + who);
                for n in 0..each {
                    let text = format!("{who}.{n}");
                    let mut child = client()
                        .args(["-u", "al", "send", "bob", &text])
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .spawn()
                        .expect("started");
                    if chance.below(3) == 0 {
                        std::thread::sleep(Duration::from_micros(chance.below(20_000)));
                        let _ = child.kill();
                    }
                    let status = child.wait().expect("ended").code();
                    told.lock().expect("whole").insert(text, status);
                }
            }));
        }
        let mut chance = Chance(7);
        while senders.iter().any(|sender| !sender.is_finished()) {
            std::thread::sleep(Duration::from_millis(chance.below(100)));
            let port = daemon.port.to_string();
            let dir = daemon.kill_family();
            std::thread::sleep(Duration::from_millis(chance.below(60)));
            daemon = Daemon::in_dir(dir, "", &["-p", &port]);
        }
        daemon
    });
    wait_until("the outbox is empty", || {
        run(&daemon, &["outbox", "--send"]);
        files(&daemon) == 0
    });
    let mut came: BTreeMap<String, usize> = BTreeMap::new();
    for (_, text) in Session::of(&daemon, "bob").read_all() {
        *came.entry(text).or_default() += 1;
    }
    let told = told.into_inner().expect("whole");
    let mut queued = 0;
    for (text, status) in &told {
        let times = came.get(text).copied().unwrap_or(0);
        queued += usize::from(*status == Some(75));
        match status {
            Some(0 | 75) => assert_eq!(times, 1, "{text} with {status:?}"),
            None => assert!(times <= 1, "{text} came {times} times"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(queued > 0, "the outbox was not used");
}
