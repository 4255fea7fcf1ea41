//! Tests of admission control before the fork, and of the status that an operator sees.

use std::io::Write;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::session::Session;
use crate::support::{Daemon, counter, ctl, listen, program, status, wait_until};

#[test]
fn children_per_source_limits_a_source() {
    let daemon = Daemon::with(
        "children_per_source = 3\nwaiting_source_percent = 100\n",
        &[],
    );
    let mut held: Vec<_> = (0..3).map(|_| Session::of(&daemon, "bob")).collect();
    let refusal = "Message declined. Too many connections from your address\n";
    assert_eq!(listen(daemon.say(b"fetch;al\n")), refusal);
    daemon.logged("it has as many connections as children_per_source allows");
    assert_eq!(counter(&daemon, "refused_source"), 1);
    // The TCP clients of a user do not keep it out of the socket.
    let socket = daemon.path().join("run/dropline.sock");
    let mut local = std::os::unix::net::UnixStream::connect(socket).expect("connected");
    local.write_all(b"HELLO dropline/1\n").expect("sent");
    let mut byte = [0];
    std::io::Read::read_exact(&mut local, &mut byte).expect("an answer");
    assert_eq!(byte, *b"O");
    // For TCP, those of the socket count as well.
    held.pop();
    drop(local);
    wait_until("a new connection is accepted", || {
        daemon.ask("fetch;al\n") != refusal
    });
}

#[test]
fn with_many_silent_clients_new_ones_are_dropped_at_random() {
    let daemon = Daemon::with("early_drop = 8\nmax_children = 10\n", &[]);
    let refusal = "Message declined. Too many connections, try again later\n";
    let tries = || {
        let refused = (0..60).filter(|_| daemon.ask("store;bob;al;hi\n") == refusal);
        refused.count()
    };
    // Sessions do not count: they have completed a request.
    let sessions: Vec<_> = (0..8).map(|_| Session::of(&daemon, "al")).collect();
    assert_eq!(tries(), 0);
    drop(sessions);
    wait_until("the sessions are gone", || daemon.children().is_empty());
    let silent: Vec<_> = (0..8).map(|_| daemon.say(b"\x00")).collect();
    wait_until("the clients have children", || daemon.children().len() == 8);
    let refused = tries();
    assert!((1..60).contains(&refused), "{refused} of 60");
    assert_eq!(counter(&daemon, "refused_early"), refused as u64);
    drop(silent);
}

#[test]
fn silent_clients_make_room_for_others() {
    let daemon = Daemon::with(
        "early_drop = 4\nmax_children = 8\nidle_timeout = 3600\n",
        &[],
    );
    let session = Session::of(&daemon, "al");
    // Their own timeouts are far longer: 30 seconds, or 10 for the late ones.
    let silent: Vec<_> = (0..7).map(|_| daemon.say(b"\x00")).collect();
    let begun = Instant::now();
    wait_until("another client is served", || {
        daemon.ask("store;bob;al;hi\n") == "Message accepted and stored:\n"
    });
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    wait_until("the timeouts are counted", || {
        counter(&daemon, "timeouts") >= 4
    });
    assert_eq!(counter(&daemon, "crashes"), 0);
    drop((session, silent));
}

#[test]
fn sources_of_garbage_are_penalized() {
    let daemon = Daemon::with("penalty_exempt = []\n", &[]);
    daemon.store("bob", "al", "an honest one");
    assert_eq!(
        daemon.ask("GET / HTTP/1.1\n"),
        "Message declined. Bad verb\n"
    );
    let refusal =
        "Message declined. Too many useless connections from your address, try again later\n";
    wait_until("the source is penalized", || {
        daemon.ask("store;bob;al;hi\n") == refusal
    });
    assert!(counter(&daemon, "refused_penalty") >= 1);
    assert_eq!(counter(&daemon, "garbage"), 1);
    wait_until("the penalty is over", || {
        daemon.ask("store;bob;al;hi\n") != refusal
    });
    // By default, loopback addresses are exempt.
    let daemon = Daemon::start();
    for _ in 0..5 {
        assert_eq!(
            daemon.ask("GET / HTTP/1.1\n"),
            "Message declined. Bad verb\n"
        );
    }
    wait_until("the garbage is counted", || {
        counter(&daemon, "garbage") == 5
    });
    daemon.store("bob", "al", "an honest one");
}

#[test]
fn status_metrics_top_and_ps_show_the_activity() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "four");
    daemon.fetch("bob");
    let mut bob = Session::of(&daemon, "bob");
    bob.send("WATCH\n");
    let child = || {
        let status = status(&daemon);
        let children = status["children"].as_array().expect("a list").clone();
        children
            .into_iter()
            .find(|child| child["doing"] == "watch ~bob")
    };
    let mut found = None;
    wait_until("the watch is shown", || {
        found = child();
        found.is_some()
    });
    let child = found.expect("shown");
    let pid = child["pid"].as_u64().expect("a number").to_string();
    assert_eq!(daemon.children(), [pid.as_str()]);
    let from = child["from"].as_str().expect("an address");
    assert!(from.starts_with("127.0.0.1:"), "{from}");
    // The process title shows it without names.
    let title = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("readable");
    assert_eq!(title.trim_end_matches('\0'), "droplined: session watch");
    let own = std::fs::read_to_string(format!("/proc/{}/cmdline", daemon.pid())).expect("readable");
    assert!(own.contains("droplined\0-p\0"), "{own:?}");
    wait_until("the delivery is counted", || {
        counter(&daemon, "delivered") == 1
    });
    assert_eq!(
        (counter(&daemon, "stored"), counter(&daemon, "stored_bytes")),
        (1, 4)
    );
    let text = ctl(&daemon, &["status"]).stdout;
    let text = String::from_utf8(text).expect("text");
    assert!(
        text.contains("messages: 1 stored (4 bytes), 1 delivered\n"),
        "{text}"
    );
    assert!(text.contains("watch ~bob\n"), "{text}");
    let metrics = String::from_utf8(ctl(&daemon, &["metrics"]).stdout).expect("text");
    assert!(metrics.contains("\ndropline_up 1\n"), "{metrics}");
    assert!(metrics.contains("# TYPE dropline_stored_total counter\ndropline_stored_total 1\n"));
    let top = String::from_utf8(ctl(&daemon, &["top"]).stdout).expect("text");
    assert!(
        top.starts_with("droplined ") && !top.contains('\u{1b}'),
        "{top}"
    );
    daemon.signal(Signal::SIGUSR1);
    daemon.logged("children 1, connections ");
}

#[test]
fn an_acknowledged_message_is_counted_as_delivered_once() {
    let daemon = Daemon::start();
    for _ in 0..10 {
        daemon.store("bob", "al", "hi");
    }
    let mut bob = Session::of(&daemon, "bob");
    for (fetch, ack, delivered) in [("FETCH max=6", 4, 4), ("FETCH", 7, 7), ("FETCH", 10, 10)] {
        bob.send(format!("{fetch}\n"));
        bob.messages();
        assert_eq!(bob.ask(&format!("ACK {ack}")), "OK");
        assert_eq!(counter(&daemon, "delivered"), delivered);
    }
    assert_eq!(bob.ask("QUIT"), "OK");
    daemon.logged("15 handed out, 10 acknowledged");
}

#[test]
fn status_and_metrics_report_that_no_daemon_runs() {
    let mut daemon = Daemon::start();
    daemon.signal(Signal::SIGTERM);
    daemon.ended();
    let run = daemon.path().join("run");
    assert!(!run.join("scoreboard").exists() && !run.join("droplined.pid").exists());
    let output = ctl(&daemon, &["status"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no daemon runs"));
    let metrics = ctl(&daemon, &["metrics"]);
    assert!(metrics.status.success());
    assert!(String::from_utf8_lossy(&metrics.stdout).ends_with("dropline_up 0\n"));
    // A killed daemon leaves a scoreboard, which must not count as a running daemon.
    let dir = Daemon::in_dir(daemon.kill(), "", &[]).kill();
    assert!(dir.path().join("run/scoreboard").exists());
    let output = program("droplinectl")
        .arg("--run-dir")
        .arg(dir.path().join("run"))
        .arg("status")
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(69));
}
