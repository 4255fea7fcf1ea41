//! Tickets for instant messages: a process that has neither the recipient's secret nor the sender's ticket can neither
//! forge nor confirm nor hide a message.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use ring::hmac;

use crate::support::menu::{Menu, menu_command, signal_to, spawn, wait_until_gone};
use crate::support::session::{Session, field};
use crate::support::wire::{Ticket, acknowledged, instant, lease_options, run, socket};
use crate::support::{Daemon, skip, wait_until};

const ID: [u8; 16] = [7; 16];
const SECRET: [u8; 32] = [0x5a; 32];

/// Puts `name` online at this UDP port.
fn online(daemon: &Daemon, name: &str, port: u16) {
    let secret = "5a".repeat(32);
    let token = "0123456789abcdef";
    let request = format!("ONLINE port={port} token={token} secret={secret}");
    let reply = Session::of(daemon, name).ask(&request);
    assert!(reply.starts_with("OK lease="), "{reply}");
}

/// Returns the answers to a client of the Unix socket.
fn ask_socket(daemon: &Daemon, requests: &str) -> String {
    let path = daemon.path().join("run/dropline.sock");
    let mut stream = UnixStream::connect(path).expect("connected");
    stream.write_all(requests.as_bytes()).expect("sent");
    stream.shutdown(Shutdown::Write).expect("shut down");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("text");
    answers
}

/// Derives the key of a ticket.
fn key(nonce: &str, trust: u8, from: &str, to: &str) -> String {
    let nonce: Vec<u8> = (0..nonce.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&nonce[at..at + 2], 16).expect("digits"))
        .collect();
    let mut text = b"dropline ticket 1".to_vec();
    text.extend(nonce);
    text.push(trust);
    for name in [from, to] {
        text.push(u8::try_from(name.len()).expect("short"));
        text.extend(name.as_bytes());
    }
    let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), &text);
    let hex: Vec<_> = key
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hex.concat()
}

#[test]
fn a_ticket_has_the_name_and_the_trust_that_the_server_has_verified() {
    let daemon = Daemon::start();
    online(&daemon, "bob", 9);
    let mut alice = Session::of(&daemon, "alice");
    let place = "OK name=bob online=1 addr=127.0.0.1 port=9 speaks=sealed ";
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let answer = alice.ask("LOOKUP bob");
        assert!(answer.starts_with(place), "{answer}");
        let nonce = field(&answer, "nonce").expect("a nonce").to_owned();
        let expected = key(&nonce, 0, "alice", "bob");
        assert_eq!(field(&answer, "key"), Some(&*expected));
        nonces.push(nonce);
    }
    assert_ne!(nonces[0], nonces[1]);
    // A client without a name cannot send, and gets no ticket.
    let mut unnamed = Session::over(daemon.connect());
    unnamed.ask("HELLO dropline/1");
    assert_eq!(unnamed.ask("LOOKUP bob"), "OK name=bob online=1");
    if nix::unistd::geteuid().is_root() {
        let answers = ask_socket(&daemon, "HELLO dropline/1 name=alice\nLOOKUP bob\n");
        let answer = answers.lines().nth(1).expect("an answer");
        let nonce = field(answer, "nonce").expect("a nonce");
        let expected = key(nonce, 1, "alice", "bob");
        assert_eq!(field(answer, "key"), Some(&*expected), "{answers}");
    }
}

#[test]
fn a_process_on_the_port_of_a_dead_client_cannot_confirm_messages() {
    let daemon = Daemon::start();
    let taken = socket();
    online(&daemon, "bob", taken.local_addr().expect("one").port());
    let impostor = std::thread::spawn(move || {
        let mut bytes = [0; 2_000];
        for _ in 0..3 {
            let (n, sender) = taken.recv_from(&mut bytes).expect("a datagram");
            let (nonce, id) = (&bytes[5..21], &bytes[n - 40..n - 24]);
            let forged = [b"\0DL2\x02", nonce, id, &[0; 16]].concat();
            for answer in [&bytes[..n], &forged, b"\0DL1\x02"] {
                taken.send_to(answer, sender).expect("sent");
            }
        }
        bytes.to_vec()
    });
    let args = [
        "-v",
        "-u",
        "alice",
        "send",
        "--instant",
        "bob",
        "the secret text",
    ];
    let (status, _, said) = run(&daemon, &args);
    assert_eq!(status, Some(0));
    assert_eq!(said, "bob does not answer: the server keeps it.\n");
    let seen = impostor.join().expect("three tries");
    assert!(memchr::memmem::find(&seen, b"alice").is_some());
    assert!(memchr::memmem::find(&seen, b"the secret text").is_none());
    assert_eq!(daemon.fetch("bob"), ["bob;alice;the secret text"]);
}

#[test]
fn another_sender_with_the_same_id_does_not_hide_a_message() {
    let daemon = Daemon::start();
    let hex = "07".repeat(16);
    let sent = Session::of(&daemon, "alice").store("bob", &format!(" id={hex}"), b"the real one");
    assert!(sent.starts_with("OK"), "{sent}");
    let mut bob = Menu::open(&daemon, "bob");
    instant(
        &daemon,
        bob.address,
        ID,
        ("eve", "bob"),
        b"a copy of the id",
    );
    bob.expect("~eve: a copy of the id");
    bob.line("2");
    bob.expect("~alice: the real one");
    // Through the server as well.
    for (from, body) in [("eve", "copied again"), ("carol", "the next real one")] {
        let sent = Session::of(&daemon, from).store("bob", &format!(" id={hex}"), body.as_bytes());
        assert!(sent.starts_with("OK"), "{sent}");
    }
    bob.line("2");
    bob.expect("~carol: the next real one");
    bob.leave();
}

/// Returns a `dropline` command that opens a menu over the Unix socket, as root.
fn over_socket(daemon: &Daemon, user: &str) -> Command {
    let tcp = menu_command(daemon);
    let mut command = Command::new(tcp.get_program());
    for (key, value) in tcp.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    let socket = daemon.path().join("run/dropline.sock");
    command.arg("-d").arg(socket).args(["-u", user]);
    command
}

#[test]
fn a_verified_sender_is_told_from_one_who_only_takes_the_name() {
    let test = "a_verified_sender_is_told_from_one_who_only_takes_the_name";
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "two logins need root");
    }
    let daemon = Daemon::start();
    let mut alice = Menu::of(over_socket(&daemon, "alice"), &daemon, "alice");
    let mut bob = Menu::of(over_socket(&daemon, "bob"), &daemon, "bob");
    alice.send("bob", "really me", "bob has it.");
    bob.expect("[Kalice: really me");
    let forger = socket();
    let forged = b"alice (Instat Msg)>\nme as well\n\0";
    forger.send_to(forged, bob.address).expect("sent");
    bob.expect("~alice: me as well");
    // A client of an unverified connection gets a ticket that says so.
    instant(&daemon, bob.address, ID, ("alice", "bob"), b"and me");
    bob.expect("~alice: and me");
    bob.leave();
    // In a chat, the lines of the partner are told from those of others.
    let mut chat = over_socket(&daemon, "bob");
    chat.args(["chat", "alice"]);
    let mut chat = spawn(chat);
    let found = chat.exp_regex("instant messages on ([0-9.]+:[0-9]+)");
    let found = found.expect("the address").1;
    let address = found.rsplit(' ').next().expect("one");
    chat.exp_string("bob> ").expect("a prompt");
    alice.send("bob", "still me", "bob has it.");
    chat.exp_string("[Kalice: still me").expect("the message");
    forger.send_to(forged, address).expect("sent");
    chat.exp_string("[from ~alice] me as well").expect("marked");
    chat.send_control('d').expect("typed");
    chat.exp_eof().expect("the end");
}

#[test]
fn tickets_outlive_the_renewal_of_the_secret_and_the_listener() {
    let daemon = Daemon::with("lease = 5\n", &[]);
    let mut bob = Menu::open(&daemon, "bob");
    let (mut secrets, mut tickets) = (Vec::new(), Vec::new());
    wait_until("two renewals", || {
        let secret = lease_options(&daemon, "bob");
        if !secrets.contains(&secret) {
            secrets.push(secret);
            let mut al = Session::over(daemon.connect());
            al.ask("HELLO dropline/1 name=al");
            tickets.push(Ticket::in_answer(&al.ask("LOOKUP bob")));
        }
        secrets.len() == 3
    });
    let tokens = secrets.iter().map(|options| field(options, "token"));
    assert_eq!(tokens.collect::<std::collections::HashSet<_>>().len(), 1);
    let mut send = |ticket: &Ticket, number: u8| {
        let text = format!("number-{number}.");
        let bytes = ticket.seal([number; 16], "al", "bob", text.as_bytes());
        acknowledged(&socket(), bob.address, &bytes, &ticket.ack([number; 16]));
        bob.expect(&format!("~al: {text}"));
    };
    send(&tickets[0], 1);
    send(&tickets[2], 2);
    let active = bob.listeners().pop().expect("a listener");
    signal_to(active, Signal::SIGKILL);
    wait_until_gone(active);
    std::thread::sleep(Duration::from_millis(200));
    let bytes = tickets[1].seal([3; 16], "al", "bob", b"number-3.");
    acknowledged(&socket(), bob.address, &bytes, &tickets[1].ack([3; 16]));
    bob.expect("~al: number-3.");
    bob.leave();
}
