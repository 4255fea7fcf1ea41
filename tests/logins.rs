//! Tests of the Unix socket: the login of a client, and claimed names. They use logins that every Debian system has.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::frames::register;
use crate::support::others::public_dir;
use crate::support::session::Session;
use crate::support::{Daemon, PATIENCE, skip};

/// Starts a daemon whose socket other logins can reach. `None`, with a reported skip, unless run by root.
pub(crate) fn daemon(test: &str) -> Option<Daemon> {
    if !nix::unistd::geteuid().is_root() {
        skip(test, "only root can switch to other logins");
        return None;
    }
    Some(Daemon::in_dir(public_dir(), "", &[]))
}

/// Sends a request over the socket under this login and returns the reply.
pub(crate) fn ask_as(daemon: &Daemon, user: &str, request: &str) -> String {
    ask_at(&daemon.path().join("run/dropline.sock"), user, request)
}

/// Sends a request over the socket at this path under this login and returns the reply.
pub(crate) fn ask_at(socket: &Path, user: &str, request: &str) -> String {
    let mut nc = Command::new("setpriv")
        .args([
            "--reuid",
            user,
            "--regid",
            "nogroup",
            "--clear-groups",
            "nc",
            "-NU",
        ])
        .arg(socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("setpriv and nc");
    let mut stdin = nc.stdin.take().expect("a pipe");
    stdin.write_all(request.as_bytes()).expect("written");
    drop(stdin);
    let output = nc.wait_with_output().expect("run");
    String::from_utf8(output.stdout).expect("text")
}

const ACCEPTED: &str = "Message accepted and stored:\n";

#[test]
fn a_socket_client_acts_under_its_login() {
    let Some(daemon) = daemon("a_socket_client_acts_under_its_login") else {
        return;
    };
    assert_eq!(
        ask_as(&daemon, "bin", "store;games;bin;from bin\n"),
        ACCEPTED
    );
    let denied =
        "Message declined. Not allowed: over this socket you are bin; use TCP for another name\n";
    assert_eq!(ask_as(&daemon, "bin", "store;games;games;not me\n"), denied);
    assert_eq!(ask_as(&daemon, "bin", "fetch;games\n"), denied);
    let hello = "HELLO dropline/1\nSEND games 4\nhi!!\nFETCH\nQUIT\n";
    let reply = ask_as(&daemon, "bin", hello);
    assert!(
        reply.starts_with("OK dropline/1 name=bin trust=local "),
        "{reply}"
    );
    assert!(reply.contains(" to=games seq=2\nEND n=0 "), "{reply}");
    let reply = ask_as(&daemon, "bin", "HELLO dropline/1 name=games\n");
    assert!(reply.starts_with("ERR denied "), "{reply}");
    let got = ask_as(
        &daemon,
        "games",
        "HELLO dropline/1 name=games\nFETCH\nACK 2\nQUIT\n",
    );
    assert_eq!(got.matches("from=bin trust=local").count(), 2, "{got}");
    daemon.logged("uid 2 (process ");
    daemon.logged("store games/1 from bin, 8 bytes: accepted");
    // Root may use any name. Its use claims no name.
    assert_eq!(
        ask_as(&daemon, "root", "store;bin;cron;backup done\n"),
        ACCEPTED
    );
    daemon.store("bin", "cron", "cron is not claimed");
    let got = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\nACK 2\n");
    assert!(
        got.contains("from=cron trust=local") && got.contains("from=cron trust=open"),
        "{got}"
    );
}

#[test]
fn a_name_is_claimed_by_its_first_use_over_the_socket() {
    let test = "a_name_is_claimed_by_its_first_use_over_the_socket";
    let Some(daemon) = daemon(test) else {
        return;
    };
    // Until the claim, TCP clients may use the name.
    daemon.store("games", "bin", "from a TCP client");
    assert_eq!(
        register(&daemon, "games", "127.0.0.1 9"),
        ["402", "406", "bin (msg offline)>\nfrom a TCP client\n"]
    );
    assert_eq!(
        ask_as(&daemon, "bin", "fetch;bin\n"),
        "Retrieving messages...\nThere is no such name"
    );
    let declined = "Message declined. Not allowed: bin belongs to a login of the server's machine, who uses its socket there\n";
    let claimed = |daemon: &Daemon| {
        assert_eq!(daemon.ask("store;games;bin;not bin\n"), declined);
        assert_eq!(daemon.ask("fetch;bin\n"), declined);
        daemon.store("bin", "al", "to bin");
        let mut session = Session::over(daemon.connect());
        assert!(
            session
                .ask("HELLO dropline/1 name=bin")
                .starts_with("ERR denied Not allowed: bin belongs")
        );
        assert_eq!(register(daemon, "bin", "127.0.0.1 9"), ["401"]);
    };
    claimed(&daemon);
    let daemon = Daemon::in_dir(daemon.kill(), "", &[]);
    claimed(&daemon);
    let got = ask_as(&daemon, "bin", "fetch;bin\n");
    assert_eq!(got.matches("bin;al;to bin\n").count(), 2, "{got}");
    // An operator can release the name.
    let release = |name: &str| {
        let done = crate::support::program("droplinectl")
            .arg("--spool")
            .arg(daemon.spool())
            .args(["release", name])
            .output()
            .expect("run");
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stderr).into_owned(),
        )
    };
    let (status, said) = release("bin");
    assert_eq!(status, Some(0));
    assert!(said.contains("set the messages of bin aside in "), "{said}");
    assert_eq!(release("bin").0, Some(67));
    daemon.store("games", "bin", "released");
}

#[test]
fn messages_read_over_the_socket_count_as_delivered_after_the_read() {
    let daemon = Daemon::start();
    let login = nix::unistd::User::from_uid(nix::unistd::geteuid());
    let Some(login) = login.expect("looked up").map(|user| user.name) else {
        skip("messages_read_over_the_socket", "this uid has no login");
        return;
    };
    let connect = |request: String| {
        let mut stream =
            UnixStream::connect(daemon.path().join("run/dropline.sock")).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    };
    daemon.store(&login, "al", &"x".repeat(60_000));
    // A client that dies with the reply unread has not received it.
    let mut dies = connect(format!("fetch;{login}\n"));
    dies.read_exact(&mut [0; 100]).expect("a part");
    drop(dies);
    // The child notices during the write or after it.
    daemon.logged("not delivered");
    let mut reads = connect(format!("fetch;{login}\n"));
    reads.shutdown(Shutdown::Write).expect("half-closed");
    let mut reply = String::new();
    reads.read_to_string(&mut reply).expect("a reply");
    assert!(reply.ends_with("NO MORE MESSAGES") && reply.len() > 60_000);
    drop(reads);
    daemon.logged("1 messages delivered");
}

#[test]
fn the_socket_is_made_at_the_start_and_removed_at_the_exit() {
    let daemon = Daemon::start();
    let socket = daemon.path().join("run/dropline.sock");
    assert_eq!(
        fs::metadata(&socket).expect("there").permissions().mode() & 0o777,
        0o666
    );
    // The stale socket of a killed daemon is replaced.
    let dir = daemon.kill();
    assert!(socket.exists());
    let mut daemon = Daemon::in_dir(dir, "", &[]);
    UnixStream::connect(&socket).expect("connected");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.ended().success());
    assert!(!socket.exists());
}
