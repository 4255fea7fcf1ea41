//! Tests of instant messages between clients, also over an unreliable network.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::frames::{self, Frames};
use crate::support::menu::{Menu, menu_command, signal_to, wait_until_gone};
use crate::support::proxy::{Proxy, Weather};
use crate::support::session::Session;
use crate::support::wire::{Ticket, acknowledged, instant, lease_options, run, socket};
use crate::support::{Daemon, is_long, wait_until};

#[test]
fn two_menus_chat_and_preserve_the_line_being_typed() {
    let daemon = Daemon::start();
    let mut alice = Menu::open(&daemon, "alice");
    let mut bob = Menu::open(&daemon, "bob");
    bob.screen.send("!sta").expect("typed");
    bob.screen.flush().expect("typed");
    bob.expect("!sta");
    alice.send("bob", "hello bob", "bob has it.");
    bob.expect("~alice: hello bob");
    bob.expect("!sta");
    bob.line("tus");
    bob.expect("bob at 127.0.0.1");
    bob.expect("Datagrams: 1 new, 0 repeated");
    bob.send("alice", "hello alice", "alice has it.");
    alice.expect("~bob: hello alice");
    alice.line("!send bob");
    alice.expect("Several lines");
    for line in ["one", "", "\ttwo", "."] {
        alice.line(line);
    }
    alice.expect("bob has it.");
    bob.expect("~alice: one\r\n\t\r\n\t");
    bob.expect("two");
    let empty = "Retrieving messages...\nThere is no such name";
    let said = daemon.ask("fetch;bob\n");
    assert_eq!(said, empty, "the messages must bypass the server");
    bob.leave();
    alice.send(
        "bob",
        "are you there?",
        "bob is offline: the server keeps it.",
    );
    assert_eq!(daemon.fetch("bob"), ["bob;alice;are you there?"]);
}

/// Moves bob's lease to this address and sends `count` messages to bob at once. Returns the output of each sender.
fn storm(daemon: &Daemon, at: SocketAddr, what: &str, count: usize) -> Vec<String> {
    let lease = lease_options(daemon, "bob");
    let online = format!("ONLINE port={} {lease}", at.port());
    assert!(Session::of(daemon, "bob").ask(&online).starts_with("OK"));
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..count)
            .map(|number| {
                let text = format!("{what}-{number}.");
                scope.spawn(move || {
                    let args = ["-v", "-u", "alice", "send", "--instant", "bob", &text];
                    let (status, _, said) = run(daemon, &args);
                    assert_eq!(status, Some(0), "{said}");
                    said
                })
            })
            .collect();
        let join = |sender: std::thread::ScopedJoinHandle<'_, String>| sender.join().expect("sent");
        senders.into_iter().map(join).collect()
    })
}

#[test]
fn a_message_arrives_once_over_an_unreliable_network() {
    let count = if is_long() { 200 } else { 16 };
    // All senders connect at once.
    let daemon = Daemon::with("children_per_source = 256\n", &[]);
    let mut command = menu_command(&daemon);
    command.args(["-u", "bob"]).env("PAGER", "cat");
    let mut bob = Menu::of(command, &daemon, "bob");
    let mut sums = Vec::new();
    let bad = Duration::from_millis(900);
    for (what, lost, doubled, delay) in [
        ("clear", 0, 0, Duration::ZERO),
        ("late", 0, 50, bad),
        ("rain", 30, 20, bad / 3),
        ("night", 100, 0, Duration::ZERO),
    ] {
        let weather = Weather {
            lost,
            doubled,
            delay,
        };
        let proxy = Proxy::to(bob.address, weather);
        let said = storm(&daemon, proxy.address, what, count);
        let direct = said.iter().filter(|said| *said == "bob has it.\n").count();
        let kept = "bob does not answer: the server keeps it.\n";
        let kept = said.iter().filter(|said| *said == kept).count();
        assert_eq!(direct + kept, count, "{what}: {said:?}");
        assert!(
            proxy.carried() >= count as u64,
            "{what}: the messages bypassed the proxy"
        );
        sums.push((what, direct));
    }
    assert_eq!(sums[0], ("clear", count));
    assert_eq!(sums[3], ("night", 0));
    bob.line("2");
    bob.line("!status");
    let mut seen = bob.screen.exp_regex("Datagrams: [^.]*").expect("counts").0;
    seen.push_str(&bob.leave());
    seen.push_str(&run(&daemon, &["-u", "bob", "read"]).1);
    for (what, _) in sums {
        for number in 0..count {
            let text = format!("{what}-{number}.");
            assert_eq!(seen.matches(&text).count(), 1, "{text}\n{seen}");
        }
    }
}

#[test]
fn invalid_and_foreign_datagrams_are_dropped_and_counted() {
    let daemon = Daemon::start();
    let mut bob = Menu::open(&daemon, "bob");
    let socket = socket();
    let address = bob.address;
    let send = |bytes: &[u8]| {
        socket.send_to(bytes, address).expect("sent");
    };
    let ticket = Ticket::of(&daemon, "al", "bob");
    let good = ticket.seal([1; 16], "al", "bob", b"good");
    let ack = ticket.ack([1; 16]);
    send(b"");
    send(b"\0");
    send(b"no header\n");
    send(b"../x (Instat Msg)>\nhi\n\0");
    send(&good[..30]);
    send(&ack);
    send(
        &[
            &ticket.seal_as(7, [2; 16], "al", "bob", b"of unknown trust")[..],
            b"x",
        ]
        .concat(),
    );
    // Without a valid ticket: damaged, with other fields than the ticket, and a second message under one ticket.
    send(&good[..good.len() - 1]);
    send(&[&good[..], b"x"].concat());
    send(&ticket.seal([2; 16], "eve", "bob", b"of another sender"));
    send(&ticket.seal_as(1, [2; 16], "al", "bob", b"verified"));
    send(&ticket.seal([2; 16], "al", "bob", &[b'x'; 1_300]));
    send(&[&b"al (Instat Msg)>\n"[..], &[b'x'; 1_100]].concat());
    send(&[0; 60_000]);
    send(&ticket.seal([3; 16], "al", "carol", b"not for bob"));
    // Loopback keeps the order of datagrams, so the acknowledged one arrives after all others.
    acknowledged(&socket, bob.address, &good, &ack);
    bob.expect("~al: good");
    send(&ticket.seal([4; 16], "al", "bob", b"again with it"));
    acknowledged(&socket, bob.address, &good, &ack);
    acknowledged(&socket, bob.address, &good, &ack);
    bob.line("!status");
    bob.expect("Datagrams: 1 new, 2 repeated; dropped: 7 invalid, 3 oversized, 1 foreign, 5");
    bob.expect("without a valid ticket, 0 refused.");
    let rest = bob.leave();
    assert!(
        !rest.contains("good") && !rest.contains("not for bob") && !rest.contains("again"),
        "{rest}"
    );
}

#[test]
fn control_characters_are_escaped_on_the_terminal() {
    let daemon = Daemon::start();
    let mut bob = Menu::open(&daemon, "bob");
    let body = b"a\x1b[2Jb\nal: c\xff\x07";
    instant(&daemon, bob.address, [1; 16], ("al", "bob"), body);
    bob.expect("~al: a\\x1b[2Jb\r\n\t");
    bob.expect("al: c\\xff\\x07");
}

#[test]
fn listeners_exit_with_a_killed_menu_and_no_message_is_lost() {
    let daemon = Daemon::start();
    let bob = Menu::open(&daemon, "bob");
    let listeners = bob.listeners();
    assert_eq!(listeners.len(), 3);
    // A stopped menu shows nothing, but its listener still acknowledges.
    bob.signal(Signal::SIGSTOP);
    instant(&daemon, bob.address, [1; 16], ("al", "bob"), b"kept");
    let seen = bob.kill();
    assert!(!seen.contains("kept"), "{seen}");
    listeners.into_iter().for_each(wait_until_gone);
    let mut again = Menu::open(&daemon, "bob");
    if !again.so_far.contains("~al: kept") {
        again.expect("~al: kept");
    }
    // The inbox records a message as shown shortly after it appears.
    again.line("2");
    again.expect("No messages for bob.");
    again.leave();
    wait_until("the server has no copy", || {
        run(&daemon, &["-u", "bob", "read"]).1.is_empty()
    });
}

#[test]
fn a_killed_listener_is_reported_and_replaced() {
    let daemon = Daemon::start();
    let mut alice = Menu::open(&daemon, "alice");
    let mut bob = Menu::open(&daemon, "bob");
    let mut listeners = bob.listeners();
    signal_to(listeners.pop().expect("a listener"), Signal::SIGKILL);
    bob.expect("the listener has ended (killed by SIGKILL); switching to the next one");
    alice.send("bob", "still there?", "bob has it.");
    bob.expect("~alice: still there?");
    for listener in listeners {
        signal_to(listener, Signal::SIGKILL);
    }
    bob.expect("no listener is left");
    wait_until("bob is offline", || {
        run(&daemon, &["who"]).1.contains("bob (offline)")
    });
    alice.send("bob", "and now?", "bob is offline: the server keeps it.");
    bob.line("2");
    bob.expect("alice: and now?");
    bob.line("!status");
    bob.expect("no listener is running");
    bob.line("!register bob");
    bob.expect("You are bob, but offline: instant messages are off because no listener is left.");
    assert!(run(&daemon, &["who"]).1.contains("bob (offline)"));
    bob.leave();
}

#[test]
fn exchanges_messages_with_a_legacy_client() {
    let daemon = Daemon::start();
    let old = socket();
    let address = old.local_addr().expect("an address");
    let place = format!("127.0.0.1 {}", address.port());
    assert_eq!(frames::register(&daemon, "old", &place), ["400", "400"]);
    let mut bob = Menu::open(&daemon, "bob");
    let text = b"old (Instat Msg)>\nhello\nbob\n\0";
    old.send_to(text, bob.address).expect("sent");
    bob.expect("~old: hello\r\n\t");
    bob.expect("bob");
    bob.send(
        "old",
        "hello old",
        "Sent to old, whose client cannot confirm it.",
    );
    let mut bytes = [0; 2_000];
    let (n, _) = old.recv_from(&mut bytes).expect("a datagram");
    assert_eq!(&bytes[..n], b"bob (Instat Msg)>\nhello old\n\0");
    let long = "x".repeat(1_100);
    let args = ["-v", "-u", "bob", "send", "--instant", "old", &long];
    let said = run(&daemon, &args).2;
    assert_eq!(
        said,
        "It does not fit a datagram: the server keeps it for old.\n"
    );
    // The legacy client looks up the menu in the framed dialect.
    let mut finds = Frames::say(&daemon, &["!send", "bob"]);
    assert_eq!(finds.frame(), "404");
    assert_eq!(finds.frame(), bob.address.to_string().replace(':', " "));
    finds.end();
    bob.leave();
}

#[test]
fn kills_lose_no_acknowledged_message() {
    let daemon = Daemon::start();
    let mut seen = String::new();
    let mut number = 0_u32;
    let mut sent = Vec::new();
    let lives = if is_long() { 100 } else { 6 };
    for life in 0..lives {
        let bob = Menu::open(&daemon, "bob");
        seen.push_str(&bob.so_far);
        let socket = socket();
        socket.connect(bob.address).expect("connected");
        let mut al = Session::of(&daemon, "al");
        // Kill at a different moment each time.
        let end = Instant::now() + Duration::from_millis(5 + 37 * life % 190);
        let listeners = bob.listeners();
        let mut bob = Some(bob);
        loop {
            number += 1;
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            let body = format!("number-{number}.");
            let answer = al.ask("LOOKUP bob");
            if bob.is_none() && answer.ends_with(" online=0") {
                // A menu whose listeners were killed goes offline.
                break;
            }
            let ticket = Ticket::in_answer(&answer);
            // Fails when the listener is gone: the kernel reports the ICMP error.
            let _ = socket.send(&ticket.seal(id, "al", "bob", body.as_bytes()));
            if let Some(bob) = bob.take_if(|_| Instant::now() >= end) {
                if life % 2 == 0 {
                    seen.push_str(&bob.kill());
                } else {
                    for &listener in &listeners {
                        signal_to(listener, Signal::SIGKILL);
                    }
                    seen.push_str(&bob.leave());
                }
                // No process answers any more, but an acknowledgement may be in flight.
                let limit = Some(Duration::from_secs(1));
                socket.set_read_timeout(limit).expect("set");
            }
            let mut answer = [0; 100];
            match socket.recv(&mut answer) {
                Ok(n) => {
                    assert_eq!(answer[..n], ticket.ack(id));
                    sent.push(body);
                }
                Err(_) => break,
            }
        }
        assert!(
            bob.is_none(),
            "the listener stopped answering before it was killed"
        );
    }
    seen.push_str(&run(&daemon, &["-u", "bob", "read"]).1);
    assert!(
        sent.len() >= usize::try_from(lives).expect("few"),
        "{}",
        sent.len()
    );
    for body in sent {
        assert!(seen.contains(&body), "{body} was acknowledged and lost");
    }
}

#[test]
fn two_menus_of_one_name_show_a_message_once() {
    let daemon = Daemon::start();
    let (mut one, mut two) = (Menu::open(&daemon, "bob"), Menu::open(&daemon, "bob"));
    let socket = socket();
    for number in 1..=20 {
        let (id, text) = ([number; 16], format!("number-{number}."));
        // The lease is that of the second menu. The first one has its own secret: the ticket is nothing to it.
        let (bytes, ack) = instant(&daemon, two.address, id, ("al", "bob"), text.as_bytes());
        socket.send_to(&bytes, one.address).expect("sent");
        acknowledged(&socket, two.address, &bytes, &ack);
    }
    one.line("!status");
    one.expect("0 foreign, 20");
    let mut seen = String::new();
    for menu in [&mut one, &mut two] {
        menu.line("2");
        let read = menu.screen.exp_string("?  Help").expect("the menu again");
        seen.push_str(&read);
    }
    for menu in [one, two] {
        seen.push_str(&menu.leave());
    }
    seen.push_str(&run(&daemon, &["-u", "bob", "read"]).1);
    for number in 1..=20 {
        let text = format!("number-{number}.");
        assert_eq!(seen.matches(&text).count(), 1, "{text}\n{seen}");
    }
}

#[test]
fn a_message_by_datagram_and_through_the_server_is_shown_once() {
    let daemon = Daemon::start();
    let mut bob = Menu::open(&daemon, "bob");
    let (first, second) = ([1; 16], [2; 16]);
    let hex = |id: [u8; 16]| id.map(|byte| format!("{byte:02x}")).concat();
    let mut alice = Session::of(&daemon, "alice");
    // First by datagram, then through the server, as after a lost acknowledgement.
    instant(&daemon, bob.address, first, ("alice", "bob"), b"first");
    bob.expect("~alice: first");
    let sent = alice.store("bob", &format!(" id={}", hex(first)), b"first");
    assert!(sent.starts_with("OK"), "{sent}");
    bob.line("2");
    bob.expect("No messages for bob.");
    // First through the server, then by datagram.
    let sent = alice.store("bob", &format!(" id={}", hex(second)), b"second");
    assert!(sent.starts_with("OK"), "{sent}");
    bob.line("2");
    bob.expect("\n~alice: second");
    instant(&daemon, bob.address, second, ("alice", "bob"), b"second");
    bob.line("!status");
    bob.expect("Datagrams: 1 new, 1 repeated");
    assert_eq!(Session::of(&daemon, "bob").read_all(), []);
    let rest = bob.leave();
    assert!(!rest.contains("alice"), "{rest}");
}
