//! Tests of the `[[socket]]` entries: sockets on which every client has one name, for containers.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::logins::{ask_as, ask_at};
use crate::support::others::public_dir;
use crate::support::session::Session;
use crate::support::{Daemon, configure, program, skip, wait_until};

const ACCEPTED: &str = "Message accepted and stored:\n";

/// Returns an entry of the configuration.
fn entry(path: &Path, name: &str) -> String {
    format!(
        "[[socket]]\npath = \"{}\"\nname = \"{name}\"\n",
        path.display()
    )
}

/// Returns a configuration with these entries at its end.
fn config(keys: &str, entries: &[(&Path, &str)]) -> String {
    let entries: String = entries
        .iter()
        .map(|(path, name)| entry(path, name))
        .collect();
    format!("reserve_logins = true\nuser = \"root\"\n{keys}{entries}")
}

/// Makes a directory for the sockets of a container.
fn place(dir: &Path) -> PathBuf {
    let place = dir.join("web");
    fs::create_dir(&place).expect("made");
    place.join("dropline.sock")
}

fn needs_root(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skip(test, "only root can switch to other logins");
    }
    !is_root
}

#[test]
fn every_client_of_a_socket_has_its_name() {
    if needs_root("every_client_of_a_socket_has_its_name") {
        return;
    }
    let dir = public_dir();
    let path = place(dir.path());
    let daemon = Daemon::in_dir(dir, &config("", &[(&path, "web")]), &[]);
    let mode = fs::metadata(&path).expect("made").permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    // Whatever the user is: root, a login, a uid without a login, and that of other user namespaces.
    for user in ["0", "2", "4000000000", "65534"] {
        let reply = ask_at(&path, user, "HELLO dropline/1\nQUIT\n");
        assert!(
            reply.starts_with("OK dropline/1 name=web trust=local "),
            "{user}: {reply}"
        );
        let reply = ask_at(&path, user, "store;ulla;web;from the container\n");
        assert_eq!(reply, ACCEPTED, "{user}");
        for request in ["store;ulla;root;x\n", "fetch;bin\n", "fetch;ulla\n"] {
            let reply = ask_at(&path, user, request);
            assert!(
                reply.contains("Not allowed: over this socket you are web"),
                "{reply}"
            );
        }
    }
    assert_eq!(daemon.fetch("ulla").len(), 4);
    let sent = program("dropline")
        .arg("-d")
        .arg(&path)
        .args(["-u", "web", "send", "ulla", "with the client"])
        .output()
        .expect("run");
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(daemon.fetch("ulla"), ["ulla;web;with the client"]);
    daemon.logged(&format!(") on {} store ulla/4 from web, ", path.display()));
    // The other sockets are as before.
    let reply = ask_as(&daemon, "bin", "HELLO dropline/1\n");
    assert!(reply.starts_with("OK dropline/1 name=bin "), "{reply}");
    let reply = ask_as(&daemon, "bin", "fetch;web\n");
    assert!(reply.contains("over this socket you are bin"), "{reply}");
}

#[test]
fn the_name_of_a_socket_is_closed_to_other_clients() {
    if needs_root("the_name_of_a_socket_is_closed_to_other_clients") {
        return;
    }
    let dir = public_dir();
    let path = place(dir.path());
    let with_entry = config("", &[(&path, "web")]);
    let daemon = Daemon::in_dir(dir, &with_entry, &[]);
    let closed = |daemon: &Daemon| {
        let reply = daemon.ask("fetch;web\n");
        assert!(reply.contains("Not allowed: web belongs to"), "{reply}");
        let mut session = Session::over(daemon.connect());
        let reply = session.ask("HELLO dropline/1 name=web");
        assert!(reply.starts_with("ERR denied "), "{reply}");
    };
    // Before its first use.
    closed(&daemon);
    daemon.store("web", "al", "to the container");
    let read = ask_at(&path, "0", "fetch;web\n");
    assert!(read.contains("\nweb;al;to the container\n"), "{read}");
    // And without the entry, after it was used.
    let daemon = Daemon::in_dir(daemon.kill(), &config("", &[]), &[]);
    closed(&daemon);
}

#[test]
fn a_login_and_the_socket_with_its_name_are_one_owner() {
    if needs_root("a_login_and_the_socket_with_its_name_are_one_owner") {
        return;
    }
    let dir = public_dir();
    let path = place(dir.path());
    let daemon = Daemon::in_dir(dir, &config("", &[(&path, "bin")]), &[]);
    assert_eq!(ask_at(&path, "0", "store;bin;bin;to myself\n"), ACCEPTED);
    let read = ask_as(&daemon, "bin", "fetch;bin\n");
    assert!(read.contains("\nbin;bin;to myself\n"), "{read}");
    // The name of an account that is gone stays that of its owner.
    let claim = "owner 0000004711 01795300000123\n";
    let record = format!(
        "{claim}checksum {:08x}\n",
        crc32fast::hash(claim.as_bytes())
    );
    let user = daemon.spool().join("user");
    let claims = crate::support::files_below(&user).expect("listed");
    let bins = claims.iter().find(|path| path.ends_with(".bin.claim"));
    fs::write(bins.expect("a claim"), record).expect("written");
    let reply = ask_at(&path, "0", "fetch;bin\n");
    assert!(reply.contains("bin has another owner"), "{reply}");
}

#[test]
fn the_socket_is_removed_at_the_end_also_in_the_sandbox() {
    let dir = public_dir();
    let path = place(dir.path());
    let stays = path.with_file_name("other");
    fs::write(&stays, "").expect("written");
    let keys = "sandbox = \"require\"\n";
    let mut daemon = Daemon::in_dir(dir, &config(keys, &[(&path, "web")]), &[]);
    assert!(path.exists());
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success());
    assert!(!path.exists() && stays.exists());
    assert!(!daemon.log().contains("cannot remove"), "{}", daemon.log());
    // The socket of a killed daemon is replaced.
    let dir = daemon.kill();
    let daemon = Daemon::in_dir(dir, &config("", &[(&path, "web")]), &[]);
    let dir = daemon.kill();
    UnixStream::connect(&path).expect_err("no process listens");
    let daemon = Daemon::in_dir(dir, &config("", &[(&path, "web")]), &[]);
    UnixStream::connect(&path).expect("connected");
    // A change of the entries needs a restart.
    configure(daemon.path(), &config("", &[]));
    daemon.signal(Signal::SIGHUP);
    daemon.logged("socket has changed; that takes effect when the daemon is started again");
    UnixStream::connect(&path).expect("as before");
}

/// Runs a daemon that must not start, and returns its messages.
fn refused(dir: &TempDir, entries: &[(&Path, &str)]) -> String {
    let output = program("droplined")
        .args(["-p", "0", "--config"])
        .arg(configure(dir.path(), &config("", entries)))
        .arg("--spool")
        .arg(dir.path().join("spool"))
        .arg("--run-dir")
        .arg(dir.path().join("run"))
        .stdin(Stdio::null())
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn a_socket_that_cannot_be_the_daemons_own_is_refused() {
    if needs_root("a_socket_that_cannot_be_the_daemons_own_is_refused") {
        return;
    }
    let dir = public_dir();
    let path = place(dir.path());
    fs::write(&path, "precious").expect("written");
    let said = refused(&dir, &[(&path, "web")]);
    assert!(
        said.contains("there is a file that is not a socket"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&path).expect("kept"), "precious");
    fs::remove_file(&path).expect("removed");
    let other = UnixListener::bind(&path).expect("bound");
    let said = refused(&dir, &[(&path, "web")]);
    assert!(said.contains("another process listens on it"), "{said}");
    drop(other);
    let place = path.parent().expect("a directory");
    fs::set_permissions(place, Permissions::from_mode(0o777)).expect("set");
    let said = refused(&dir, &[(&path, "web")]);
    assert!(said.contains("others may write there"), "{said}");
    fs::set_permissions(place, Permissions::from_mode(0o755)).expect("set");
    chown(place, Some(2), None).expect("given");
    let said = refused(&dir, &[(&path, "web")]);
    assert!(said.contains("it belongs to uid 2"), "{said}");
    chown(place, Some(0), None).expect("given");
    // The same file by two paths.
    fs::create_dir(dir.path().join("up")).expect("made");
    symlink("..", dir.path().join("up/link")).expect("linked");
    let own = dir.path().join("up/link/run/dropline.sock");
    let said = refused(&dir, &[(&own, "web")]);
    assert!(said.contains("it is the same as"), "{said}");
    let twice = dir.path().join("up/link/web/dropline.sock");
    let said = refused(&dir, &[(&path, "web"), (&twice, "other")]);
    assert!(said.contains("it is the same as"), "{said}");
    assert!(!path.exists(), "what was bound is removed");
    let missing = dir.path().join("missing/dropline.sock");
    let said = refused(&dir, &[(&missing, "web")]);
    assert!(
        said.contains("its directory cannot be used: No such file"),
        "{said}"
    );
}

#[test]
fn the_check_finds_wrong_entries() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |entries: &str| {
        let output = program("droplined")
            .args(["--check", "--run-dir", "/run/x", "--config"])
            .arg(configure(dir.path(), entries))
            .output()
            .expect("run");
        let said = String::from_utf8(output.stderr).expect("text");
        (output.status.code(), said)
    };
    let good = entry(Path::new("/run/x/web.sock"), "web");
    // Entries end the table of the other keys, which the tests append.
    let keys = "user = \"\"\nreserve_logins = true\n";
    let (status, said) = check(&format!("{keys}{good}"));
    assert_eq!(status, Some(0), "{said}");
    for (wrong, why) in [
        (
            format!("{good}{good}"),
            "path of a [[socket]]: /run/x/web.sock is in two entries",
        ),
        (
            entry(Path::new("web.sock"), "web"),
            "path of a [[socket]]: \"web.sock\" is not an",
        ),
        (
            entry(Path::new("/web.sock"), "a b"),
            "name of a [[socket]]: \"a b\" is not a name",
        ),
        (
            entry(Path::new("/run/x/dropline.sock"), "web"),
            "path of a [[socket]]: /run/x/dropline.sock is the socket of the daemon",
        ),
    ] {
        let (status, said) = check(&format!("{keys}{wrong}"));
        assert_eq!(status, Some(78), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn root_of_a_container_has_none_of_roots_places() {
    if needs_root("root_of_a_container_has_none_of_roots_places") {
        return;
    }
    let dir = public_dir();
    let path = place(dir.path());
    let keys = "max_children = 1\nsocket_children = 8\nroot_children = 1\n";
    let daemon = Daemon::in_dir(dir, &config(keys, &[(&path, "web")]), &[]);
    // A quarter of socket_children. A silent connection would have to yield to the next one.
    let connect = || {
        let mut stream = UnixStream::connect(&path).expect("connected");
        // A refusal can close the connection before this.
        let _ = stream.write_all(b"HELLO dropline/1\n");
        let mut reply = [0; 2];
        stream.read_exact(&mut reply).expect("a reply");
        (stream, reply)
    };
    let held: Vec<_> = (0..3).map(|_| connect()).collect();
    assert_eq!(held.iter().filter(|(_, reply)| reply == b"OK").count(), 2);
    daemon.logged("is refused: it has as many connections as children_per_source allows");
    wait_until("the others are served", || daemon.children().len() == 2);
    let reply = ask_as(&daemon, "root", "HELLO dropline/1\nQUIT\n");
    assert!(reply.starts_with("OK dropline/1 name=root "), "{reply}");
    drop(held);
}
