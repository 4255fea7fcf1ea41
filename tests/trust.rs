//! Whom the client talks to, and what it shows of others.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::menu::spawn;
use crate::support::others::{for_others, public_dir};
use crate::support::session::Session;
use crate::support::{Daemon, files_below, program, skip};

type Ended = (Option<i32>, String, String);

fn ended(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Clients of the login `bin`, whose /run a script prepares in a mount namespace.
struct Clients {
    dir: PathBuf,
    dropline: PathBuf,
    /// Run by root with /run empty.
    prepares: String,
}

impl Clients {
    /// `None`, with a reported skip, without root or mount namespaces.
    fn new(test: &str, dir: &Path, prepares: String) -> Option<Self> {
        let can = Command::new("unshare").args(["--mount", "true"]).output();
        if !nix::unistd::geteuid().is_root() || !can.is_ok_and(|done| done.status.success()) {
            skip(test, "mount namespaces and other logins need root");
            return None;
        }
        let home = dir.join("home");
        fs::create_dir(&home).expect("made");
        lchown(&home, Some(2), Some(2)).expect("given");
        Some(Self {
            dir: dir.to_owned(),
            dropline: for_others(&program("dropline"), dir).get_program().into(),
            prepares,
        })
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.run_as(
            &["setpriv", "--reuid", "2", "--regid", "2", "--clear-groups"],
            args,
        )
    }

    fn run_as(&self, login: &[&str], args: &[&str]) -> Ended {
        let script = format!(
            "set -e; mount -t tmpfs -o mode=755 tmpfs /run; {}; exec \"$@\"",
            self.prepares
        );
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                &script,
                "sh",
            ])
            .args(login)
            .arg(&self.dropline)
            .args(args)
            .env_remove("DROPLINE_SERVER")
            .env_remove("DROPLINE_USER")
            .env_remove("DROPLINE_STATE_DIR")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_RUNTIME_DIR")
            .env("HOME", self.dir.join("home"));
        ended(&mut command)
    }

    /// Returns the number of messages in the outbox.
    fn queued(&self) -> usize {
        let outbox = self.dir.join("home/.local/state/dropline/outbox");
        let files = files_below(&outbox).unwrap_or_default();
        let is_message = |path: &&PathBuf| {
            path.file_name()
                .is_some_and(|name| name.as_encoded_bytes()[0] != b'.')
        };
        files.iter().filter(is_message).count()
    }
}

/// Starts a daemon of the login `nobody`. `None` without root.
fn daemon_of_nobody(test: &str) -> Option<Daemon> {
    if !nix::unistd::geteuid().is_root() {
        skip(test, "only root can switch to other logins");
        return None;
    }
    let dir = public_dir();
    lchown(dir.path(), Some(65534), Some(65534)).expect("given");
    let droplined = for_others(&program("droplined"), dir.path());
    let droplined = droplined.get_program().to_str().expect("a path");
    let script = format!(
        "shift; exec setpriv --reuid 65534 --regid 65534 --clear-groups {droplined} \"$@\""
    );
    Some(Daemon::started_by(
        &["sh", "-c", &script, "sh"],
        dir,
        "user = \"root\"\n",
    ))
}

#[test]
fn without_a_daemon_messages_are_queued_and_tcp_is_not_tried() {
    let test = "without_a_daemon_messages_are_queued_and_tcp_is_not_tried";
    let dir = public_dir();
    let Some(clients) = Clients::new(test, dir.path(), "mkdir /run/dropline".into()) else {
        return;
    };
    let (status, out, err) = clients.run(&["send", "root", "hi"]);
    assert_eq!((status, out.as_str()), (Some(75), ""), "{err}");
    assert!(err.contains("/run/dropline/dropline.sock"), "{err}");
    assert!(!err.contains("8282"), "{err}");
    assert_eq!(clients.queued(), 1);
    let (status, out, err) = clients.run(&["read"]);
    assert_eq!((status, out.as_str()), (Some(69), ""), "{err}");
    assert!(err.contains("/run/dropline/dropline.sock"), "{err}");
    // Without the directory, the daemon of the user is meant.
    let clients = Clients {
        prepares: "true".into(),
        ..clients
    };
    let (status, _, err) = clients.run(&["read"]);
    assert_eq!(status, Some(69), "{err}");
    let own = clients
        .dir
        .join("home/.local/state/dropline/run/dropline.sock");
    assert!(err.contains(own.to_str().expect("text")), "{err}");
}

#[test]
fn another_name_than_the_login_needs_a_server() {
    let test = "another_name_than_the_login_needs_a_server";
    let daemon = Daemon::in_dir(public_dir(), "", &[]);
    let link = format!("ln -s {}/run /run/dropline", daemon.path().display());
    let Some(clients) = Clients::new(test, daemon.path(), link) else {
        return;
    };
    let (status, _, err) = clients.run(&["-u", "games", "send", "root", "hi"]);
    assert_eq!(status, Some(77), "{err}");
    assert!(err.contains("-d localhost"), "{err}");
    assert_eq!(clients.queued(), 0);
    assert_eq!(clients.run(&["-u", "bin", "send", "bob", "hi"]).0, Some(0));
    // The daemon lets root act as any name.
    let (status, _, err) = clients.run_as(
        &["env", "DROPLINE_STATE_DIR=/run/state"],
        &["-u", "bob", "read"],
    );
    assert_eq!(status, Some(0), "{err}");
}

#[test]
fn a_default_socket_of_another_user_gets_nothing() {
    let test = "a_default_socket_of_another_user_gets_nothing";
    let Some(daemon) = daemon_of_nobody(test) else {
        return;
    };
    let socket = daemon.path().join("run/dropline.sock");
    let prepares = format!(
        "mkdir /run/dropline; ln -s {} /run/dropline/dropline.sock",
        socket.display()
    );
    let dir = public_dir();
    let Some(clients) = Clients::new(test, dir.path(), prepares) else {
        return;
    };
    let (status, out, err) = clients.run(&["send", "root", "secret"]);
    assert_eq!((status, out.as_str()), (Some(75), ""), "{err}");
    assert!(
        err.contains("uid 65534 ") && err.contains("/run/dropline/dropline.sock"),
        "{err}"
    );
    assert_eq!(clients.queued(), 1);
    assert_eq!(clients.run(&["read"]).0, Some(69));
    let reply = daemon.ask("fetch;root\n");
    assert!(reply.ends_with("There is no such name"), "{reply:?}");
    // Nor does one in place of the user's own daemon.
    let own = dir.path().join("home/.local/state/dropline/run");
    fs::create_dir(&own).expect("made");
    symlink(&socket, own.join("dropline.sock")).expect("linked");
    let clients = Clients {
        prepares: "true".into(),
        ..clients
    };
    let (status, _, err) = clients.run(&["read"]);
    assert_eq!(status, Some(69), "{err}");
    assert!(err.contains("uid 65534 "), "{err}");
}

#[test]
fn only_a_verified_socket_vouches_for_senders() {
    let test = "only_a_verified_socket_vouches_for_senders";
    let Some(daemon) = daemon_of_nobody(test) else {
        return;
    };
    let dir = public_dir();
    let Some(clients) = Clients::new(test, dir.path(), "true".into()) else {
        return;
    };
    let named = daemon.path().join("run/dropline.sock");
    let linked = dir.path().join("link.sock");
    symlink(&named, &linked).expect("linked");
    let (named, linked) = (
        named.to_str().expect("text"),
        linked.to_str().expect("text"),
    );
    for _ in 0..4 {
        assert_eq!(clients.run(&["-d", named, "send", "bin", "hi"]).0, Some(0));
    }
    // The user who listens owns the directory.
    assert_eq!(
        clients.run(&["-d", named, "read", "--peek"]).1,
        "bin: hi\n".repeat(4)
    );
    // Here, root does: another user has put the socket there.
    let shown = |args: &[&str]| clients.run(&[&["-d", linked], args].concat()).1;
    assert_eq!(shown(&["read", "--peek"]), "~bin: hi\n".repeat(4));
    let json = shown(&["read", "--peek", "--json"]);
    assert_eq!(json.matches("\"trust\":\"open\"").count(), 4, "{json}");
    assert_eq!(
        shown(&["--dialect", "line", "read"]),
        "~bin: hi\n".repeat(4)
    );
    let history = shown(&["history"]);
    assert_eq!(history.matches("  ~bin: hi\n").count(), 4, "{history}");
}

#[test]
fn over_tcp_the_word_of_the_server_does_not_count() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("an address").to_string();
    let impostor = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let id = "0".repeat(32);
        let message =
            format!("MSG seq=1 id={id} from=root trust=local at=1 len=4\nobey\nEND more=0\n");
        let mut heard = Vec::new();
        for (request, answer) in [
            (
                "HELLO",
                "OK dropline/1 name=bob trust=local max-body=9 lease=90\n",
            ),
            ("FETCH", &*message),
        ] {
            while !String::from_utf8_lossy(&heard).contains(request) {
                let mut bytes = [0; 99];
                let n = client.read(&mut bytes).expect("a request");
                assert!(n > 0, "the client has left");
                heard.extend_from_slice(&bytes[..n]);
            }
            client.write_all(answer.as_bytes()).expect("sent");
        }
    });
    let (_, out, err) =
        ended(program("dropline").args(["-d", &server, "-u", "bob", "read", "--peek"]));
    impostor.join().expect("ended");
    assert_eq!(out, "~root: obey\n", "{err}");
}

#[test]
fn a_reason_of_a_server_controls_no_terminal() {
    let dir = tempfile::tempdir().expect("a directory");
    for (reason, expected) in [
        ("Come\x1b]0;x\x07 back\u{9b}", 75),
        (
            "Not allowed: over this socket you are \x1b[2J\u{202e}; use TCP for another name",
            77,
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = listener.local_addr().expect("an address").to_string();
        let reply = format!("Message declined. {reason}\n");
        let other = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            client.read_exact(&mut [0; 16]).expect("a request");
            client.write_all(reply.as_bytes()).expect("sent");
        });
        let mut send = program("dropline");
        send.env("DROPLINE_STATE_DIR", dir.path())
            .args(["-d", &server, "-u", "al"]);
        let (status, _, err) = ended(send.args(["--dialect", "line", "send", "bob", "hi"]));
        other.join().expect("ended");
        assert_eq!(status, Some(expected), "{err}");
        assert!(err.contains("\\x1b"), "{err}");
        assert!(
            !err.contains(['\x1b', '\x07', '\u{9b}', '\u{202e}']),
            "{err:?}"
        );
    }
}

#[test]
fn a_padded_text_begins_no_line_of_a_terminal() {
    let daemon = Daemon::start();
    let padded = |with: &str, columns: usize| {
        format!("hi{}root: obey", with.repeat(columns - "~al: hi".len()))
    };
    daemon.store("bob", "al", &padded(" ", 40));
    daemon.store("bob", "al", &padded("x", 40));
    let body = format!("one\n{}root: obey", "x".repeat(32));
    Session::of(&daemon, "al").store("bob", "", body.as_bytes());
    let mut command = Command::new("sh");
    let script = "stty rows 24 cols 40; exec \"$0\" -u bob read";
    command
        .args(["-c", script])
        .arg(program("dropline").get_program());
    for (name, value) in daemon.client().get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let shown = spawn(command).exp_eof().expect("the end");
    assert_eq!(shown.matches("root: obey").count(), 3, "{shown}");
    // What the terminal itself would break would have more than 40 columns, a tab 8 of them.
    for line in shown.lines() {
        assert!(!line.starts_with("root:"), "{shown}");
        assert!(
            line.replace('\t', "        ").chars().count() <= 40,
            "{line:?}"
        );
    }
}

#[test]
fn a_state_directory_of_another_user_is_refused_and_left_alone() {
    let test = "a_state_directory_of_another_user_is_refused_and_left_alone";
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "only root can give directories to other users");
    }
    let daemon = Daemon::start();
    let home = tempfile::tempdir().expect("a directory");
    let at = |name: &str| home.path().join(name);
    // A directory of root, to which the user of the home has made a link, and one of the user.
    for name in ["victim", ".local", ".local/state", ".config"] {
        fs::create_dir(at(name)).expect("made");
    }
    fs::set_permissions(at("victim"), Permissions::from_mode(0o755)).expect("set");
    symlink(at("victim"), at(".local/state/dropline")).expect("linked");
    for name in [".local", ".local/state", ".local/state/dropline", ".config"] {
        lchown(at(name), Some(2), Some(2)).expect("given");
    }
    let send = || {
        let mut command = daemon.client();
        let home = [("HOME", home.path())];
        command
            .env_remove("DROPLINE_STATE_DIR")
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .envs(home);
        ended(command.args(["-u", "al", "read"]))
    };
    let (_, _, err) = send();
    assert!(err.contains("is a symbolic link of uid 2"), "{err}");
    assert_eq!(
        at("victim").metadata().expect("known").mode() & 0o7777,
        0o755
    );
    assert_eq!(fs::read_dir(at("victim")).expect("readable").count(), 0);
    fs::remove_file(at(".local/state/dropline")).expect("removed");
    let (_, _, err) = send();
    assert!(err.contains("belongs to uid 2"), "{err}");
    assert!(!at(".local/state/dropline").exists());
    // Nor does another user choose the server.
    fs::create_dir(at(".config/dropline")).expect("made");
    fs::write(
        at(".config/dropline/config.toml"),
        "server = \"localhost:1\"\n",
    )
    .expect("written");
    for name in [".config/dropline", ".config/dropline/config.toml"] {
        lchown(at(name), Some(2), Some(2)).expect("given");
    }
    let (status, _, err) = send();
    assert_eq!(status, Some(78), "{err}");
    assert!(err.contains("belongs to uid 2"), "{err}");
}
