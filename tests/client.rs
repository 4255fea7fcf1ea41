//! Tests of `dropline` as a command: sending, reading, exit statuses and error messages.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use crate::support::session::Session;
use crate::support::{Daemon, default_of, program};

fn dropline(daemon: &Daemon, args: &[&str]) -> Command {
    let mut command = daemon.client();
    command
        .args(["-d", &format!("localhost:{}", daemon.port)])
        .args(args)
        .stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("a status"), text(stdout), text(stderr))
}

fn with_input(command: &mut Command, input: &[u8]) -> (i32, String) {
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("run");
    let mut stdin = child.stdin.take().expect("a pipe");
    // The program closes its input early if the message is too long.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("run");
    (
        output.status.code().expect("a status"),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// The result of a successful send: the handle of the message on standard output.
fn handle(seq: u64) -> (i32, String, String) {
    (0, format!("bob/{seq}\n"), String::new())
}

const NOTHING: (i32, String, String) = (0, String::new(), String::new());

#[test]
fn send_and_read() {
    let daemon = Daemon::start();
    assert_eq!(
        run(&mut dropline(
            &daemon,
            &["-u", "al", "send", "bob", "disk full; on n12"]
        )),
        handle(1)
    );
    assert_eq!(
        run(&mut dropline(
            &daemon,
            &["-u", "al", "send", "bob", "several", "-words"]
        )),
        handle(2)
    );
    assert_eq!(
        with_input(
            &mut dropline(&daemon, &["-u", "al", "send", "bob", "-"]),
            b"piped\n"
        )
        .0,
        0
    );
    let (status, out, err) = run(&mut dropline(&daemon, &["-u", "bob", "read"]));
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "~al: disk full; on n12\n~al: several -words\n~al: piped\n"
    );
    assert_eq!(run(&mut dropline(&daemon, &["-u", "bob", "read"])), NOTHING);
    assert_eq!(
        run(&mut dropline(&daemon, &["-u", "nobody", "read"])),
        NOTHING
    );
}

#[test]
fn the_name_comes_from_the_flag_then_the_environment_then_the_login() {
    let daemon = Daemon::start();
    let send = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = dropline(&daemon, args);
        command
            .env_remove("USER")
            .env_remove("LOGNAME")
            .envs(env.iter().copied());
        run(command.args(["send", "bob", "hi"]))
    };
    let env = [("USER", "login"), ("DROPLINE_USER", "environment")];
    assert_eq!(send(&["-u", "flag"], &env), handle(1));
    assert_eq!(send(&[], &env), handle(2));
    assert_eq!(send(&[], &env[..1]), handle(3));
    // Without a name in the environment, the password database supplies it.
    assert_eq!(send(&[], &[]), handle(4));
    let uid = nix::unistd::geteuid();
    let user = nix::unistd::User::from_uid(uid).expect("readable");
    let own = user.expect("a login").name;
    assert_eq!(
        daemon.fetch("bob"),
        ["flag", "environment", "login", &own].map(|n| format!("bob;{n};hi"))
    );
}

#[test]
fn a_message_that_cannot_be_sent_has_the_right_exit_status() {
    let daemon = Daemon::start();
    let send = |to, text| run(&mut dropline(&daemon, &["-u", "al", "send", to, text]));
    assert_eq!(send("../x", "hi").0, 64);
    assert_eq!(send("bob", "").0, 65);
    let line = ["--dialect", "line", "-u", "al", "send", "bob", "two\nlines"];
    let (status, _, err) = run(&mut dropline(&daemon, &line));
    assert_eq!(status, 65);
    assert!(err.contains("more than one line"), "{err}");
    let mut stdin = dropline(&daemon, &["-u", "al", "send", "bob", "-"]);
    let (status, err) = with_input(&mut stdin, &vec![b'x'; default_of("max_body") + 1]);
    assert_eq!(status, 65);
    let most = format!("at most {} bytes", default_of("max_body"));
    assert!(err.contains(&most), "{err}");
    assert_eq!(with_input(&mut stdin, &vec![b'x'; 2 << 20]).0, 65);
    assert_eq!(with_input(&mut stdin, b"").0, 65);
    assert_eq!(
        run(&mut dropline(&daemon, &["-u", "bob", "read"])),
        NOTHING,
        "a refused message was stored"
    );
}

#[test]
fn a_message_of_several_lines_is_printed_indented() {
    let daemon = Daemon::start();
    let send = ["-u", "al", "send", "bob", "one\n\ttwo\n\nfour\r"];
    assert_eq!(run(&mut dropline(&daemon, &send)), handle(1));
    let (_, out, _) = run(&mut dropline(&daemon, &["-u", "bob", "read"]));
    assert_eq!(out, "~al: one\n\t\ttwo\n\t\n\tfour\\x0d\n");
}

#[test]
fn an_unreachable_server_and_a_foreign_server_are_reported() {
    let (status, _, err) = {
        let daemon = Daemon::start();
        let mut command = dropline(&daemon, &["-u", "al", "send", "bob", "hi"]);
        drop(daemon);
        run(&mut command)
    };
    assert_eq!(status, 75);
    assert!(err.contains("cannot reach the server localhost:"), "{err}");
    assert!(err.contains("queued: will be sent later"), "{err}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("an address").to_string();
    let stranger = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("a client");
            stream
                .write_all(b"220 mail.example ESMTP\r\n")
                .expect("sent");
            // The client may close or reset the connection.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    for command in [&["send", "bob", "hi"][..], &["read"]] {
        let mut strange = program("dropline");
        strange
            .args(["-u", "al", "-d", &server])
            .args(command)
            .stdin(Stdio::null());
        let (status, out, err) = run(&mut strange);
        assert_eq!((status, out.as_str()), (76, ""), "{err}");
        assert!(err.contains("is not a dropline server"), "{err}");
    }
    stranger.join().expect("ended");
}

#[test]
fn an_invalid_answer_is_a_protocol_error_in_every_dialect() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("an address").to_string();
    // The last two are prefixes of valid answers. The client must treat them as a broken connection.
    let said = ["\n", "x", "garbage", "\0\0\0\0\0\0", "Message acc", "OK"];
    for text in said {
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                loop {
                    let (mut stream, _) = listener.accept().expect("a client");
                    if is_over.load(std::sync::atomic::Ordering::SeqCst) {
                        return;
                    }
                    // The client may have closed the connection already.
                    let _ = stream.write_all(text.as_bytes());
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                    let _ = std::io::copy(&mut stream, &mut std::io::sink());
                }
            });
            let mut wrong = Vec::new();
            for dialect in ["line", "framed", "session", "auto"] {
                for command in [&["read"][..], &["send", "bob", "hi"]] {
                    let state = tempfile::tempdir().expect("a directory");
                    let mut strange = program("dropline");
                    strange
                        .args(["-u", "alice", "-d", &server, "--dialect", dialect])
                        .args(command)
                        .env("DROPLINE_STATE_DIR", state.path())
                        .stdin(Stdio::null());
                    let (status, _, err) = run(&mut strange);
                    let is_cut = dialect != "framed" && ["Message acc", "OK"].contains(&text);
                    let right: &[i32] = if is_cut { &[69, 75] } else { &[76] };
                    if !right.contains(&status) {
                        wrong.push(format!("{dialect} {command:?} {text:?}: {status} {err}"));
                    }
                }
            }
            is_over.store(true, std::sync::atomic::Ordering::SeqCst);
            std::net::TcpStream::connect(&server).expect("a connection");
            assert!(wrong.is_empty(), "{wrong:#?}");
        });
    }
}

#[test]
fn falls_back_to_the_line_dialect_of_an_old_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("an address").to_string();
    let old = std::thread::spawn(move || {
        let mut requests = Vec::new();
        while requests.len() < 5 {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut line = String::new();
            BufReader::new(&stream)
                .read_line(&mut line)
                .expect("a line");
            let reply = match line.split(';').next() {
                Some("store") => "Message accepted and stored:\n",
                Some("fetch") => "Retrieving messages...\nbob;al;hi\nNO MORE MESSAGES",
                _ => "Message declined. Bad verb\n",
            };
            stream.write_all(reply.as_bytes()).expect("sent");
            requests.push(line);
        }
        requests
    });
    let ask = |args: &[&str]| {
        let mut command = program("dropline");
        command
            .args(["-d", &server])
            .args(args)
            .stdin(Stdio::null());
        run(&mut command)
    };
    assert_eq!(ask(&["-u", "al", "send", "bob", "hi"]), NOTHING);
    assert_eq!(ask(&["-u", "bob", "read"]).1, "~al: hi\n");
    let (status, _, err) = ask(&["--dialect", "session", "-u", "bob", "read"]);
    assert_eq!(status, 76);
    assert!(err.contains("try --dialect line"), "{err}");
    let hello = |name: &str| format!("HELLO dropline/1 name={name}\n");
    let expected = [
        hello("al"),
        "store;bob;al;hi\n".into(),
        hello("bob"),
        "fetch;bob\n".into(),
        hello("bob"),
    ];
    assert_eq!(old.join().expect("ended"), expected);
}

#[test]
fn messages_that_cannot_be_printed_stay_waiting() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "hi");
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let output = dropline(&daemon, &["-u", "bob", "read"])
        .stdout(full)
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(73));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("stay waiting"), "{err}");
    assert_eq!(
        run(&mut dropline(&daemon, &["-u", "bob", "read"])).1,
        "~al: hi\n"
    );
}

#[test]
fn messages_stay_waiting_when_standard_output_is_closed() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "hi");
    let read = format!(
        "{} -d localhost:{} -u bob read",
        program("dropline").get_program().to_string_lossy(),
        daemon.port
    );
    let shell = |command: String| {
        Command::new("sh")
            .args(["-c", &command])
            .env("DROPLINE_STATE_DIR", daemon.path().join("state"))
            .status()
            .expect("sh")
            .code()
    };
    assert_eq!(shell(format!("{read} >&-")), Some(73));
    assert_eq!(
        run(&mut dropline(&daemon, &["-u", "bob", "read"])).1,
        "~al: hi\n"
    );
    daemon.store("bob", "al", "hi");
    assert_eq!(
        shell(format!("{read} >/dev/null")),
        Some(0),
        "/dev/null is a valid destination"
    );
    assert_eq!(daemon.fetch("bob"), Vec::<String>::new());
}

#[test]
fn a_failed_write_to_standard_output_sets_the_exit_status() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "hi");
    assert_eq!(run(&mut dropline(&daemon, &["-u", "bob", "read"])).0, 0);
    assert_eq!(
        run(&mut dropline(&daemon, &["-u", "bob", "send", "eve", "hi"])).1,
        "eve/1\n"
    );
    Session::of(&daemon, "bob").ask("ONLINE port=9");
    let program = program("dropline");
    let program = program.get_program().to_string_lossy();
    for command in [
        "--help",
        "--version",
        "send --help",
        "history",
        "count",
        "who",
        "who --json",
        "config",
        "man",
        "completion bash",
        "status eve/1",
        "send eve,carol again",
    ] {
        for nowhere in [">&-", ">/dev/full"] {
            let line = format!("{program} -u bob {command} {nowhere}");
            let mut shell = daemon.client();
            let mut shell = {
                let envs: Vec<_> = shell
                    .get_envs()
                    .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
                    .collect();
                shell = Command::new("sh");
                shell.args(["-c", &line]).envs(envs);
                shell
            };
            let (status, _, err) = run(&mut shell);
            assert_eq!((status, err.lines().count()), (73, 1), "{line}: {err}");
            assert!(err.contains("cannot write"), "{line}: {err}");
        }
    }
    assert_eq!(
        daemon.fetch("carol").len(),
        2,
        "carol must get both messages"
    );
}

#[test]
fn usage_errors_are_explained() {
    let daemon = Daemon::start();
    let said = |args: &[&str]| {
        let (status, out, err) = run(&mut dropline(&daemon, args));
        assert_eq!((status, out.as_str()), (64, ""), "{args:?}: {err}");
        err
    };
    assert!(said(&["sned", "bob", "hi"]).contains("'sned' is not a command; did you mean 'send'?"));
    assert!(!said(&["chat", "bob", "--foo"]).contains("-- --foo"));
    for args in [
        &["send", "bob", "--tll", "5", "hi"][..],
        &["run", "bob", "--foo", "make"],
    ] {
        let err = said(args);
        assert!(
            err.contains(&format!("there is no option {} here", args[2])),
            "{err}"
        );
    }
    let send = ["-u", "al", "send", "--ttl", "5", "bob", "--", "--tll", "-v"];
    assert_eq!(run(&mut dropline(&daemon, &send)).0, 0);
    assert_eq!(daemon.fetch("bob"), ["bob;al;--tll -v"]);
    assert!(said(&["send", "--ttl", "0", "bob", "hi"]).contains("more than 0"));
    assert!(said(&["outbox", "--drop", "zz"]).contains("no message in the outbox has an id"));
    said(&["outbox", "--drop", ""]);
}

#[test]
fn printed_messages_contain_no_control_characters() {
    let daemon = Daemon::start();
    daemon.ask("store;bob;al;\u{202e}txt.exe \x1b[31mred\n".as_bytes());
    let (_, out, _) = run(&mut dropline(&daemon, &["-u", "bob", "read"]));
    assert_eq!(out, "~al: \\u{202e}txt.exe \\x1b[31mred\n");
}

#[test]
fn a_long_mailbox_is_read_completely() {
    let daemon = Daemon::start();
    let body = "y".repeat(40_000);
    for n in 0..50 {
        daemon.store("bob", "al", &format!("{n} {body}"));
    }
    let (status, out, _) = run(&mut dropline(&daemon, &["-u", "bob", "read"]));
    assert_eq!(status, 0);
    let expected: String = (0..50).map(|n| format!("~al: {n} {body}\n")).collect();
    assert!(out == expected, "{} bytes", out.len());
    assert_eq!(daemon.fetch("bob"), Vec::<String>::new());
}

#[test]
fn the_menu_and_chat_need_a_terminal() {
    let daemon = Daemon::start();
    let (status, out, err) = run(&mut dropline(&daemon, &["-u", "al"]));
    assert_eq!((status, out.as_str()), (64, ""));
    assert!(err.contains("Usage: dropline"), "{err}");
    let (status, _, err) = run(&mut dropline(&daemon, &["-u", "al", "chat", "bob"]));
    assert_eq!(status, 64);
    assert!(err.contains("chat needs a terminal"), "{err}");
    assert_eq!(run(program("dropline").arg("--help")).0, 0);
    assert_eq!(run(program("dropline").arg("--wrong")).0, 64);
}
