//! Tests of patience and fairness: clients may take their time while there is room, and what one user or address does
//! leaves room for the others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::attack::connect_from;
use crate::reserved::Machine;
use crate::support::frames::Frames;
use crate::support::ledger::End;
use crate::support::others::as_user;
use crate::support::session::Session;
use crate::support::{Daemon, PATIENCE, counter, ctl, listen, skip, wait_until};

const ACCEPTED: &str = "Message accepted and stored:\n";
const MANY: &str = "Message declined. Too many connections from your address\n";

fn needs_root(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skip(test, "only root can make sockets of other users");
    }
    !is_root
}

#[test]
fn half_said_requests_of_a_user_shut_out_no_other_user() {
    if needs_root("half_said_requests_of_a_user_shut_out_no_other_user") {
        return;
    }
    let daemon = Daemon::with("children_per_source = 20\n", &[]);
    let held: Vec<_> = as_user(4_711, || (0..20).map(|_| daemon.say(b"\0")).collect());
    wait_until("all have a child", || daemon.children().len() == 20);
    let ask = || daemon.ask("store;bob;al;hi\n");
    assert_eq!(as_user(4_712, ask), ACCEPTED);
    assert_eq!(
        as_user(4_711, ask),
        MANY,
        "none of its connections is silent"
    );
    assert_eq!(counter(&daemon, "refused_source"), 1);
    drop(held);
}

#[test]
fn sessions_that_only_wait_take_half_of_the_share_of_their_user() {
    if needs_root("sessions_that_only_wait_take_half_of_the_share_of_their_user") {
        return;
    }
    let daemon = Daemon::with("children_per_source = 20\n", &[]);
    let watch = || {
        let mut session = Session::of(&daemon, "al");
        session.send("WATCH\n");
        session
    };
    let mut held: Vec<_> = as_user(4_711, || (0..20).map(|_| watch()).collect());
    let ask = || daemon.ask("store;bob;al;hi\n");
    assert_eq!(as_user(4_712, ask), ACCEPTED);
    let evicted = "ERR timeout too many connections only wait; connect again later";
    assert_eq!(held[0].line(), evicted, "the first has waited longest");
    wait_until("half of them are left", || daemon.children().len() == 10);
    assert_eq!(counter(&daemon, "evicted_waiting"), 10);
    assert_eq!(
        as_user(4_711, ask),
        ACCEPTED,
        "the other half is for requests"
    );
    let text = String::from_utf8(ctl(&daemon, &["status"]).stdout).expect("text");
    assert!(text.contains(", evicted_waiting 10\n"), "{text}");
    let metrics = String::from_utf8(ctl(&daemon, &["metrics"]).stdout).expect("text");
    assert!(
        metrics.contains("\ndropline_evicted_waiting_total 10\n"),
        "{metrics}"
    );
}

#[test]
fn a_client_that_waits_and_loses_its_place_comes_back() {
    let daemon = Daemon::with("max_children = 8\nearly_drop = 8\n", &[]);
    let mut follow = daemon.client();
    follow.args(["-u", "bob", "follow"]).stdout(Stdio::piped());
    let mut follow = Killed(follow.stderr(Stdio::null()).spawn().expect("run"));
    let mut lines = BufReader::new(follow.0.stdout.take().expect("a pipe")).lines();
    wait_until("it watches", || {
        daemon.log().contains("listening") && daemon.children().len() == 1
    });
    std::thread::sleep(Duration::from_millis(50));
    let others = [Session::of(&daemon, "al"), Session::of(&daemon, "al")];
    wait_until("it has lost its place", || {
        counter(&daemon, "evicted_waiting") == 1
    });
    drop(others);
    daemon.store("bob", "al", "are you there?");
    let line = lines.next().expect("a line").expect("readable");
    assert!(line.contains("are you there?"), "{line}");
}

#[test]
fn a_new_connection_takes_the_place_of_the_longest_silent_one() {
    let daemon = Daemon::with("children_per_source = 3\n", &[]);
    let mut first = daemon.connect();
    wait_until("the first has a child", || daemon.children().len() == 1);
    let others = [daemon.connect(), daemon.connect()];
    wait_until("all have a child", || daemon.children().len() == 3);
    assert_eq!(daemon.ask("store;bob;al;hi\n"), ACCEPTED);
    let mut told = String::new();
    first.read_to_string(&mut told).expect("readable");
    assert!(told.starts_with("Message declined. Timeout"), "{told}");
    assert_eq!(counter(&daemon, "evicted_silent"), 1);
    wait_until("the others are left", || daemon.children().len() == 2);
    drop(others);
}

#[test]
fn a_person_may_take_time_before_and_between_the_steps() {
    let daemon = Daemon::with("request_timeout = 1\n", &[]);
    // The old line client connects before it asks a person what to send, and sends no line end.
    let mut line = daemon.connect();
    wait_until("it has a child", || daemon.children().len() == 1);
    let mut frames = Frames::say(&daemon, &["!register", "carol"]);
    assert_eq!(frames.frame(), "400");
    frames.kill();
    wait_until("it is over", || daemon.children().len() == 1);
    daemon.ask(b"\0\x0a\0\0!register\0\0\x06\0\0carol\0\0\x0c\0\x00127.0.0.1 9\0");
    daemon.ask(b"\0\x06\0\0!quit\0\0\x06\0\0carol\0");
    // The old chat client lets a person write the text. It dies if the connection is closed meanwhile.
    let mut send = Frames::say(&daemon, &["!send", "carol"]);
    assert_eq!(send.frame(), "405");
    std::thread::sleep(Duration::from_millis(2_500));
    line.write_all(b"store;bob;al;slowly").expect("sent");
    send.send(b"al (msg offline)>\nslowly\n");
    send.end();
    assert_eq!(listen(line), ACCEPTED);
    assert_eq!(daemon.fetch("bob"), ["bob;al;slowly"]);
    daemon.logged("accepted as carol/1");
    assert_eq!(counter(&daemon, "timeouts"), 0);
}

#[test]
fn half_said_requests_are_an_offence_only_under_pressure() {
    let slow = |daemon: &Daemon| {
        let told = listen(daemon.say(b"HELLO dropline/1\nSEND bob 5\n"));
        assert!(told.contains("\nERR timeout "), "{told}");
    };
    let daemon = Daemon::with("penalty_exempt = []\nrequest_timeout = 1\n", &[]);
    slow(&daemon);
    wait_until("it is counted", || counter(&daemon, "timeouts") == 1);
    daemon.store("bob", "al", "there is room: no offence");
    let keys = "penalty_exempt = []\nrequest_timeout = 1\nchildren_per_source = 2\n";
    let daemon = Daemon::with(keys, &[]);
    slow(&daemon);
    wait_until("the source is penalized", || {
        let reply = daemon.ask("store;bob;al;hi\n");
        reply.starts_with("Message declined. Too many useless connections")
    });
    // It had half of the share of its source.
    assert_eq!(counter(&daemon, "timeouts"), 1);
}

#[test]
fn clients_that_may_make_no_request_have_few_places() {
    let daemon = Daemon::with("open_networks = []\nmax_children = 8\n", &[]);
    let held = daemon.say(b"\0");
    wait_until("it has a child", || daemon.children().len() == 1);
    let many = "Message declined. Too many connections, try again later\n";
    assert_eq!(daemon.ask("fetch;bob\n"), many);
    assert_eq!(counter(&daemon, "refused_strangers"), 1);
    drop(held);
    wait_until("there is room again", || {
        daemon.ask("fetch;bob\n").contains("open_networks")
    });
}

#[test]
fn an_address_in_use_is_tried_again() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = other.local_addr().expect("bound").port();
    let keys = format!("port = {port}\nbind = [\"127.0.0.2\", \"127.0.0.1\", \"192.0.2.7\"]\n");
    let daemon = Daemon::with(&keys, &[]);
    daemon.logged(&format!("cannot listen on 127.0.0.1:{port}: "));
    daemon.logged(&format!("cannot listen on 192.0.2.7:{port}: "));
    // The other address and the socket are served.
    let mut stream = TcpStream::connect(("127.0.0.2", port)).expect("connected");
    stream.write_all(b"store;bob;al;hi\n").expect("sent");
    assert_eq!(listen(stream), ACCEPTED);
    UnixStream::connect(daemon.path().join("run/dropline.sock")).expect("connected");
    drop(other);
    daemon.logged(&format!("listening on 127.0.0.1:{port}"));
    assert_eq!(daemon.fetch("bob"), ["bob;al;hi"]);
    assert_eq!(
        daemon.log().matches("cannot listen on").count(),
        2,
        "each is logged once"
    );
}

/// A process that is killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Opens sessions over the socket as this uid.
fn over_socket(machine: &Machine, uid: u32, count: usize) -> Vec<Killed> {
    let one = |_| {
        let mut nc = Command::new("setpriv")
            .args(["--reuid", &uid.to_string()])
            .args(["--regid", "nogroup", "--clear-groups", "nc", "-U"])
            .arg(machine.daemon.path().join("run/dropline.sock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("setpriv and nc");
        let stdin = nc.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"HELLO dropline/1\n").expect("written");
        Killed(nc)
    };
    (0..count).map(one).collect()
}

/// Keeps this many sessions over TCP open and busy, from this address.
fn keep_busy(from: [u8; 4], port: u16, count: usize, stop: &AtomicBool) {
    let open = || {
        let mut stream = connect_from(from, [127, 0, 0, 1], port)?;
        stream.set_nonblocking(true).ok()?;
        stream.write_all(b"HELLO dropline/1\n").ok()?;
        Some(stream)
    };
    let mut all: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    while !stop.load(Ordering::SeqCst) {
        for stream in &mut all {
            let is_open = stream.as_mut().is_some_and(|stream| {
                let drained = !matches!(stream.read(&mut [0; 4_096]), Ok(0));
                drained && stream.write_all(b"WHO max=1\n").is_ok()
            });
            if !is_open {
                *stream = open();
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn root_is_served_while_four_users_occupy_all_places() {
    let test = "root_is_served_while_four_users_occupy_all_places";
    let users = 4_711..4_716;
    let accounts = users.map(|uid| format!("u{uid}:x:{uid}:100::/nowhere:/bin/sh\n"));
    let accounts: String = accounts.collect();
    let Some(machine) = Machine::with(test, &accounts, "") else {
        return;
    };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("readable");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard).expect("raised");
    let daemon = &machine.daemon;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&stop);
        for (uid, low) in (4_711..4_715).zip(1..) {
            let (from, port, stop) = ([127, 0, 0, low], daemon.port, &stop);
            scope.spawn(move || as_user(uid, || keep_busy(from, port, 128, stop)));
        }
        wait_until("TCP clients have all their places", || {
            daemon.children().len() >= 512
        });
        let held: Vec<_> = (4_711..4_715)
            .map(|uid| over_socket(&machine, uid, 8))
            .collect();
        wait_until("all places of the socket are taken", || {
            daemon.children().len() >= 512 + 32
        });
        let ask = |uid| {
            let begun = Instant::now();
            let reply = machine.ask_as(uid, "HELLO dropline/1\nQUIT\n");
            assert!(begun.elapsed() < PATIENCE);
            (reply, begun.elapsed())
        };
        let tries: Vec<_> = (0..5).map(|_| ask(0)).collect();
        for (reply, _) in &tries {
            assert!(reply.starts_with("OK dropline/1 name=root "), "{reply}");
        }
        // The machine may run other tests: the fastest answer counts.
        let fastest = tries.iter().map(|(_, took)| *took).min().expect("one");
        assert!(fastest < Duration::from_secs(1), "{tries:?}");
        // Another user gets the place of one of those who have most.
        let (reply, _) = ask(4_715);
        assert!(reply.starts_with("OK dropline/1 name=u4715 "), "{reply}");
        assert_eq!(counter(daemon, "evicted_socket"), 1);
        drop(held);
    });
    assert_eq!(counter(daemon, "crashes"), 0);
}
