//! Tests with two hosts and a server between them, with real addresses.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use nix::sys::signal::Signal;
use rexpect::session::{PtySession, spawn_command};

use crate::support::namespace::Namespaces;
use crate::support::session::{Session, online};
use crate::support::{Daemon, PATIENCE, listen, program, wait_until};

const OPEN: &str = "open_networks = [\"127.0.0.0/8\", \"10.77.0.0/16\"]\n";

/// Connects from a host to the server.
fn connect(net: &Namespaces, host: usize, daemon: &Daemon) -> TcpStream {
    let address = format!("10.77.{host}.1:{}", daemon.port);
    let stream = net.inside(host, || TcpStream::connect(address));
    let stream = stream.expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

fn framed(mut stream: TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).expect("sent");
    listen(stream)
}

#[test]
fn presence_has_the_address_that_the_server_sees() {
    let Some(net) = Namespaces::server_and_two("presence_has_the_address_that_the_server_sees")
    else {
        return;
    };
    let daemon = Daemon::in_namespace(net.name(0), OPEN);
    // The client registers another address.
    let mut alice = connect(&net, 1, &daemon);
    alice
        .write_all(b"\x00\x0a\x00\x00!register\0\x00\x06\x00\x00alice\0")
        .expect("sent");
    let mut answer = [0; 8];
    alice.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"\x00\x04\x00\x00400\0");
    alice
        .write_all(b"\x00\x0d\x00\x001.2.3.4 8283\0")
        .expect("sent");
    assert_eq!(listen(alice), "\x00\u{4}\x00\x00400\x00");
    let reply = framed(
        connect(&net, 2, &daemon),
        b"\x00\x06\x00\x00!send\0\x00\x06\x00\x00alice\0",
    );
    assert_eq!(
        reply,
        "\x00\u{4}\x00\x00404\x00\x00\u{f}\x00\x0010.77.1.2 8283\x00"
    );
    let mut bob = Session::over(connect(&net, 2, &daemon));
    bob.ask("HELLO dropline/1 name=bob");
    let lease = format!("token={} secret={}", "01".repeat(8), "02".repeat(32));
    let reply = bob.ask(&format!("ONLINE port=9000 addr=10.0.0.1 {lease}"));
    assert_eq!(reply, online(1));
    assert_eq!(
        bob.ask("LOOKUP alice"),
        "OK name=alice online=1 addr=10.77.1.2 port=8283 speaks=text"
    );
    let mut alice = Session::over(connect(&net, 1, &daemon));
    alice.ask("HELLO dropline/1 name=alice");
    let bob_is_there = |reply: String| {
        let place = "OK name=bob online=1 addr=10.77.2.2 port=9000 speaks=sealed nonce=";
        assert!(reply.starts_with(place), "{reply}");
    };
    bob_is_there(alice.ask("LOOKUP bob"));
    // Another host cannot take over a name while its lease lasts.
    let mut thief = Session::over(connect(&net, 1, &daemon));
    thief.ask("HELLO dropline/1 name=bob");
    assert!(thief.ask("ONLINE port=9000").starts_with("ERR busy "));
    assert_eq!(thief.ask("OFFLINE"), "OK");
    bob_is_there(alice.ask("LOOKUP bob"));
    // A client on the server's loopback cannot be reached from another host.
    let mut near = Session::over(
        net.inside(0, || TcpStream::connect(("127.0.0.1", daemon.port)))
            .expect("connected"),
    );
    near.ask("HELLO dropline/1 name=near");
    assert_eq!(near.ask("ONLINE port=9000"), online(1));
    assert_eq!(alice.ask("LOOKUP near"), "OK name=near online=0");
    bob_is_there(near.ask("LOOKUP bob"));
}

#[test]
fn a_refusal_by_address_names_the_setting() {
    let test = "a_refusal_by_address_names_the_setting";
    let Some(net) = Namespaces::server_and_two(test) else {
        return;
    };
    let daemon = Daemon::in_namespace(net.name(0), "open_networks = [\"10.77.1.0/24\"]\n");
    let ask = |host| framed(connect(&net, host, &daemon), b"store;bob;al;hi\n");
    assert_eq!(ask(1), "Message accepted and stored:\n");
    let denied = "Message declined. Not allowed from this address: the server's open_networks does not include it\n";
    assert_eq!(ask(2), denied);
}

/// Opens the menu of `user` on a host, online.
fn menu(net: &Namespaces, host: usize, daemon: &Daemon, user: &str) -> PtySession {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", net.name(host)]);
    command.arg(program("dropline").get_program());
    command.args(["-d", &format!("10.77.{host}.1:{}", daemon.port), "-u", user]);
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    command.env("DROPLINE_STATE_DIR", daemon.path().join("state").join(user));
    let patience = u64::try_from(PATIENCE.as_millis()).expect("not long");
    let mut menu = spawn_command(command, Some(patience)).expect("a terminal");
    let at = format!("instant messages on 10.77.{host}.2:");
    menu.exp_string(&at).expect("the address");
    menu.exp_string("?  Help").expect("the menu");
    menu
}

#[test]
fn two_hosts_exchange_instant_messages() {
    let Some(net) = Namespaces::server_and_two("two_hosts_exchange_instant_messages") else {
        return;
    };
    let daemon = Daemon::in_namespace(net.name(0), &format!("{OPEN}lease = 5\n"));
    let mut alice = menu(&net, 1, &daemon, "alice");
    let mut bob = menu(&net, 2, &daemon, "bob");
    let send = |menu: &mut PtySession, to: &str, text: &str, answer: &str| {
        for (line, then) in [("1", "To:"), (to, "Message:"), (text, answer)] {
            menu.send_line(line).expect("typed");
            menu.exp_string(then).expect("an answer");
        }
    };
    send(&mut alice, "bob", "from host to host", "bob has it.");
    bob.exp_string("~alice: from host to host")
        .expect("it is shown");
    send(&mut bob, "alice", "and back", "alice has it.");
    alice.exp_string("~bob: and back").expect("it is shown");
    // The messages bypassed the server.
    assert!(!daemon.log().contains(": 1 sent"), "{}", daemon.log());
    // A killed client is offline when its lease expires. From then on, the server stores its messages.
    bob.process_mut().kill(Signal::SIGKILL).expect("killed");
    let mut watcher = Session::over(connect(&net, 1, &daemon));
    watcher.ask("HELLO dropline/1 name=carol");
    wait_until("bob is offline", || {
        watcher.ask("LOOKUP bob") == "OK name=bob online=0"
    });
    send(&mut alice, "bob", "for later", "the server keeps it.");
    let mut bob = Session::over(connect(&net, 2, &daemon));
    bob.ask("HELLO dropline/1 name=bob");
    assert_eq!(
        bob.read_all(),
        [("alice".to_owned(), "for later".to_owned())]
    );
}
