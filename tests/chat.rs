//! Tests of the menu: names, presence, and messages of several lines.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::Daemon;
use crate::support::frames::{self, Frames};
use crate::support::menu::{Menu, menu_command, spawn, wait_until_gone};
use crate::support::session::Session;
use crate::support::wire::{instant, run, socket};

#[test]
fn a_message_can_be_pasted_typed_ahead_or_span_several_lines() {
    let daemon = Daemon::start();
    let mut alice = Menu::open(&daemon, "alice");
    // Bracketed paste, then typed ahead.
    alice.send(
        "bob",
        "\x1b[200~pasted\none\x1b[201~",
        "the server keeps it.",
    );
    alice
        .screen
        .send("1\rbob\rtyped ahead\r!send bob\rtwo\r.\rtext\r.\r")
        .expect("typed");
    alice.screen.flush().expect("typed");
    alice.expect("the server keeps it.");
    alice.expect("the server keeps it.");
    alice.expect("Type 1, 2 or 3.");
    alice.line("1");
    alice.expect("To:");
    alice.line("bob");
    alice.expect("Message:");
    alice.line("");
    alice.expect("Several lines:");
    alice.line("a");
    alice.line("b");
    alice.line(".");
    alice.expect("the server keeps it.");
    // Discard a message of one line and one of several lines.
    for command in ["1\rbob\r", "!send bob\rnever\r"] {
        alice.screen.send(command).expect("typed");
        alice.screen.send("said").expect("typed");
        alice.screen.flush().expect("typed");
        alice.expect("said");
        alice.screen.send_control('c').expect("typed");
        alice.expect("discarded");
        alice.expect("?  Help");
    }
    alice.expect("> ");
    alice.screen.send_control('c').expect("typed");
    alice.screen.exp_eof().expect("Ctrl-C leaves");
    let bodies: Vec<_> = Session::of(&daemon, "bob")
        .read_all()
        .into_iter()
        .map(|(_, body)| body)
        .collect();
    assert_eq!(bodies, ["pasted\none", "typed ahead", "two", "a\nb"]);
}

#[test]
fn every_way_to_leave_the_menu_takes_the_user_offline() {
    let daemon = Daemon::start();
    let who = || run(&daemon, &["who"]).1;
    for way in ["exit", "eof", "term", "hup"] {
        let mut bob = Menu::open(&daemon, "bob");
        assert_eq!(who(), "bob (online)\n", "{way}");
        match way {
            "exit" => bob.line("!quit"),
            "eof" => {
                bob.expect("> ");
                bob.screen.send_control('d').expect("typed");
            }
            "term" => bob.signal(Signal::SIGTERM),
            _ => bob.signal(Signal::SIGHUP),
        }
        let pid = bob.pid;
        bob.screen.exp_eof().expect("the end");
        assert_eq!(who(), "bob (offline)\n", "{way}");
        drop(bob);
        wait_until_gone(pid);
    }
}

#[test]
fn names_are_registered_and_deregistered_in_the_menu() {
    let daemon = Daemon::start();
    let mut bob = Menu::open(&daemon, "bob");
    let _carol = Menu::open(&daemon, "carol");
    bob.line("!register carol");
    bob.expect("carol is already online elsewhere; you are still bob.");
    bob.line("!register dave");
    bob.expect("dave is now registered; you are online.");
    bob.line("w");
    bob.expect("carol (online)\r\ndave (online)\r\nbob (offline)");
    daemon.store("bob", "carol", "waits");
    bob.line("!register bob");
    bob.expect("Welcome back, bob; you are online.");
    bob.line("2");
    bob.expect("carol: waits");
    instant(&daemon, bob.address, [1; 16], ("al", "bob"), b"hi");
    bob.expect("~al: hi");
    bob.line("!deregister");
    bob.expect("bob is deregistered and offline");
    bob.line("!who");
    bob.expect("carol (online)\r\ndave (offline)\r\n 1 ");
    bob.line("!help");
    bob.expect("!register NAME");
    bob.leave();
}

#[test]
fn the_menu_survives_a_restart_of_the_server() {
    let daemon = Daemon::with("", &[]);
    let mut bob = Menu::open(&daemon, "bob");
    let old_port = daemon.port;
    let dir = daemon.kill();
    bob.line("!send alice");
    bob.line("hello");
    bob.line(".");
    bob.expect("cannot reach the server");
    bob.expect("queued: will be sent later");
    bob.line("!status");
    bob.expect(", offline at ");
    bob.expect("cannot reach the server");
    let daemon = Daemon::in_dir(dir, "", &["-p", &old_port.to_string()]);
    bob.expect("the message to alice that was queued");
    bob.expect("was sent");
    assert_eq!(daemon.fetch("alice"), ["alice;bob;hello"]);
    bob.leave();
}

#[test]
fn waiting_messages_are_announced_and_stay_waiting() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "old");
    let mut bob = Menu::open(&daemon, "bob");
    daemon.store("bob", "al", "one");
    bob.expect("2 messages waiting (from ~al); type 2 to read.");
    daemon.store("bob", "carol", "two");
    bob.expect("3 messages waiting (from ~al, ~carol); type 2 to read.");
    let port = daemon.port.to_string();
    let daemon = Daemon::in_dir(daemon.kill(), "", &["-p", &port]);
    daemon.store("bob", "dave", "three");
    bob.expect("4 messages waiting (from ~al, ~carol, ~dave); type 2 to read.");
    bob.line("!status");
    bob.expect(", 4\r\nwaiting.");
    bob.line("2");
    bob.expect("~al: old\r\n~al: one\r\n~carol: two\r\n~dave: three\r\n");
    daemon.store("bob", "al", "four");
    bob.expect("1 message waiting (from ~al); type 2 to read.");
    let seen = bob.leave();
    assert!(!seen.contains("four"), "{seen}");
    assert_eq!(daemon.fetch("bob"), ["bob;al;four"]);
}

#[test]
fn the_newest_of_two_menus_stays_online() {
    let daemon = Daemon::with("lease = 5", &[]);
    let mut looks = Session::over(daemon.connect());
    assert!(looks.ask("HELLO dropline/1 name=looks").starts_with("OK"));
    let mut is_at = |menu: &Menu| {
        let found = looks.ask("LOOKUP bob");
        found.contains(&format!("port={} ", menu.address.port()))
    };
    let mut one = Menu::open(&daemon, "bob");
    let mut two = Menu::open(&daemon, "bob");
    let said = "bob was online in another client; instant messages now arrive here.";
    assert!(two.so_far.contains(said), "{}", two.so_far);
    one.expect("bob is online in another client now");
    // Watch for longer than the lease.
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        assert!(is_at(&two));
        std::thread::sleep(Duration::from_millis(100));
    }
    one.line("!register bob");
    one.expect("Welcome back, bob; you are online.");
    assert!(is_at(&one));
    two.expect("bob is online in another client now");
    let seen = one.leave();
    assert!(
        !seen.contains("another client"),
        "it must be reported once: {seen}"
    );
    two.leave();
}

#[test]
fn a_requested_port_that_is_in_use_is_an_error() {
    let daemon = Daemon::start();
    let held = socket();
    let source = held.local_addr().expect("an address").to_string();
    let mut command = menu_command(&daemon);
    command.args(["-u", "bob", "-s", &source]);
    let mut menu = spawn(command);
    menu.exp_string(&format!("cannot listen on {source} for instant messages"))
        .expect("why");
    menu.exp_eof().expect("the end");
    let (status, _, err) = run(&daemon, &["-u", "bob", "-s", "nonsense", "read"]);
    assert_eq!(status, Some(64), "{err}");
}

#[test]
fn without_an_inbox_the_menu_works_without_instant_messages() {
    let daemon = Daemon::start();
    let mut command = menu_command(&daemon);
    command
        .args(["-u", "bob"])
        .env("DROPLINE_STATE_DIR", "/proc/nowhere");
    let mut menu = spawn(command);
    menu.exp_string("cannot use /proc/nowhere for the inbox")
        .expect("why");
    menu.exp_string("3  Exit").expect("the menu");
    daemon.store("bob", "al", "hi");
    menu.send_line("2").expect("typed");
    menu.exp_string("al: hi").expect("the message");
    assert_eq!(
        run(&daemon, &["who"]).1,
        "",
        "a menu without an inbox must not go online"
    );
    menu.send_line("3").expect("typed");
    menu.exp_eof().expect("the end");
}

#[test]
fn the_client_supports_the_framed_dialect() {
    let daemon = Daemon::start();
    let framed = |args: &[&str]| run(&daemon, &[&["--dialect", "framed", "-v"], args].concat());
    assert_eq!(framed(&["who"]).2, "No user is registered.\n");
    assert_eq!(framed(&["-u", "alice", "send", "nobody", "hi"]).0, Some(67));
    // The framed dialect limits a name to 15 characters.
    let long = "a-name-of-20-letters";
    for args in [
        &["-u", "alice", "send", long, "hi"][..],
        &["-u", long, "read"],
    ] {
        let (status, _, err) = framed(args);
        assert_eq!(status, Some(67), "{err}");
        let words =
            format!("{long} is not a valid name in the framed dialect, where a name has 3 to 15");
        assert!(err.contains(&words), "{err}");
    }
    assert_eq!(
        frames::register(&daemon, "bob", "127.0.0.1 9"),
        ["400", "400"]
    );
    Frames::say(&daemon, &["!quit", "bob"]).end();
    for text in ["one\ntwo", "three"] {
        let said = framed(&["-u", "alice", "send", "bob", text]).2;
        assert_eq!(said, "bob is offline: the server keeps it.\n");
    }
    let (status, out, _) = framed(&["-u", "bob", "read"]);
    assert_eq!(
        (status, out.as_str()),
        (Some(0), "~alice: one\n\ttwo\n~alice: three\n")
    );
    assert_eq!(framed(&["-u", "bob", "read"]).1, "");
    assert_eq!(framed(&["who"]).1, "bob (offline)\n");
    let old = socket();
    let place = format!("127.0.0.1 {}", old.local_addr().expect("one").port());
    assert_eq!(frames::register(&daemon, "bob", &place), ["402", "407"]);
    let said = framed(&["-u", "alice", "send", "bob", "now"]).2;
    assert_eq!(said, "Sent to bob, whose client cannot confirm it.\n");
    let mut bytes = [0; 100];
    let (n, _) = old.recv_from(&mut bytes).expect("a datagram");
    assert_eq!(&bytes[..n], b"alice (Instat Msg)>\nnow\n\0");
    assert_eq!(
        framed(&["-u", "bob", "read"]).0,
        Some(69),
        "bob must be offline to read"
    );
    Frames::say(&daemon, &["!quit", "bob"]).end();
    daemon.store("bob", "carol", "for the menu");
    let mut menu = Menu::with(&daemon, "bob", &["--dialect", "framed"]);
    menu.line("w");
    menu.expect("bob (online)");
    assert_eq!(framed(&["who"]).1, "bob (online)\n");
    let seen = menu.leave();
    drop(seen);
    assert_eq!(framed(&["who"]).1, "bob (offline)\n");
    let mut talk = menu_command(&daemon);
    talk.args(["-u", "bob", "--dialect", "framed", "chat", "bob"]);
    let mut talk = spawn(talk);
    let seen = talk.exp_string("bob> ").expect("a prompt");
    assert!(!seen.contains("refuses"), "{seen}");
    talk.send_control('d').expect("typed");
    talk.exp_eof().expect("the end");
    assert_eq!(daemon.fetch("bob"), Vec::<String>::new());
}
