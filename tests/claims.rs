//! A login claims its name: TCP clients that used the name until then are refused.

use std::fs;
use std::io::Read;

use crate::logins::{ask_as, daemon};
use crate::support::frames::{Frames, register};
use crate::support::session::{Session, field};
use crate::support::{Daemon, wait_until};

const DENIED: &str = "ERR denied Not allowed: bin belongs to a login of the server's machine, who uses its socket there";

/// Claims the name for the login.
fn claim(daemon: &Daemon) {
    let reply = ask_as(daemon, "bin", "HELLO dropline/1\nQUIT\n");
    assert!(reply.starts_with("OK dropline/1 name=bin "), "{reply}");
}

#[test]
fn a_claim_denies_all_further_requests_of_a_session() {
    let Some(daemon) = daemon("a_claim_denies_all_further_requests_of_a_session") else {
        return;
    };
    daemon.store("bin", "al", "one");
    let mut other = Session::of(&daemon, "bin");
    assert!(other.ask("ONLINE port=9").starts_with("OK lease="));
    let mut reader = Session::of(&daemon, "bin");
    reader.send("FETCH\n");
    assert_eq!(reader.messages().0.len(), 1);
    claim(&daemon);
    // The session can no longer acknowledge the messages that it fetched, and its lease ends.
    assert_eq!(reader.ask("ACK 1"), DENIED);
    // A client other than the login has registered the name, so that its messages are set aside.
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\nQUIT\n");
    assert!(read.contains("\nEND n=0 more=0 waiting=0\n"), "{read}");
    daemon.store("bin", "al", "two");
    for request in [
        "FETCH",
        "FETCH peek=1",
        "ACK 1",
        "WATCH",
        "HISTORY",
        "STATUS to=bin seq=1",
        "ONLINE port=9",
        "RENEW",
        "OFFLINE",
        "DEREGISTER",
    ] {
        assert_eq!(other.ask(request), DENIED, "{request}");
    }
    // Pipelined requests: each has an answer.
    other.send("SEND al 2\nhi\nSEND al 2\nhi\nWHO max=1\n");
    assert_eq!([other.line(), other.line(), other.line()], [DENIED; 3]);
    assert!(!daemon.spool().join("user").join("al").exists());
    assert!(daemon.ask("fetch;al\n").ends_with("There is no such name"));
    assert_eq!(other.ask("QUIT"), "OK");
    daemon.logged("refused: session of ~bin: 0 sent, 0 handed out, 0 acknowledged, 13 errors; Not allowed: bin belongs");
    // The messages of the login stay waiting.
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\nLOOKUP bin\n");
    assert!(
        read.contains("END n=1 more=0 waiting=1\nERR unknown-user "),
        "{read}"
    );
}

#[test]
fn a_claim_ends_a_lease_at_the_next_request() {
    let Some(daemon) = daemon("a_claim_ends_a_lease_at_the_next_request") else {
        return;
    };
    daemon.store("bin", "al", "one");
    let mut other = Session::of(&daemon, "bin");
    other.send("FETCH\n");
    assert_eq!(other.messages().0.len(), 1);
    claim(&daemon);
    assert_eq!(other.ask("LOOKUP al"), DENIED);
    daemon.store("bin", "al", "two");
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\nQUIT\n");
    assert!(read.contains("\ntwo\nEND n=1 "), "{read}");
}

#[test]
fn a_claim_ends_the_lease_of_a_silent_session() {
    let Some(daemon) = daemon("a_claim_ends_the_lease_of_a_silent_session") else {
        return;
    };
    daemon.store("bin", "al", "one");
    let mut other = Session::of(&daemon, "bin");
    other.send("FETCH\n");
    assert_eq!(other.messages().0.len(), 1);
    // Claim, send and fetch at once. The message that the other client has seen is set aside.
    let requests = "HELLO dropline/1\nSEND bin 3\ntwo\nFETCH\nACK 2\nQUIT\n";
    let read = ask_as(&daemon, "bin", requests);
    assert!(read.contains("\ntwo\nEND n=1 "), "{read}");
    assert_eq!(other.ask("ACK 1"), DENIED);
}

#[test]
fn a_claim_ends_a_watch_at_once() {
    let Some(daemon) = daemon("a_claim_ends_a_watch_at_once") else {
        return;
    };
    daemon.store("bin", "al", "one");
    let mut other = Session::of(&daemon, "bin");
    other.send("WATCH\n");
    assert_eq!(other.message().1, b"one");
    claim(&daemon);
    daemon.store("bin", "al", "for bin alone");
    assert_eq!(other.line(), DENIED);
    assert!(other.is_over());
    daemon.logged(
        "refused: session of ~bin: 0 sent, 1 handed out, 0 acknowledged, 1 errors; Not allowed",
    );
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\nACK 2\nQUIT\n");
    assert_eq!(read.matches("MSG ").count(), 1, "{read}");
}

#[test]
fn a_claim_takes_a_tcp_client_offline() {
    let Some(daemon) = daemon("a_claim_takes_a_tcp_client_offline") else {
        return;
    };
    let mut al = Session::of(&daemon, "al");
    let online = |al: &mut Session| {
        let found = al.ask("LOOKUP bin");
        field(&found, "online").map(str::to_owned)
    };
    // The lease of a legacy client lasts half a day.
    assert_eq!(register(&daemon, "bin", "127.0.0.1 9"), ["400", "400"]);
    assert_eq!(online(&mut al).as_deref(), Some("1"));
    claim(&daemon);
    assert_eq!(online(&mut al), None, "its registration has ended as well");
    // The presence of the login itself survives further claims.
    let reply = ask_as(&daemon, "bin", "HELLO dropline/1\nONLINE port=9\n");
    let line = format!("\n{}\n", crate::support::session::online(1));
    assert!(reply.contains(&line), "{reply}");
    claim(&daemon);
    assert_eq!(online(&mut al).as_deref(), Some("1"));
    assert_eq!(register(&daemon, "bin", "127.0.0.1 9"), ["401"]);
    assert_eq!(online(&mut al).as_deref(), Some("1"));
}

#[test]
fn a_claim_refuses_a_registration_in_progress() {
    let Some(daemon) = daemon("a_claim_refuses_a_registration_in_progress") else {
        return;
    };
    daemon.store("bin", "al", "one");
    let mut other = Frames::say(&daemon, &["!register", "bin"]);
    assert_eq!(other.frame(), "402");
    claim(&daemon);
    other.send(b"127.0.0.1 9");
    other.end();
    daemon.logged("refused: register bin: Not allowed: bin belongs to a login");
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\nLOOKUP bin\n");
    // The other client has learned that messages wait.
    assert!(read.contains("\nEND n=0 "), "{read}");
    assert!(
        read.contains("ERR unknown-user "),
        "the name was registered: {read}"
    );
}

#[test]
fn a_claim_sets_messages_aside_that_another_client_has_received() {
    let test = "a_claim_sets_messages_aside_that_another_client_has_received";
    let Some(daemon) = daemon(test) else {
        return;
    };
    daemon.store("bin", "al", "one");
    // A client that has the reply and has not closed the connection yet.
    let mut line = daemon.say(b"fetch;bin\n");
    line.read_exact(&mut [0; 40]).expect("the reply");
    claim(&daemon);
    drop_read(line);
    daemon.logged("refused: fetch bin: 1 messages are not acknowledged: Not allowed");
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\n");
    assert!(read.contains("\nEND n=0 "), "{read}");
    assert_eq!(set_aside(&daemon), ["bin", "1"]);
}

/// Reads to the end and closes.
fn drop_read(mut stream: std::net::TcpStream) {
    stream.read_to_end(&mut Vec::new()).expect("the end");
}

#[test]
fn a_claim_refuses_readers_that_wait_for_the_mailbox() {
    let Some(daemon) = daemon("a_claim_refuses_readers_that_wait_for_the_mailbox") else {
        return;
    };
    daemon.store("bin", "al", "one");
    let mut reader = Session::of(&daemon, "bin");
    reader.send("FETCH\n");
    assert_eq!(reader.messages().0.len(), 1);
    // Both readers wait for the lease, two seconds at most.
    let mut other = Session::of(&daemon, "bin");
    other.send("FETCH\n");
    let line = daemon.say(b"fetch;bin\n");
    wait_until("both readers wait", || daemon.children().len() == 3);
    claim(&daemon);
    drop(reader);
    assert_eq!(other.line(), DENIED);
    let reply = crate::support::listen(line);
    assert!(
        reply.starts_with("Message declined. Not allowed: bin belongs"),
        "{reply}"
    );
}

#[test]
fn a_claim_refuses_an_acknowledgement_that_waits_for_the_mailbox() {
    let Some(daemon) = daemon("a_claim_refuses_an_acknowledgement_that_waits_for_the_mailbox")
    else {
        return;
    };
    daemon.store("bin", "al", "one");
    let mut reader = Session::of(&daemon, "bin");
    reader.send("FETCH\n");
    assert_eq!(reader.messages().0.len(), 1);
    let mut other = Session::of(&daemon, "bin");
    other.send("FETCH peek=1\n");
    assert_eq!(other.messages().0.len(), 1);
    // It waits for the lease, two seconds at most.
    other.send("ACK 1\n");
    wait_until("both sessions have opened the mailbox", || {
        let children = daemon.children().into_iter();
        children.filter(|pid| has_open(pid, "/bin")).count() == 2
    });
    claim(&daemon);
    drop(reader);
    assert_eq!(other.line(), DENIED);
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\n");
    assert!(read.contains("\nEND n=0 "), "{read}");
    // The message was set aside, and not acknowledged before.
    assert_eq!(set_aside(&daemon), ["bin", "1"]);
}

/// Returns the name and the number of waiting messages of the mailbox that was set aside.
fn set_aside(daemon: &Daemon) -> [String; 2] {
    let list = crate::support::operator_on(daemon, &["release", "--list"]);
    let list = String::from_utf8(list.stdout).expect("text");
    let fields: Vec<_> = list.trim_end().split('\t').collect();
    [0, 2].map(|at| fields[at].to_owned())
}

/// Returns whether a process has a file open whose path ends like this.
fn has_open(pid: &str, path: &str) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let mut targets = open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    targets.any(|target| target.to_string_lossy().ends_with(path))
}

#[test]
fn a_refused_session_is_logged_with_its_name_and_the_reason() {
    let Some(daemon) = daemon("a_refused_session_is_logged_with_its_name_and_the_reason") else {
        return;
    };
    claim(&daemon);
    let mut session = Session::over(daemon.connect());
    assert_eq!(session.ask("HELLO dropline/1 name=bin"), DENIED);
    assert!(session.is_over());
    daemon.logged("refused: session of ~bin: Not allowed: bin belongs to a login");
}
