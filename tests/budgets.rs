//! Tests of what TCP clients may use, all together, and of what each client must leave to others.

use nix::sys::signal::Signal;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use crate::support::others::as_user;
use crate::support::session::Session;
use crate::support::{Daemon, PATIENCE, counter, skip, wait_until};

const ACCEPTED: &str = "Message accepted and stored:\n";

/// Returns the login of the user of this test, who is a verified client over the socket. Skips the test without one.
fn login(test: &str) -> Option<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
    let name = user.ok().flatten().map(|user| user.name);
    if name.is_none() {
        skip(test, "the user of this test has no login");
    }
    name
}

/// Makes a request of the line dialect over the Unix socket.
fn ask_socket(daemon: &Daemon, request: &str) -> String {
    let path = daemon.path().join("run/dropline.sock");
    let mut stream = UnixStream::connect(path).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    reply
}

fn refusal(key: &str) -> String {
    format!(
        "Message declined. The server's limit {key} for all clients without a verified name is reached, try again later\n"
    )
}

#[test]
fn mailboxes_of_open_names_are_limited() {
    let Some(me) = login("mailboxes_of_open_names_are_limited") else {
        return;
    };
    let daemon = Daemon::with("open_mailboxes = 2\n", &[]);
    daemon.store("a", "al", "hi");
    daemon.store("b", "al", "hi");
    assert_eq!(daemon.ask("store;c;al;hi\n"), refusal("open_mailboxes"));
    let mut session = Session::of(&daemon, "al");
    let reply = session.store("c", "", b"hi");
    assert!(
        reply.starts_with("ERR quota The server's limit open_mailboxes "),
        "{reply}"
    );
    assert_eq!(counter(&daemon, "refused_budget"), 2);
    wait_until("they are counted", || {
        counter(&daemon, "open_mailboxes") == 2
    });
    // Those that are there take more, and verified clients are not limited.
    daemon.store("a", "al", "more");
    assert_eq!(ask_socket(&daemon, &format!("store;c;{me};hi\n")), ACCEPTED);
    assert_eq!(daemon.fetch("a").len(), 2);
}

#[test]
fn the_counters_survive_a_restart() {
    let daemon = Daemon::with("open_mailboxes = 3\nopen_names = 2\n", &[]);
    for name in ["a", "b", "c"] {
        daemon.store(name, "al", "hi");
    }
    for name in ["a", "b"] {
        let reply = Session::of(&daemon, name).ask("ONLINE port=9");
        assert!(reply.starts_with("OK "), "{reply}");
    }
    let dir = daemon.kill();
    let daemon = Daemon::in_dir(dir, "open_mailboxes = 3\nopen_names = 2\n", &[]);
    wait_until("they are counted", || {
        counter(&daemon, "open_mailboxes") == 3
    });
    assert_eq!(counter(&daemon, "open_names"), 2);
    assert!(counter(&daemon, "open_bytes") >= 3 * 1_024);
    assert_eq!(daemon.ask("store;d;al;hi\n"), refusal("open_mailboxes"));
    let reply = Session::of(&daemon, "c").ask("ONLINE port=9");
    assert!(
        reply.starts_with("ERR quota The server's limit open_names "),
        "{reply}"
    );
    // A name that is free again can be given to another.
    assert_eq!(Session::of(&daemon, "a").ask("DEREGISTER"), "OK");
    let reply = Session::of(&daemon, "c").ask("ONLINE port=9");
    assert!(reply.starts_with("OK "), "{reply}");
}

#[test]
fn leases_of_open_names_are_limited() {
    let daemon = Daemon::with("open_leases = 2\n", &[]);
    let mut sessions = ["a", "b", "c"].map(|name| Session::of(&daemon, name));
    for session in &mut sessions[..2] {
        assert!(session.ask("ONLINE port=9").starts_with("OK "));
        assert!(session.ask("RENEW").starts_with("OK "));
    }
    let reply = sessions[2].ask("ONLINE port=9");
    assert!(
        reply.starts_with("ERR quota The server's limit open_leases "),
        "{reply}"
    );
    assert_eq!(sessions[0].ask("OFFLINE"), "OK");
    assert!(sessions[2].ask("ONLINE port=9").starts_with("OK "));
    wait_until("they are counted", || counter(&daemon, "open_leases") == 2);
}

#[test]
fn what_open_clients_store_is_limited_and_verified_ones_can_still_send() {
    let Some(me) = login("what_open_clients_store_is_limited_and_verified_ones_can_still_send")
    else {
        return;
    };
    let daemon = Daemon::with(
        "open_bytes = 1000000\nhistory_days = 0\nmin_free_bytes = 0\n",
        &[],
    );
    let body = "x".repeat(60_000);
    let stored = (0..20).take_while(|n| {
        let to = ["a", &me][n % 2];
        daemon.ask(format!("store;{to};al;{body}\n")) == ACCEPTED
    });
    assert_eq!(stored.count(), 16);
    assert_eq!(
        daemon.ask(format!("store;b;al;{body}\n")),
        refusal("open_bytes")
    );
    assert_eq!(
        ask_socket(&daemon, &format!("store;a;{me};{body}\n")),
        ACCEPTED
    );
    // What is read is free again, after the next count.
    assert_eq!(daemon.fetch("a").len(), 9);
    wait_until("there is room again", || {
        daemon.ask(format!("store;b;al;{body}\n")) == ACCEPTED
    });
}

#[test]
fn one_source_cannot_close_a_mailbox_to_others() {
    let Some(me) = login("one_source_cannot_close_a_mailbox_to_others") else {
        return;
    };
    let daemon = Daemon::with("quota_messages = 100\n", &[]);
    if !nix::unistd::geteuid().is_root() {
        return skip(
            "one_source_cannot_close_a_mailbox_to_others",
            "only root can make sockets of other users",
        );
    }
    let ask_as = |uid: u32, request: &str| as_user(uid, || daemon.ask(request));
    let fill = |uid: u32, most: usize| {
        let stored = (0..most).take_while(|_| ask_as(uid, "store;bob;al;hi\n") == ACCEPTED);
        stored.count()
    };
    let first = fill(60_002, 100);
    // A quarter is not counted, so it gets five eighths.
    assert!((60..66).contains(&first), "{first}");
    let full = "Message declined. The mailbox is full, try again when its owner has read it\n";
    assert_eq!(ask_as(60_002, "store;bob;other;hi\n"), full);
    let others = fill(60_003, 100) + fill(60_004, 100) + fill(60_005, 100);
    assert_eq!(first + others, 90, "open clients fill 90 percent");
    let request = format!("store;bob;{me};hi\n");
    let of_root = (0..20).take_while(|_| ask_socket(&daemon, &request) == ACCEPTED);
    assert_eq!(of_root.count(), 10, "root may fill all of it");
    assert_eq!(daemon.fetch("bob").len(), 100);
    assert_eq!(ask_as(60_002, "store;bob;al;hi\n"), ACCEPTED);
}

#[test]
fn the_counter_is_started_again() {
    let daemon = Daemon::with("open_mailboxes = 2\n", &[]);
    let first = daemon.helper("droplined: budgets").expect("it runs");
    let pid = nix::unistd::Pid::from_raw(first.parse().expect("a number"));
    nix::sys::signal::kill(pid, Signal::SIGKILL).expect("killed");
    wait_until("another one runs", || {
        daemon
            .helper("droplined: budgets")
            .is_some_and(|next| next != first)
    });
    daemon.store("a", "al", "hi");
    wait_until("they are counted", || {
        counter(&daemon, "open_mailboxes") == 1
    });
}
