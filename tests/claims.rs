//! A login claims its name: whoever acted as it over TCP until then does no more.

use std::io::Read;

use crate::logins::{ask_as, daemon};
use crate::support::frames::{Frames, register};
use crate::support::session::{Session, field};
use crate::support::{Daemon, wait_until};

const DENIED: &str = "ERR denied Not allowed: bin belongs to a login of the server's machine, who uses its socket there";

/// The login makes the name its own.
fn claim(daemon: &Daemon) {
    let reply = ask_as(daemon, "bin", "HELLO dropline/1\nQUIT\n");
    assert!(reply.starts_with("OK dropline/1 name=bin "), "{reply}");
}

#[test]
fn a_session_of_the_name_is_refused_whatever_it_asks_for() {
    let Some(daemon) = daemon("a_session_of_the_name_is_refused") else {
        return;
    };
    daemon.store("bin", "al", "one");
    let mut other = Session::of(&daemon, "bin");
    assert!(other.ask("ONLINE port=9").starts_with("OK lease="));
    let mut reader = Session::of(&daemon, "bin");
    reader.send("FETCH\n");
    assert_eq!(reader.messages().0.len(), 1);
    claim(&daemon);
    // What it was handed before, it may not take away any more, and keeps from nobody.
    assert_eq!(reader.ask("ACK 1"), DENIED);
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\nQUIT\n");
    assert!(read.contains("\none\nEND n=1 "), "{read}");
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
    // One answer for each.
    other.send("SEND al 2\nhi\nSEND al 2\nhi\nWHO max=1\n");
    assert_eq!((other.line(), other.line()), (DENIED.into(), DENIED.into()));
    assert!(other.line().starts_with("USER name=bin online=0 "));
    assert!(other.line().starts_with("END n=1 "));
    assert!(!daemon.spool().join("user").join("al").exists());
    assert!(daemon.ask("fetch;al\n").ends_with("There is no such name"));
    assert_eq!(other.ask("QUIT"), "OK");
    daemon.logged("refused: session of ~bin: 0 sent, 0 handed out, 0 acknowledged, 12 errors; Not allowed: bin belongs");
    // The name stays registered, and what waits stays.
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\nLOOKUP bin\n");
    assert!(
        read.ends_with("END n=1 more=0 waiting=1\nOK name=bin online=0\n"),
        "{read}"
    );
}

#[test]
fn a_lease_is_let_go_by_whatever_is_asked_for_next() {
    let Some(daemon) = daemon("a_lease_is_let_go") else {
        return;
    };
    daemon.store("bin", "al", "one");
    let mut other = Session::of(&daemon, "bin");
    other.send("FETCH\n");
    assert_eq!(other.messages().0.len(), 1);
    claim(&daemon);
    assert!(other.ask("LOOKUP nobody").starts_with("ERR unknown-user"));
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\nQUIT\n");
    assert!(read.contains("\none\nEND n=1 "), "{read}");
}

#[test]
fn a_session_that_says_nothing_keeps_nobody_from_the_mailbox() {
    let Some(daemon) = daemon("a_session_that_says_nothing") else {
        return;
    };
    daemon.store("bin", "al", "one");
    let mut other = Session::of(&daemon, "bin");
    other.send("FETCH\n");
    assert_eq!(other.messages().0.len(), 1);
    // The claim and the fetch at once: it waits for the lease, as long as two seconds.
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\nACK 1\nQUIT\n");
    assert!(read.contains("\none\nEND n=1 "), "{read}");
    assert_eq!(other.ask("ACK 1"), DENIED);
}

#[test]
fn whoever_watches_is_told_at_once_and_gets_nothing_more() {
    let Some(daemon) = daemon("whoever_watches_is_told_at_once") else {
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
    assert_eq!(read.matches("MSG ").count(), 2, "{read}");
}

#[test]
fn whoever_is_online_with_the_name_is_so_no_more() {
    let Some(daemon) = daemon("whoever_is_online_with_the_name_is_so_no_more") else {
        return;
    };
    let mut al = Session::of(&daemon, "al");
    let online = |al: &mut Session| {
        let found = al.ask("LOOKUP bin");
        field(&found, "online").expect("told").to_owned()
    };
    // An old client's lease is one of half a day.
    assert_eq!(register(&daemon, "bin", "127.0.0.1 9"), ["400", "400"]);
    assert_eq!(online(&mut al), "1");
    claim(&daemon);
    assert_eq!(online(&mut al), "0");
    // The login's own stays, whatever it does then.
    let reply = ask_as(&daemon, "bin", "HELLO dropline/1\nONLINE port=9\n");
    let line = format!("\n{}\n", crate::support::session::online(0));
    assert!(reply.contains(&line), "{reply}");
    claim(&daemon);
    assert_eq!(online(&mut al), "1");
    assert_eq!(register(&daemon, "bin", "127.0.0.1 9"), ["401"]);
    assert_eq!(online(&mut al), "1");
}

#[test]
fn whoever_is_in_the_middle_of_registering_does_not_get_through() {
    let Some(daemon) = daemon("whoever_is_in_the_middle_of_registering") else {
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
    assert!(read.contains("\none\nEND n=1 "), "{read}");
    assert!(
        read.contains("ERR unknown-user "),
        "nor is it registered: {read}"
    );
}

#[test]
fn what_somebody_else_has_read_and_not_taken_stays() {
    let Some(daemon) = daemon("what_somebody_else_has_read_and_not_taken_stays") else {
        return;
    };
    daemon.store("bin", "al", "one");
    // One that has the reply, and has not closed the connection.
    let mut line = daemon.say(b"fetch;bin\n");
    line.read_exact(&mut [0; 40]).expect("the reply");
    claim(&daemon);
    drop_read(line);
    daemon.logged("refused: fetch bin: 1 messages stay waiting: Not allowed");
    let read = ask_as(&daemon, "bin", "HELLO dropline/1\nFETCH\n");
    assert!(read.contains("\none\nEND n=1 "), "{read}");
}

/// Reads all that comes, and closes.
fn drop_read(mut stream: std::net::TcpStream) {
    stream.read_to_end(&mut Vec::new()).expect("the end");
}

#[test]
fn whoever_waits_for_the_mailbox_meanwhile_gets_nothing() {
    let Some(daemon) = daemon("whoever_waits_for_the_mailbox_meanwhile") else {
        return;
    };
    daemon.store("bin", "al", "one");
    let mut reader = Session::of(&daemon, "bin");
    reader.send("FETCH\n");
    assert_eq!(reader.messages().0.len(), 1);
    // Both wait for it, two seconds at most.
    let mut other = Session::of(&daemon, "bin");
    other.send("FETCH\n");
    let line = daemon.say(b"fetch;bin\n");
    wait_until("both wait", || daemon.children().len() == 3);
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
fn a_refused_session_is_logged_with_its_name_and_why() {
    let Some(daemon) = daemon("a_refused_session_is_logged") else {
        return;
    };
    claim(&daemon);
    let mut session = Session::over(daemon.connect());
    assert_eq!(session.ask("HELLO dropline/1 name=bin"), DENIED);
    assert!(session.is_over());
    daemon.logged("refused: session of ~bin: Not allowed: bin belongs to a login");
}
