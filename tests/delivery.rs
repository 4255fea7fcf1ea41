//! Tests of when a fetched message counts as delivered, and when it stays waiting.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

use crate::support::{Daemon, counter, listen, messages, wait_until};

/// Starts a daemon with one message for bob.
fn waiting() -> Daemon {
    let daemon = Daemon::with("delivery_timeout = 3", &[]);
    daemon.store("bob", "al", "hi");
    daemon
}

fn stays_waiting(daemon: &Daemon) {
    wait_until("the failure is logged", || {
        daemon.log().contains("not delivered")
    });
    assert_eq!(daemon.fetch("bob"), ["bob;al;hi"]);
    assert_eq!(
        daemon.fetch("bob"),
        Vec::<String>::new(),
        "the first fetch must have delivered the message"
    );
}

/// Waits until data arrives, without reading it.
fn peek(stream: &TcpStream) {
    assert_ne!(stream.peek(&mut [0; 64]).expect("a reply"), 0);
}

#[test]
fn delivers_to_a_client_that_reads_to_the_end_and_closes() {
    let daemon = waiting();
    assert_eq!(messages(&listen(daemon.say(b"fetch;bob\n"))), ["bob;al;hi"]);
    assert_eq!(daemon.fetch("bob"), Vec::<String>::new());
}

#[test]
fn delivers_to_a_client_that_half_closes_first() {
    let daemon = waiting();
    assert_eq!(daemon.fetch("bob"), ["bob;al;hi"]);
    assert_eq!(daemon.fetch("bob"), Vec::<String>::new());
}

#[test]
fn stays_waiting_if_the_client_dies_with_the_reply_unread() {
    let daemon = waiting();
    let client = daemon.say(b"fetch;bob\n");
    peek(&client);
    // As for a killed process: the kernel closes the socket, and sends a reset because data is unread.
    drop(client);
    stays_waiting(&daemon);
}

#[test]
fn stays_waiting_if_the_client_reads_only_a_part() {
    let daemon = waiting();
    let mut client = daemon.say(b"fetch;bob\n");
    client.read_exact(&mut [0; 30]).expect("a part");
    peek(&client);
    drop(client);
    stays_waiting(&daemon);
}

#[test]
fn stays_waiting_if_the_client_resets_the_connection() {
    let daemon = waiting();
    let client = daemon.say(b"fetch;bob\n");
    let linger = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&client.as_fd(), sockopt::Linger, &linger).expect("set");
    drop(client);
    stays_waiting(&daemon);
}

#[test]
fn stays_waiting_if_the_client_never_closes() {
    let daemon = waiting();
    let mut client = daemon.say(b"fetch;bob\n");
    let mut reply = [0; 200];
    while client.read(&mut reply).expect("readable") > 0 {}
    stays_waiting(&daemon);
    drop(client);
}

#[test]
fn stays_waiting_if_the_client_stops_reading_a_long_reply() {
    let daemon = Daemon::with(
        "delivery_timeout = 1\nrequest_timeout = 1\npenalty_exempt = []",
        &[],
    );
    let body = "x".repeat(60_000);
    for _ in 0..200 {
        daemon.store("bob", "al", &body);
    }
    // A slow reader commits no offence: the next requests are served.
    let client = daemon.say(b"fetch;bob\n");
    daemon.logged("too slow: fetch bob: not delivered: the client did not read in time");
    wait_until("the timeout is counted", || {
        counter(&daemon, "timeouts") == 1
    });
    drop(client);
    let session = daemon.say(b"HELLO dropline/1 name=bob\nFETCH\n");
    daemon.logged("too slow: session of ~bob");
    wait_until("the timeout is counted", || {
        counter(&daemon, "timeouts") == 2
    });
    drop(session);
    assert_eq!(
        daemon.fetch("bob").len(),
        200,
        "all messages must stay waiting"
    );
    assert_eq!(daemon.fetch("bob").len(), 0);
}

#[test]
fn bytes_after_the_request_do_not_destroy_the_reply() {
    let daemon = waiting();
    let mut client = daemon.say(b"fetch;bob\n");
    client.write_all(&[b'x'; 100_000]).expect("sent");
    client.shutdown(Shutdown::Write).expect("half-closed");
    assert_eq!(messages(&listen(client)), ["bob;al;hi"]);
}

#[test]
fn a_second_reader_is_refused_as_busy() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "hi");
    let first = daemon.say(b"fetch;bob\n");
    peek(&first);
    let second = daemon.ask("fetch;bob\n");
    assert!(second.starts_with("Message declined. Busy"), "{second}");
    daemon.store("bob", "al", "a writer does not wait");
    assert_eq!(messages(&listen(first)), ["bob;al;hi"]);
    assert_eq!(daemon.fetch("bob"), ["bob;al;a writer does not wait"]);
}

#[test]
fn messages_survive_a_kill_and_a_restart() {
    let daemon = waiting();
    let dir = daemon.kill();
    let daemon = Daemon::in_dir(dir, "", &[]);
    assert_eq!(daemon.fetch("bob"), ["bob;al;hi"]);
    // The reply arrives before the delivery is durable.
    daemon.logged("fetch bob: 1 messages delivered");
    let daemon = Daemon::in_dir(daemon.kill(), "", &[]);
    assert_eq!(
        daemon.fetch("bob"),
        Vec::<String>::new(),
        "the message was delivered twice"
    );
}
