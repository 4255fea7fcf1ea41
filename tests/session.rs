//! Tests of the session dialect with raw bytes.

use std::io::Write;
use std::net::Shutdown;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::session::{Session, field, number, online};
use crate::support::{Daemon, configure, default_of, listen, report, wait_until};

const ID: &str = "9f86d081884c7d659a2feaa0c55ad015";

#[test]
fn the_exchange_of_the_specification() {
    let daemon = Daemon::start();
    let mut alice = Session::of(&daemon, "alice");
    let reply = alice.store("bob", &format!(" id={ID} ttl=3600"), b"hello");
    assert_eq!(reply, format!("OK id={ID} to=bob seq=1"));
    let mut bob = Session::of(&daemon, "bob");
    bob.send("FETCH max=100\n");
    let (line, body) = bob.message();
    let at = field(&line, "at").expect("a time");
    let expected = format!("MSG seq=1 id={ID} from=alice trust=open at={at} len=5");
    assert_eq!((line, body), (expected, b"hello".to_vec()));
    assert_eq!(bob.line(), "END n=1 more=0 waiting=1");
    assert_eq!(bob.ask("ACK 1"), "OK");
    assert_eq!(bob.ask("FETCH"), "END n=0 more=0 waiting=0");
    assert_eq!(bob.ask("QUIT"), "OK");
    assert!(bob.is_over());
    daemon.logged("session of ~bob: 0 sent, 1 handed out, 1 acknowledged, 0 errors");
}

#[test]
fn pipelined_messages_may_go_to_any_number_of_mailboxes() {
    // More mailboxes than a child can have open files.
    const MANY: usize = 500;
    let daemon = Daemon::start();
    let mut session = Session::of(&daemon, "alice");
    for round in 1..=2 {
        let requests: Vec<_> = (0..MANY).map(|n| format!("SEND n{n} 2\nhi\n")).collect();
        session.send(requests.concat());
        for n in 0..MANY {
            let answer = session.line();
            let end = format!(" to=n{n} seq={round}");
            assert!(
                answer.starts_with("OK ") && answer.ends_with(&end),
                "{answer}"
            );
        }
    }
    assert_eq!(daemon.fetch("n499"), ["n499;alice;hi"; 2]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let daemon = Daemon::start();
    let mut alice = Session::of(&daemon, "alice");
    let mut all = Vec::new();
    for n in 0..1_000 {
        let to = ["bob", "carol", "dave"][n % 3];
        let body = format!("message {n}\n.\n");
        write!(all, "SEND {to} {} id={n:032x}\n{body}\n", body.len()).expect("written");
        if n % 100 == 50 {
            all.extend_from_slice(b"BAD\nSEND ../x 3\nabc\n");
        }
    }
    let mut writer = alice.stream().try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || writer.write_all(&all).expect("sent"));
    for n in 0..1_000 {
        let to = ["bob", "carol", "dave"][n % 3];
        let seq = n / 3 + 1;
        assert_eq!(alice.line(), format!("OK id={n:032x} to={to} seq={seq}"));
        if n % 100 == 50 {
            assert_eq!(alice.line(), "ERR syntax no such request");
            assert!(alice.line().starts_with("ERR name '../x' is not a name"));
        }
    }
    sender.join().expect("sent");
    let mut bob = Session::of(&daemon, "bob");
    let got = bob.read_all();
    assert_eq!(got.len(), 334);
    for (n, (from, body)) in got.iter().enumerate() {
        assert_eq!(
            (from.as_str(), body),
            ("alice", &format!("message {}\n.\n", n * 3))
        );
    }
}

#[test]
fn a_repeated_id_is_stored_once() {
    let daemon = Daemon::start();
    let id = format!(" id={ID}");
    let ok = format!("OK id={ID} to=bob seq=1");
    let mut alice = Session::of(&daemon, "alice");
    assert_eq!(alice.store("bob", &id, b"once"), ok);
    assert_eq!(alice.store("bob", &id, b"once"), ok);
    alice.send(format!("SEND bob 4{id}\nonce\n").repeat(3));
    for _ in 0..3 {
        assert_eq!(alice.line(), ok, "in one batch");
    }
    let daemon = Daemon::in_dir(daemon.kill(), "", &[]);
    let mut alice = Session::of(&daemon, "alice");
    assert_eq!(alice.store("bob", &id, b"once"), ok, "after a restart");
    // The same id from another sender is another message.
    let mut eve = Session::of(&daemon, "eve");
    assert_eq!(
        eve.store("bob", &id, b"twice"),
        format!("OK id={ID} to=bob seq=2")
    );
    assert_eq!(daemon.fetch("bob"), ["bob;alice;once", "bob;eve;twice"]);
    let mut alice = Session::of(&daemon, "alice");
    assert_eq!(alice.store("bob", &id, b"once"), ok, "after it was read");
}

#[test]
fn bodies_are_stored_exactly() {
    let daemon = Daemon::start();
    let bodies: [&[u8]; 5] = [
        b"\n",
        b"a\0b\xff\r\n\n",
        b"SEND bob 3\nabc\nQUIT\n",
        &vec![b'x'; default_of("max_body")],
        "ünï".as_bytes(),
    ];
    let mut alice = Session::of(&daemon, "alice");
    for body in bodies {
        assert!(alice.store("bob", "", body).starts_with("OK id="));
    }
    let mut bob = Session::of(&daemon, "bob");
    bob.send("FETCH\n");
    let (got, end) = bob.messages();
    let got: Vec<_> = got.into_iter().map(|(_, _, body)| body).collect();
    assert_eq!(got, bodies);
    assert_eq!(end, "END n=5 more=0 waiting=5");
}

#[test]
fn errors_keep_the_session_unless_the_next_request_cannot_be_found() {
    let daemon = Daemon::start();
    let mut alice = Session::of(&daemon, "alice");
    for (wrong, code) in [
        ("HELP", "syntax"),
        ("", "syntax"),
        ("fetch", "syntax"),
        ("FETCH all", "syntax"),
        ("FETCH\0", "syntax"),
        ("ACK x", "syntax"),
        ("ACK 7", "syntax"),
        ("HELLO dropline/1", "syntax"),
        ("LOOKUP a/b", "name"),
        ("LOOKUP nobody", "unknown-user"),
        ("RENEW", "unknown-user"),
        ("DEREGISTER", "unknown-user"),
        ("STATUS to=bob seq=1", "denied"),
        ("ONLINE port=99999", "syntax"),
        ("ONLINE port=1 addr=::1", "syntax"),
        ("SEND bob 0\n", "syntax"),
    ] {
        let reply = alice.ask(wrong);
        assert!(
            reply.starts_with(&format!("ERR {code} ")),
            "{wrong}: {reply}"
        );
    }
    let most = default_of("max_body");
    let long = vec![b'x'; most + 1];
    let reply = alice.store("bob", "", &long);
    assert_eq!(
        reply,
        format!("ERR too-long the message is too long: at most {most} bytes are allowed")
    );
    assert!(alice.store("bob", "", b"fine").starts_with("OK id="));
    for lost in [
        "SEND bob x\n".to_owned(),
        "SEND bob 2\nabc\n".into(),
        "SEND bob 999999999\n".into(),
        "x".repeat(1_024),
        "SEND b\0b 3\nabc\n".into(),
    ] {
        let mut session = Session::of(&daemon, "alice");
        session.send(&lost);
        assert!(session.line().starts_with("ERR "), "{lost}");
        assert!(session.is_over(), "{lost}");
    }
    for hello in [
        "HELLO dropline/2",
        "HELLO dropline/1 name=../x",
        "HELLO dropline/1 name",
        "HELLO dropline/1x",
    ] {
        let mut session = Session::over(daemon.connect());
        assert!(session.ask(hello).starts_with("ERR "), "{hello}");
        assert!(session.is_over(), "{hello}");
    }
    assert_eq!(daemon.fetch("bob"), ["bob;alice;fine"]);
}

#[test]
fn without_a_name_only_queries_are_permitted() {
    let daemon = Daemon::start();
    let mut session = Session::over(daemon.connect());
    let (body, lease) = (default_of("max_body"), default_of("lease"));
    let hello = format!("OK dropline/1 trust=open max-body={body} lease={lease}");
    assert_eq!(session.ask("HELLO dropline/1"), hello);
    assert_eq!(session.ask("WHO"), "END n=0 more=0");
    for request in [
        "FETCH",
        "ACK 1",
        "WATCH",
        "HISTORY",
        "ONLINE port=1",
        "RENEW",
        "OFFLINE",
        "DEREGISTER",
        "SEND bob 1\nx",
        "STATUS to=bob seq=1",
    ] {
        assert!(session.ask(request).starts_with("ERR name "), "{request}");
    }
    assert_eq!(
        daemon.ask("fetch;bob"),
        "Retrieving messages...\nThere is no such name"
    );
}

#[test]
fn a_fetch_leases_and_a_peek_does_not() {
    let daemon = Daemon::start();
    for text in ["one", "two", "three"] {
        daemon.store("bob", "al", text);
    }
    let mut bob = Session::of(&daemon, "bob");
    bob.send("FETCH max=2\n");
    assert_eq!(bob.messages().1, "END n=2 more=1 waiting=3");
    let mut other = Session::of(&daemon, "bob");
    assert!(other.ask("FETCH").starts_with("ERR busy "));
    assert!(
        daemon
            .ask("fetch;bob")
            .starts_with("Message declined. Busy")
    );
    other.send("FETCH peek=1\n");
    let (peeked, end) = other.messages();
    assert_eq!(
        (peeked.len(), end.as_str()),
        (3, "END n=3 more=0 waiting=3")
    );
    assert_eq!(bob.ask("ACK 3"), "ERR syntax message 3 was not handed out");
    assert_eq!(bob.ask("ACK 1"), "OK");
    bob.send("FETCH\n");
    let (again, _) = bob.messages();
    assert_eq!(
        again.iter().map(|message| message.0).collect::<Vec<_>>(),
        [2, 3]
    );
    assert_eq!(bob.ask("ACK 2"), "OK");
    drop(bob);
    // A session may acknowledge all messages that it has seen, even if another session has fetched them.
    assert_eq!(other.ask("ACK 2"), "OK");
    assert_eq!(other.ask("ACK 3"), "OK");
    assert_eq!(other.ask("ACK 3"), "OK");
    assert_eq!(
        other.ask("ACK 4"),
        "ERR syntax message 4 was not handed out"
    );
    assert_eq!(other.ask("FETCH"), "END n=0 more=0 waiting=0");
}

#[test]
fn only_fetched_messages_can_be_acknowledged() {
    let daemon = Daemon::start();
    for text in ["one", "two", "three"] {
        daemon.store("bob", "al", text);
    }
    let mut bob = Session::of(&daemon, "bob");
    let refused = |n| format!("ERR syntax message {n} was not handed out");
    for n in 1..=3 {
        assert_eq!(bob.ask(&format!("ACK {n}")), refused(n));
    }
    // Both requests are read before the first message is sent.
    bob.send("WATCH\nACK 3\n");
    assert_eq!(bob.line(), refused(3));
    for n in 1..=3 {
        assert_eq!(number(&bob.message().0, "seq"), n);
    }
    assert_eq!(bob.ask("ACK 4"), refused(4));
    assert_eq!(bob.ask("ACK 2"), "OK");
    drop(bob);
    // An acknowledgement whose answer was lost may be repeated. An unseen message cannot be acknowledged.
    let mut bob = Session::of(&daemon, "bob");
    assert_eq!(bob.ask("ACK 2"), "OK");
    assert_eq!(bob.ask("ACK 3"), refused(3));
    bob.send("FETCH peek=1\n");
    assert_eq!(bob.messages().0.len(), 1);
    assert_eq!(bob.ask("ACK 3"), "OK");
    assert_eq!(bob.ask("FETCH"), "END n=0 more=0 waiting=0");
}

#[test]
fn a_watcher_gets_waiting_messages_and_then_new_ones() {
    let daemon = Daemon::start();
    let mut bob = Session::of(&daemon, "bob");
    // The mailbox does not exist yet.
    bob.send("WATCH\n");
    wait_until("bob watches", || {
        daemon.path().join("run/watch/bob").exists()
    });
    daemon.store("bob", "al", "first");
    assert_eq!(bob.message().1, b"first");
    let mut alice = Session::of(&daemon, "alice");
    let mut times = Vec::new();
    for n in 0..100 {
        let body = format!("message {n}");
        let begun = Instant::now();
        assert!(alice.store("bob", "", body.as_bytes()).starts_with("OK "));
        let (line, got) = bob.message();
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
        assert_eq!(got, body.as_bytes());
        if n % 2 == 0 {
            assert_eq!(bob.ask(&format!("ACK {}", number(&line, "seq"))), "OK");
        }
    }
    times.sort_by(f64::total_cmp);
    let line = format!(
        "send to a watcher: {:.2} ms median, {:.2} ms at most",
        times[50], times[99]
    );
    report(&line);
    assert!(bob.ask("FETCH").starts_with("ERR syntax "));
    assert!(bob.ask("WATCH").starts_with("ERR syntax "));
    assert_eq!(bob.ask("LOOKUP x"), "ERR unknown-user x is not registered");
    let mut second = Session::of(&daemon, "bob");
    assert!(second.ask("WATCH").starts_with("ERR busy "));
    drop(bob);
    // The last message was not acknowledged.
    wait_until("the lease is free", || {
        second.send("FETCH\n");
        let (messages, end) = second.messages();
        end.starts_with("END") && messages.len() == 1
    });
    assert_eq!(second.ask("ACK 101"), "OK");
    wait_until("the FIFO is gone", || {
        !daemon.path().join("run/watch/bob").exists()
    });
}

#[test]
fn an_idle_watcher_is_not_woken_and_does_not_delay_the_exit() {
    let daemon = Daemon::start();
    let mut bob = Session::of(&daemon, "bob");
    bob.send("WATCH\n");
    wait_until("bob watches", || {
        daemon.path().join("run/watch/bob").exists()
    });
    let children = daemon.children();
    let [child] = children.as_slice() else {
        panic!("one child: {children:?}");
    };
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).expect("readable");
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        let numbers = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        numbers.sum::<u64>()
    };
    // The child sleeps in the kernel. Messages to other mailboxes do not wake it.
    let before = switches();
    for _ in 0..50 {
        daemon.store("carol", "al", "not for bob");
    }
    assert!(switches() <= before + 2, "{before} -> {}", switches());
    daemon.signal(Signal::SIGTERM);
    assert_eq!(bob.line(), "ERR shutdown the server ends; try again later");
    assert!(bob.is_over());
}

#[test]
fn history_lists_read_messages_newest_first() {
    let daemon = Daemon::start();
    for n in 1..=30 {
        daemon.store("bob", "al", &format!("message {n}"));
    }
    let mut bob = Session::of(&daemon, "bob");
    assert_eq!(bob.ask("HISTORY"), "END n=0 more=0");
    bob.send("FETCH max=25\n");
    bob.messages();
    assert_eq!(bob.ask("ACK 25"), "OK");
    bob.send("HISTORY max=10\n");
    let (messages, end) = bob.messages();
    let numbers: Vec<_> = messages.iter().map(|message| message.0).collect();
    assert_eq!(numbers, (16..=25).rev().collect::<Vec<_>>());
    assert_eq!(messages[0].2, b"message 25");
    assert_eq!(end, "END n=10 more=1");
    bob.send("HISTORY before=16 max=100\n");
    let (messages, end) = bob.messages();
    assert_eq!((messages.len(), messages[14].0), (15, 1));
    assert_eq!(end, "END n=15 more=0");
    assert_eq!(bob.ask("HISTORY before=1"), "END n=0 more=0");
}

#[test]
fn status_reports_the_state_of_a_message_to_its_sender() {
    let daemon = Daemon::start();
    let mut alice = Session::of(&daemon, "alice");
    assert!(alice.store("bob", "", b"lasts").ends_with("to=bob seq=1"));
    assert!(
        alice
            .store("bob", " ttl=1", b"does not")
            .ends_with("to=bob seq=2")
    );
    assert!(
        alice
            .ask("STATUS to=bob seq=1")
            .starts_with("OK state=waiting at=")
    );
    wait_until("the message expires", || {
        alice
            .ask("STATUS to=bob seq=2")
            .starts_with("OK state=expired at=")
    });
    let mut bob = Session::of(&daemon, "bob");
    assert_eq!(bob.ask("FETCH max=0 peek=1"), "END n=0 more=1 waiting=1");
    let read = Session::of(&daemon, "bob").read_all();
    assert_eq!(read, [("alice".to_owned(), "lasts".to_owned())]);
    assert!(
        alice
            .ask("STATUS to=bob seq=1")
            .starts_with("OK state=read at=")
    );
    assert!(alice.ask("STATUS to=bob seq=3").starts_with("ERR denied "));
    let mut eve = Session::of(&daemon, "eve");
    assert!(eve.ask("STATUS to=bob seq=1").starts_with("ERR denied "));
}

#[test]
fn who_and_lookup_report_presence() {
    let daemon = Daemon::start();
    let mut names: Vec<String> = (0..25).map(|n| format!("u{n}")).collect();
    names.sort();
    for (n, name) in (1..).zip(&names) {
        let mut session = Session::of(&daemon, name);
        assert_eq!(session.ask(&format!("ONLINE port={n}")), online(1));
        assert_eq!(session.ask(&format!("ONLINE port={n}")), online(0));
        if n % 2 == 0 {
            assert_eq!(session.ask("OFFLINE token=0000000000000000"), "OK");
            assert_eq!(session.ask("RENEW").split(' ').next(), Some("OK"));
            assert_eq!(session.ask("OFFLINE"), "OK");
        }
    }
    let mut session = Session::of(&daemon, "u1");
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        session.send(format!("WHO max=10{after}\n"));
        let end = loop {
            let line = session.line();
            if line.starts_with("END ") {
                break line;
            }
            let name = field(&line, "name").expect("a name").to_owned();
            let n = names
                .iter()
                .position(|known| *known == name)
                .expect("known")
                + 1;
            assert_eq!(number(&line, "online"), n % 2, "{line}");
            assert!(number(&line, "since") > 0);
            seen.push(name);
        };
        if end.ends_with("more=0") {
            break;
        }
        after = format!(" after={}", seen.last().expect("some"));
    }
    assert_eq!(seen, names);
    // Without a secret of the client, there are no tickets, and the address is of no use.
    assert_eq!(session.ask("LOOKUP u0"), "OK name=u0 online=1");
    assert_eq!(session.ask("DEREGISTER"), "OK");
    assert_eq!(
        session.ask("LOOKUP u1"),
        "ERR unknown-user u1 is not registered"
    );
}

#[test]
fn a_reload_that_excludes_an_address_takes_the_name_from_its_sessions() {
    let daemon = Daemon::start();
    let mut session = Session::of(&daemon, "bob");
    assert!(session.ask("ONLINE port=9").starts_with("OK "));
    // This client has yet to say to whom it sends, and would be told the address.
    let mut sender = daemon.say(b"\x00\x06\x00\x00!send\0");
    wait_until("it has a child", || daemon.children().len() == 2);
    configure(daemon.path(), "open_networks = [\"10.0.0.0/8\"]\n");
    daemon.signal(Signal::SIGHUP);
    daemon.logged("the configuration was read again");
    let reply = session.ask("RENEW");
    assert!(
        reply.starts_with("ERR shutdown The server's configuration has changed"),
        "{reply}"
    );
    sender.write_all(b"\x00\x04\x00\x00bob\0").expect("sent");
    assert_eq!(listen(sender), "");
    let mut again = Session::over(daemon.connect());
    let reply = again.ask("HELLO dropline/1 name=bob");
    assert!(
        reply.starts_with("ERR denied Not allowed from this address"),
        "{reply}"
    );
}

#[test]
fn a_refusal_by_address_has_a_reason() {
    let daemon = Daemon::with("open_networks = [\"10.0.0.0/8\"]\n", &[]);
    let mut session = Session::over(daemon.connect());
    let reply = session.ask("HELLO dropline/1 name=bob");
    assert!(
        reply.starts_with("ERR denied ") && reply.contains("open_networks"),
        "{reply}"
    );
    assert!(session.is_over());
    assert_eq!(listen(daemon.say(b"\x00\x05\x00\x00!who\0")), "");
    daemon.logged("refused: Not allowed from this address");
}

#[test]
fn idle_sessions_and_incomplete_requests_time_out() {
    let daemon = Daemon::with("idle_timeout = 2\nrequest_timeout = 1\n", &[]);
    let mut idle = Session::over(daemon.connect());
    idle.send("HELLO dropline/1 name=bob\n");
    idle.line();
    assert_eq!(idle.line(), "ERR timeout nothing came for too long");
    assert!(idle.is_over());
    let mut half = Session::over(daemon.connect());
    half.send("HELLO dropline/1 name=bob\nSEND al 100\nonly a part of");
    half.line();
    assert_eq!(half.line(), "ERR timeout nothing came for too long");
    // A request that is cut off by the end of file is not stored either.
    let mut cut = Session::over(daemon.connect());
    cut.send("HELLO dropline/1 name=bob\nSEND al 5\nhello");
    cut.line();
    cut.stream().shutdown(Shutdown::Write).expect("half-closed");
    assert!(cut.is_over());
    assert_eq!(
        daemon.ask("fetch;al"),
        "Retrieving messages...\nThere is no such name"
    );
}

#[test]
fn arbitrary_bytes_do_not_harm_the_daemon() {
    use proptest::test_runner::{Config, TestRunner};
    let daemon = Daemon::with("first_byte_timeout = 1\nrequest_timeout = 1\n", &[]);
    let mut runner = TestRunner::new(Config::with_cases(150));
    let heads = proptest::sample::select(vec![
        &b""[..],
        b"\0",
        b"\0\x0a\0\0!register\0",
        b"\0\x06\0\0!send\0\0\x04\0\0bob\0",
        b"HELLO dropline/1 name=bob\n",
        b"HELLO dropline/1 name=bob\nSEND bob ",
        b"\x16\x03\x01",
        b"store;bob;",
    ]);
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..300);
    runner
        .run(&(heads, bytes), |(head, bytes)| {
            let mut stream = daemon.connect();
            // The daemon may refuse the request and close before all bytes are sent.
            let _ = stream.write_all(&[head, &bytes].concat());
            let _ = stream.shutdown(Shutdown::Write);
            let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
            Ok(())
        })
        .expect("all cases pass");
    daemon.store("last", "al", "still here");
    assert_eq!(daemon.fetch("last"), ["last;al;still here"]);
    let log = daemon.log();
    assert!(
        !log.contains("a bug in this program") && !log.contains("killed"),
        "{log}"
    );
}
