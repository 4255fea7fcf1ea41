//! Tests of the commands of `dropline` for scripts, and of its settings.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Command, Stdio};

use crate::support::others::{for_others, public_dir};
use crate::support::session::Session;
use crate::support::wire::run;
use crate::support::{Daemon, program, skip};

fn ok(out: &str) -> (Option<i32>, String, String) {
    (Some(0), out.into(), String::new())
}

#[test]
fn without_a_server_setting_the_socket_and_the_login_are_used() {
    let test = "without_a_server_setting_the_socket_and_the_login_are_used";
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "only root can switch to other logins");
    }
    if fs::exists("/run/dropline").expect("known") {
        return skip(test, "there is a system daemon");
    }
    let daemon = Daemon::in_dir(public_dir(), "", &[]);
    let dir = daemon.path();
    let all = Permissions::from_mode(0o777);
    let dropline = for_others(&program("dropline"), dir);
    symlink(dir.join("run"), dir.join("dropline")).expect("linked");
    let run_as = |user: &str, args: &[&str]| {
        let state = dir.join(format!("state-{user}"));
        fs::create_dir_all(&state).expect("made");
        fs::set_permissions(&state, all.clone()).expect("set");
        let output = Command::new("setpriv")
            .args(["--reuid", user, "--regid", "nogroup", "--clear-groups"])
            .arg(dropline.get_program())
            .args(args)
            .env_remove("DROPLINE_SERVER")
            .env_remove("DROPLINE_USER")
            .env("XDG_CONFIG_HOME", &state)
            .env("DROPLINE_STATE_DIR", state.join("own"))
            .env("XDG_RUNTIME_DIR", dir)
            .env("HOME", &state)
            // Ignored: over the socket, the kernel supplies the login.
            .env("USER", "games")
            .stdin(Stdio::null())
            .output()
            .expect("setpriv");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (_, config, _) = run_as("bin", &["config"]);
    assert!(config.contains("/dropline/dropline.sock\""), "{config}");
    assert!(config.contains("user = \"bin\""), "{config}");
    let (_, config, _) = run_as("bin", &["-u", "al", "config"]);
    assert!(config.contains("/dropline/dropline.sock\""), "{config}");
    assert_eq!(run_as("bin", &["send", "games", "hi"]), ok("games/1\n"));
    daemon.store("games", "mallory", "believe me");
    assert_eq!(
        run_as("games", &["read"]),
        ok("bin: hi\n~mallory: believe me\n")
    );
    let socket = dir.join("run/dropline.sock");
    let socket = socket.to_str().expect("a path");
    let (status, _, err) = run_as("bin", &["-d", socket, "-u", "games", "read"]);
    assert_eq!(status, Some(77), "{err}");
    for dialect in ["line", "framed"] {
        let args = ["-d", socket, "--dialect", dialect, "send", "games", "old"];
        let (status, _, err) = run_as("bin", &args);
        // In the framed dialect, the recipient must be registered.
        assert_eq!(
            status,
            Some(if dialect == "line" { 0 } else { 67 }),
            "{err}"
        );
    }
    let args = ["-d", socket, "--dialect", "line", "read"];
    assert_eq!(run_as("games", &args), ok("~bin: old\n"));
}

#[test]
fn count_peek_and_status_acknowledge_nothing() {
    let daemon = Daemon::start();
    let count = |name| run(&daemon, &["-u", name, "count"]);
    assert_eq!(count("bob"), (Some(1), "0\n".into(), String::new()));
    let sent = run(&daemon, &["-u", "al", "send", "bob,carol,bob", "Disk full"]);
    assert_eq!(sent, ok("bob/1\ncarol/1\n"));
    daemon.store("bob", "carol", "hi");
    let status = |handle| run(&daemon, &["-u", "al", "status", handle]).1;
    assert!(status("bob/1").starts_with("waiting  accepted 20"));
    for _ in 0..2 {
        let peeked = run(&daemon, &["-u", "bob", "read", "--peek"]);
        assert_eq!(peeked, ok("~al: Disk full\n~carol: hi\n"));
    }
    assert_eq!(count("bob"), ok("2\n"));
    let (_, json, _) = run(&daemon, &["-u", "bob", "read", "--json"]);
    let first = json.lines().next().expect("a line");
    assert!(first.starts_with("{\"seq\":1,\"id\":\""), "{first}");
    let end = "Z\",\"body\":\"Disk full\"}";
    assert!(
        first.contains("\"from\":\"al\",\"trust\":\"open\",\"at\":\"20") && first.ends_with(end),
        "{first}"
    );
    assert_eq!(count("bob").0, Some(1));
    assert!(status("bob/1").starts_with("read  accepted 20"));
    for (name, handle) in [("eve", "bob/1"), ("al", "bob/999"), ("al", "nobody/1")] {
        let (status, _, err) = run(&daemon, &["-u", name, "status", handle]);
        assert_eq!(status, Some(77), "{err}");
        let words = format!("you have not sent a message {handle}");
        assert!(err.contains(&words), "{err}");
    }
    let history = |args: &[&str]| {
        let (status, out, err) = run(&daemon, &[&["-u", "bob", "history"], args].concat());
        assert_eq!((status, err.as_str()), (Some(0), ""));
        let lines = out.lines();
        let texts = lines.map(|line| line.split_once("Z  ").expect("a date").1.to_owned());
        texts.collect::<Vec<_>>()
    };
    assert_eq!(history(&[]), ["~al: Disk full", "~carol: hi"]);
    assert_eq!(history(&["-n", "1"]), ["~carol: hi"]);
    let none = run(&daemon, &["-u", "bob", "history", "-n", "0"]);
    assert_eq!(none.0, Some(64), "{}", none.2);
    for al in ["al", "~al"] {
        assert_eq!(history(&["--from", al]), ["~al: Disk full"]);
    }
    assert_eq!(history(&["dISK"]), ["~al: Disk full"]);
    assert_eq!(history(&["nothing", "disk"]), Vec::<String>::new());
    Session::of(&daemon, "bob").ask("ONLINE port=9");
    assert_eq!(
        run(&daemon, &["who", "--json"]),
        ok("{\"name\":\"bob\",\"online\":true}\n")
    );
}

#[test]
fn an_expired_message_is_not_shown() {
    let daemon = Daemon::start();
    let sent = run(&daemon, &["-u", "al", "send", "--ttl", "1", "bob", "soon"]);
    assert_eq!(sent, ok("bob/1\n"));
    crate::support::wait_until("the message expires", || {
        let (_, state, _) = run(&daemon, &["-u", "al", "status", "bob/1"]);
        state.starts_with("expired  at 20")
    });
    assert_eq!(run(&daemon, &["-u", "bob", "read"]), ok(""));
    assert_eq!(
        run(&daemon, &["-u", "al", "send", "--ttl", "1w", "bob", "x"]).0,
        Some(64)
    );
}

#[test]
fn run_reports_how_a_command_ended() {
    let daemon = Daemon::start();
    let script = "echo out; echo err >&2; exit 3";
    let (status, out, err) = run(
        &daemon,
        &["-u", "al", "run", "bob,carol", "--", "sh", "-c", script],
    );
    assert_eq!(
        (status, out.as_str(), err.as_str()),
        (Some(3), "out\n", "err\n")
    );
    for name in ["bob", "carol"] {
        let (_, text, _) = run(&daemon, &["-u", name, "read"]);
        assert!(
            text.starts_with(
                "~al: sh -c echo out; echo err >&2; exit 3: failed with status 3, after 0."
            ),
            "{text}"
        );
        assert!(
            text.contains("\n\tout\n") && text.contains("\n\terr\n"),
            "{text}"
        );
    }
    let (status, ..) = run(&daemon, &["-u", "al", "run", "bob", "/no/such"]);
    assert_eq!(status, Some(127));
    let (status, ..) = run(
        &daemon,
        &["-u", "al", "run", "bob", "sh", "-c", "kill -9 $$"],
    );
    assert_eq!(status, Some(137));
    let (_, text, _) = run(&daemon, &["-u", "bob", "read"]);
    assert!(
        text.contains("/no/such: cannot be run: ") && text.contains("killed by SIGKILL"),
        "{text}"
    );
}

#[test]
fn run_reports_a_command_that_is_terminated() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.args([
        "-u",
        "al",
        "run",
        "bob",
        "--",
        "sh",
        "-c",
        "echo begun; exec sleep 100",
    ]);
    let mut child = client.stdout(Stdio::piped()).spawn().expect("started");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    out.read_line(&mut line).expect("readable");
    assert_eq!(line, "begun\n");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signalled");
    assert_eq!(child.wait().expect("ended").code(), Some(128 + 15));
    let (_, text, _) = run(&daemon, &["-u", "bob", "read"]);
    assert!(text.contains("killed by SIGTERM, after "), "{text}");
}

#[test]
fn run_reports_lost_output_of_a_command_as_an_error() {
    let daemon = Daemon::start();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("there");
    let mut client = daemon.client();
    client
        .args(["-u", "al", "run", "bob", "--", "echo", "hi"])
        .stdout(full);
    let output = client.output().expect("run");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(73), "{err}");
    assert!(err.contains("its output could not be written"), "{err}");
    let (_, text, _) = run(&daemon, &["-u", "bob", "read"]);
    assert!(
        text.contains("done, but its output could not be written"),
        "{text}"
    );
}

#[test]
fn a_message_over_the_limit_is_a_data_error() {
    let daemon = Daemon::with("max_body = 100\n", &[]);
    let (status, _, err) = run(&daemon, &["-u", "al", "send", "bob", &"x".repeat(101)]);
    assert_eq!(status, Some(65), "{err}");
}

#[test]
fn a_closed_standard_input_is_an_error() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let program = client.get_program().to_str().expect("text").to_owned();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("'{program}' -u al send bob - <&-")]);
    let envs = client.get_envs();
    shell.envs(envs.filter_map(|(key, value)| Some((key, value?))));
    let output = shell.output().expect("run");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(66), "{err}");
    assert!(err.contains("cannot read the message"), "{err}");
}

#[test]
fn an_invalid_port_is_named_in_the_error() {
    for args in [
        &["-d", "localhost:99999", "count"][..],
        &["localhost", "99999"],
    ] {
        let output = program("dropline").args(args).output().expect("run");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{err}");
        assert!(
            err.contains("99999") && !err.contains("is not a command"),
            "{err}"
        );
    }
}

/// A running `dropline follow`. Killed when dropped.
struct Follow {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Follow {
    fn start(mut command: Command, args: &[&str]) -> Self {
        let mut child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        line
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn follow_survives_restarts_and_shows_each_message_once() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "one");
    let mut follow = Follow::start(daemon.client(), &["-u", "bob", "follow"]);
    assert_eq!(follow.line(), "~al: one\n");
    daemon.store("bob", "al", "two");
    assert_eq!(follow.line(), "~al: two\n");
    let port = daemon.port;
    let dir = daemon.kill_family();
    let daemon = Daemon::in_dir(dir, "", &["-p", &port.to_string()]);
    daemon.store("bob", "al", "three");
    assert_eq!(follow.line(), "~al: three\n");
    // Killed before the acknowledgement, `follow` would show the message again.
    crate::support::wait_until("the message is acknowledged", || {
        run(&daemon, &["-u", "bob", "count"]).1 == "0\n"
    });
    drop(follow);
    daemon.store("bob", "al", "four");
    let mut follow = Follow::start(daemon.client(), &["-u", "bob", "follow", "--json"]);
    let line = follow.line();
    assert!(line.contains("\"body\":\"four\""), "{line}");
}

#[test]
fn follow_runs_a_command_for_each_message_until_it_succeeds() {
    let daemon = Daemon::start();
    let script = daemon.path().join("script");
    let mut file = fs::File::create(&script).expect("made");
    // The script fails on its first run for each message.
    let text = "f=$1/seen.$DROPLINE_SEQ; [ -e \"$f\" ] || { : >\"$f\"; exit 1; }\n\
                echo \"$DROPLINE_FROM $DROPLINE_SEQ $DROPLINE_TRUST ${#DROPLINE_ID} $(cat)\"\n";
    file.write_all(text.as_bytes()).expect("written");
    let exec = format!("sh {} {}", script.display(), daemon.path().display());
    daemon.store("bob", "al", "first one");
    daemon.store("bob", "carol", "second");
    let mut follow = Follow::start(daemon.client(), &["-u", "bob", "follow", "--exec", &exec]);
    assert_eq!(follow.line(), "al 1 open 32 first one\n");
    assert_eq!(follow.line(), "carol 2 open 32 second\n");
    crate::support::wait_until("the messages are acknowledged", || {
        run(&daemon, &["-u", "bob", "count"]).1 == "0\n"
    });
}

#[test]
fn settings_come_from_the_first_source_that_has_them() {
    let daemon = Daemon::start();
    let home = daemon.path().join("config");
    let file = home.join("dropline/config.toml");
    fs::create_dir_all(file.parent().expect("a parent")).expect("made");
    let config = |text: &str, args: &[&str], env: &[(&str, &str)]| {
        fs::write(&file, text).expect("written");
        let mut command = program("dropline");
        command.env("XDG_CONFIG_HOME", &home).args(args);
        let output = command.envs(env.iter().copied()).output().expect("run");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let path = file.display();
    let text = "server = \"h:1\"\nuser = 'al'\n";
    let (status, out, _) = config(text, &["config"], &[]);
    assert_eq!(status, Some(0));
    let line = |key: &str, origin: &str| {
        out.lines()
            .any(|l| l.starts_with(key) && l.ends_with(origin))
    };
    assert!(line("server = \"h:1\"", &format!("# {path}")), "{out}");
    assert!(line("dialect = \"auto\"", "# default"), "{out}");
    let env = [("DROPLINE_USER", "bob"), ("DROPLINE_SERVER", "e:2")];
    let (_, out, _) = config(text, &["-d", "f:3", "config"], &env);
    let line = |key: &str, origin: &str| {
        out.lines()
            .any(|l| l.starts_with(key) && l.ends_with(origin))
    };
    assert!(line("server = \"f:3\"", "# command line"), "{out}");
    assert!(
        line("user = \"bob\"", "# environment, DROPLINE_USER"),
        "{out}"
    );
    for (wrong, what) in [
        ("a = 1", " at line 1, column 1: unknown field `a`"),
        (
            "user = 'al'\n server = 'h:x'",
            " at line 2, column 11: 'x' is not a port",
        ),
        ("user = ", " at line 1, column "),
    ] {
        let (status, out, err) = config(wrong, &["who"], &[]);
        assert_eq!((status, out.as_str()), (Some(78), ""));
        let head = format!("dropline: the configuration {path}{what}");
        assert!(err.starts_with(&head), "{err}");
    }
    let (status, _, err) = config("", &["who"], &[("DROPLINE_DIALECT", "dutch")]);
    assert_eq!(status, Some(78));
    assert!(
        err.contains("DROPLINE_DIALECT=\"dutch\": expected auto"),
        "{err}"
    );
}

#[test]
fn a_closed_pipe_causes_no_error_message() {
    let daemon = Daemon::start();
    for n in 0..200 {
        daemon.store("bob", "al", &format!("{n} {}", "x".repeat(1000)));
    }
    let mut child = daemon
        .client()
        .args(["-u", "bob", "read"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    out.read_line(&mut String::new()).expect("a line");
    drop(out);
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(73));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(run(&daemon, &["-u", "bob", "count"]).1.trim() != "0");
}

#[test]
fn the_manual_and_the_completions_are_current() {
    let made = |args: &[&str]| {
        let output = program("dropline").args(args).output().expect("run");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text")
    };
    for (file, args) in [
        ("man/dropline.1", &["man"][..]),
        ("completions/dropline.bash", &["completion", "bash"]),
        ("completions/_dropline", &["completion", "zsh"]),
        ("completions/dropline.fish", &["completion", "fish"]),
    ] {
        let path = format!("{}/etc/{file}", env!("CARGO_MANIFEST_DIR"));
        let shipped = fs::read_to_string(&path).expect("readable");
        let command = args.join(" ");
        assert!(shipped == made(args), "dropline {command} >etc/{file}");
    }
}
