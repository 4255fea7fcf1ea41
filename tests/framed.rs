//! Tests of the framed dialect, frame by frame as the legacy chat client sends it.

use std::io::Write;
use std::sync::Barrier;

use crate::support::frames::{Frames, register};
use crate::support::session::{Session, online};
use crate::support::{Daemon, listen, skip, wait_until};

const HERE: &str = "127.0.0.1 8283";

fn who(daemon: &Daemon) -> String {
    let mut client = Frames::say(daemon, &["!who"]);
    let list = client.frame();
    client.end();
    list
}

fn quit(daemon: &Daemon, name: &str) {
    Frames::say(daemon, &["!quit", name]).end();
}

/// Looks up `to`, and stores the message if the user is offline. Returns the answers.
fn send(daemon: &Daemon, to: &str, message: &str) -> Vec<String> {
    let mut client = Frames::say(daemon, &["!send", to]);
    let mut answers = vec![client.frame()];
    match answers[0].as_str() {
        "404" => answers.push(client.frame()),
        "405" => client.send(message.as_bytes()),
        _ => {}
    }
    client.end();
    answers
}

#[test]
fn names_are_registered_released_and_deregistered() {
    let daemon = Daemon::start();
    assert_eq!(who(&daemon), "There is no registered client\n");
    assert_eq!(register(&daemon, "alice", HERE), ["400", "400"]);
    assert_eq!(register(&daemon, "alice", HERE), ["401"]);
    assert_eq!(register(&daemon, "bob", "127.0.0.1 9000"), ["400", "400"]);
    quit(&daemon, "bob");
    let list = "Client Status List:\nalice (online)\nbob (offline)\n";
    assert_eq!(who(&daemon), list);
    assert_eq!(send(&daemon, "alice", ""), ["404", HERE]);
    assert_eq!(send(&daemon, "carol", ""), ["403"]);
    assert_eq!(send(&daemon, "../x", ""), ["403"]);
    let text = "alice (msg offline)>\nhello bob\n";
    assert_eq!(send(&daemon, "bob", text), ["405"]);
    assert_eq!(
        register(&daemon, "bob", HERE),
        ["402", "406", "alice (msg offline)>\nhello bob\n"]
    );
    daemon.logged("register bob at 127.0.0.1:8283: 1 messages delivered");
    quit(&daemon, "bob");
    assert_eq!(register(&daemon, "bob", HERE), ["402", "407"]);
    Frames::say(&daemon, &["!deregister", "alice"]).end();
    assert_eq!(who(&daemon), "Client Status List:\nbob (online)\n");
    assert_eq!(send(&daemon, "alice", ""), ["403"]);
    assert_eq!(register(&daemon, "alice", HERE), ["400", "400"]);
}

#[test]
fn accepts_both_byte_orders_and_answers_in_the_same() {
    let daemon = Daemon::start();
    let list = b"There is no registered client\n";
    for (ask, length) in [
        (&b"\x00\x05\x00\x00!who\0"[..], &b"\x00\x1f\x00\x00"[..]),
        (b"\x00\x00\x00\x05!who\0", b"\x00\x00\x00\x1f"),
    ] {
        let reply = listen(daemon.say(ask));
        assert_eq!(reply.as_bytes(), [length, list, b"\0"].concat());
    }
    let mut big = Frames::on(&daemon, &["!register", "alice"], true);
    assert_eq!(big.frame(), "400");
    big.send(HERE.as_bytes());
    assert_eq!(big.frame(), "400");
    big.end();
    // A request may arrive byte by byte.
    let mut slow = daemon.connect();
    slow.set_nodelay(true).expect("set");
    for byte in b"\x00\x06\x00\x00!send\0\x00\x06\x00\x00alice\0" {
        slow.write_all(&[*byte]).expect("sent");
    }
    let expected = b"\x00\x04\x00\x00404\0\x00\x0f\x00\x00127.0.0.1 8283\0";
    assert_eq!(listen(slow).as_bytes(), expected);
}

#[test]
fn one_of_many_concurrent_registrations_succeeds() {
    let daemon = Daemon::start();
    for round in 0..5 {
        let name = format!("name{round}");
        let barrier = Barrier::new(8);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let one = |port: u16| {
                let (daemon, barrier, name) = (&daemon, &barrier, &name);
                move || {
                    barrier.wait();
                    register(daemon, name, &format!("127.0.0.1 {port}"))
                }
            };
            let all: Vec<_> = (1..=8).map(|port| scope.spawn(one(port))).collect();
            all.into_iter()
                .map(|one| one.join().expect("done"))
                .collect()
        });
        let winners: Vec<_> = (1..)
            .zip(&answers)
            .filter(|(_, answers)| answers[0] == "400")
            .collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        let address = format!("127.0.0.1 {}", winners[0].0);
        assert_eq!(send(&daemon, &name, ""), ["404", &address]);
        let losers = answers.iter().filter(|answers| **answers == ["401"]);
        assert_eq!(losers.count(), 7, "{answers:?}");
    }
}

#[test]
fn an_abandoned_registration_frees_the_name() {
    let daemon = Daemon::start();
    let mut client = Frames::say(&daemon, &["!register", "alice"]);
    assert_eq!(client.frame(), "400");
    assert_eq!(
        register(&daemon, "alice", HERE),
        ["401"],
        "the name must be reserved"
    );
    assert_eq!(who(&daemon), "There is no registered client\n");
    client.kill();
    wait_until("the name is free", || {
        register(&daemon, "alice", HERE) == ["400", "400"]
    });
}

#[test]
fn invalid_addresses_and_names_are_refused() {
    let daemon = Daemon::start();
    for wrong in ["::1 8283", "127.0.0.1", "127.0.0.1 0", "somewhere 1"] {
        let mut client = Frames::say(&daemon, &["!register", "alice"]);
        assert_eq!(client.frame(), "400");
        client.send(wrong.as_bytes());
        client.end();
        assert_eq!(who(&daemon), "There is no registered client\n", "{wrong}");
    }
    for wrong in ["al", "a.lice", "x234567890123456", "a b c", "", "-abc"] {
        let mut client = Frames::say(&daemon, &["!register", wrong]);
        assert_eq!(client.frame(), "401", "{wrong}");
        client.end();
    }
    daemon.logged("refused: register: the name is not 3 to 15 bytes");
}

#[test]
fn an_invalid_frame_ends_only_its_connection() {
    let daemon = Daemon::start();
    for wrong in [
        &b"\0\0\0\0"[..],
        b"\0\xff\xff\0",
        b"\x00\x05\x00\x00!whoX",
        b"\x00\x05\x00\x00!wha\0",
        b"\x00\x06\x00\x00!quit\0\x00\x00\x00\x03al\0",
        b"\x00\x06\x00\x00!quit\0\x00\x04\x00\x00a/b\0",
    ] {
        assert_eq!(listen(daemon.say(wrong)), "", "{wrong:?}");
    }
    assert_eq!(who(&daemon), "There is no registered client\n");
}

#[test]
fn messages_cross_the_dialects_in_all_directions() {
    let daemon = Daemon::start();
    assert_eq!(register(&daemon, "alice", HERE), ["400", "400"]);
    quit(&daemon, "alice");
    let mut bob = Session::of(&daemon, "bob");
    // To a framed client.
    daemon.store("alice", "nc", "from the line");
    assert!(
        bob.store("alice", "", b"from a session\nof two lines")
            .starts_with("OK ")
    );
    assert_eq!(
        send(&daemon, "alice", "carol (msg offline)>\nfrom a frame\n"),
        ["405"]
    );
    let queue = "nc (msg offline)>\nfrom the line\n\
                 bob (msg offline)>\nfrom a session\nof two lines\n\
                 carol (msg offline)>\nfrom a frame\n";
    assert_eq!(register(&daemon, "alice", HERE), ["402", "406", queue]);
    quit(&daemon, "alice");
    // From a framed client to the other dialects.
    for text in ["one", "two"] {
        let text = format!("carol (msg offline)>\n{text}\n");
        assert_eq!(send(&daemon, "alice", &text), ["405"]);
    }
    assert_eq!(
        daemon.fetch("alice"),
        ["alice;carol;one", "alice;carol;two"]
    );
    assert_eq!(send(&daemon, "alice", "no header"), ["405"]);
    assert_eq!(
        Session::of(&daemon, "alice").read_all(),
        [("unknown".to_owned(), "no header".to_owned())]
    );
    // A message read in one dialect is read in all.
    assert_eq!(register(&daemon, "alice", HERE), ["402", "407"]);
}

#[test]
fn the_first_registration_delivers_waiting_messages() {
    let daemon = Daemon::start();
    daemon.store("dave", "al", "early");
    let queue = "al (msg offline)>\nearly\n";
    assert_eq!(register(&daemon, "dave", HERE), ["402", "406", queue]);
    assert_eq!(who(&daemon), "Client Status List:\ndave (online)\n");
}

#[test]
fn a_queue_longer_than_a_frame_is_split_between_messages() {
    let daemon = Daemon::start();
    let bodies: Vec<String> = (0..8).map(|n| n.to_string().repeat(20_000)).collect();
    for body in &bodies {
        daemon.store("bob", "al", body);
    }
    let mut got = Vec::new();
    while got.len() < bodies.len() {
        let answers = register(&daemon, "bob", HERE);
        assert_eq!(answers[..2], ["402", "406"]);
        assert!(answers[2].len() <= 65_534);
        got.extend(
            answers[2]
                .split("al (msg offline)>\n")
                .skip(1)
                .map(|body| body.trim_end().to_owned()),
        );
        quit(&daemon, "bob");
    }
    assert_eq!(got, bodies);
    // A message that is too long for a frame stays waiting. A notice is sent in its place.
    daemon.store("bob", "al", &"x".repeat(65_536));
    daemon.store("bob", "al", "short");
    let answers = register(&daemon, "bob", HERE);
    assert!(
        answers[2].starts_with("al (msg offline)>\nA message of 65536 bytes waits"),
        "{answers:?}"
    );
    assert_eq!(daemon.fetch("bob").len(), 2);
}

#[test]
fn messages_stay_waiting_if_the_client_dies_before_it_reads() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", &"x".repeat(60_000));
    let mut client = Frames::say(&daemon, &["!register", "bob"]);
    assert_eq!(client.frame(), "402");
    client.send(HERE.as_bytes());
    assert_eq!(client.frame(), "406");
    client.kill();
    daemon.logged("1 messages not delivered, they stay waiting");
    quit(&daemon, "bob");
    let answers = register(&daemon, "bob", HERE);
    assert_eq!(answers[1], "406");
    assert!(answers[2].len() > 60_000);
}

#[test]
fn an_address_that_the_client_cannot_reach_is_withheld() {
    let daemon = Daemon::start();
    let mut bob = Session::of(&daemon, "bob");
    assert_eq!(bob.ask("ONLINE port=7000"), online(1));
    assert_eq!(send(&daemon, "bob", ""), ["404", "127.0.0.1 7000"]);
    // An IPv4 client cannot send to an IPv6 address, so the server stores the message.
    let Ok(six) = std::net::TcpStream::connect(("::1", daemon.port)) else {
        return skip(
            "an_address_that_the_client_cannot_reach_is_withheld",
            "this machine has no IPv6",
        );
    };
    let mut six = Session::over(six);
    let secret = "5a".repeat(32);
    let online_here = format!("ONLINE port=7000 secret={secret}");
    six.send(format!(
        "HELLO dropline/1 name=sid\n{online_here}\nLOOKUP bob\nLOOKUP sid\n"
    ));
    let lines: Vec<_> = (0..4).map(|_| six.line()).collect();
    assert_eq!(lines[1], online(1));
    assert_eq!(lines[2], "OK name=bob online=0");
    let place = "OK name=sid online=1 addr=::1 port=7000 speaks=sealed nonce=";
    assert!(lines[3].starts_with(place), "{}", lines[3]);
    assert_eq!(send(&daemon, "sid", "al (msg offline)>\nkept\n"), ["405"]);
    assert_eq!(daemon.fetch("sid"), ["sid;al;kept"]);
}

#[test]
fn registrations_survive_a_restart_and_so_does_presence() {
    let daemon = Daemon::start();
    assert_eq!(register(&daemon, "alice", HERE), ["400", "400"]);
    assert_eq!(register(&daemon, "bob", HERE), ["400", "400"]);
    quit(&daemon, "bob");
    let daemon = Daemon::in_dir(daemon.kill(), "", &[]);
    let list = "Client Status List:\nalice (online)\nbob (offline)\n";
    assert_eq!(who(&daemon), list);
    // A reboot empties the run directory.
    let dir = daemon.kill();
    std::fs::remove_dir_all(dir.path().join("run")).expect("removed");
    let daemon = Daemon::in_dir(dir, "", &[]);
    let list = "Client Status List:\nalice (offline)\nbob (offline)\n";
    assert_eq!(who(&daemon), list);
}

#[test]
fn a_lease_expires() {
    let daemon = Daemon::with("lease = 5\n", &[]);
    let mut session = Session::over(daemon.connect());
    session.send("HELLO dropline/1 name=bob\nONLINE port=1\nLOOKUP bob\n");
    let lines: Vec<_> = (0..3).map(|_| session.line()).collect();
    assert_eq!(lines[1], "OK lease=5 new=1");
    assert!(lines[2].contains("online=1"));
    wait_until("bob is offline", || {
        session.ask("LOOKUP bob") == "OK name=bob online=0"
    });
    assert_eq!(session.ask("RENEW").split(' ').nth(1), Some("unknown-user"));
    assert_eq!(who(&daemon), "Client Status List:\nbob (offline)\n");
}
