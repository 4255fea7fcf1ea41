//! Tests of the line dialect with raw bytes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::support::{Daemon, default_of, files_below, listen, skip, trace};

const ACCEPTED: &str = "Message accepted and stored:\n";

#[test]
fn returns_every_documented_reply() {
    let daemon = Daemon::start();
    for (request, reply) in [
        ("store;Kyriakos;george;hi Kyriakos\n", ACCEPTED),
        (
            "fetch;Kyriakos\n",
            "Retrieving messages...\nKyriakos;george;hi Kyriakos\nNO MORE MESSAGES",
        ),
        (
            "fetch;Kyriakos\n",
            "Retrieving messages...\nNO MORE MESSAGES",
        ),
        (
            "fetch;nobody\n",
            "Retrieving messages...\nThere is no such name",
        ),
        ("\n", "No verb\n"),
        (";;;\n", "No verb\n"),
        ("store\n", "No reciever\n"),
        ("store;;george;hi\n", "No reciever\n"),
        ("fetch\n", "No reciever\n"),
        ("store;Kyriakos\n", "No sender\n"),
        ("store;Kyriakos;;hi\n", "No sender\n"),
        ("store;Kyriakos;george\n", "No message\n"),
        ("store;Kyriakos;george;\n", "No message\n"),
        ("remove;Kyriakos\n", "Message declined. Bad verb\n"),
        ("FETCH;Kyriakos\n", "Message declined. Bad verb\n"),
        ("HEL", "Message declined. Bad verb\n"),
    ] {
        assert_eq!(daemon.ask(request), reply, "{request:?}");
    }
}

#[test]
fn a_request_ends_with_lf_crlf_end_of_file_or_silence() {
    let daemon = Daemon::start();
    assert_eq!(daemon.ask("store;bob;al;newline\n"), ACCEPTED);
    assert_eq!(daemon.ask("store;bob;al;return and newline\r\n"), ACCEPTED);
    assert_eq!(daemon.ask("store;bob;al;end of file"), ACCEPTED);
    // The legacy client sends neither a newline nor a half-close, and waits.
    assert_eq!(listen(daemon.say(b"store;bob;al;silence")), ACCEPTED);
    let bodies = ["newline", "return and newline", "end of file", "silence"];
    assert_eq!(
        daemon.fetch("bob"),
        bodies.map(|body| format!("bob;al;{body}"))
    );
}

/// Bytes that arrive while the child waits for the disk delay neither the answer nor the close.
#[test]
fn a_late_byte_does_not_delay_the_answer() {
    let daemon = Daemon::start();
    daemon.store("bob", "alice", "one");
    let slow = ["-e", "inject=fdatasync:delay_enter=300000"];
    let Some(mut strace) = trace::attach(&daemon, &slow, &daemon.path().join("trace")) else {
        let why = "strace is not installed or may not attach";
        return skip("a_late_byte_does_not_delay_the_answer", why);
    };
    let mut client = daemon.connect();
    client.write_all(b"store;bob;alice;two\n").expect("sent");
    std::thread::sleep(Duration::from_millis(100));
    client.write_all(b"\n").expect("sent");
    let begun = Instant::now();
    let mut said = String::new();
    client.read_to_string(&mut said).expect("the end");
    assert_eq!(said, ACCEPTED);
    // Draining unread input before the close takes up to five seconds.
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    strace.kill().expect("ended");
    strace.wait().expect("ended");
}

#[test]
fn a_request_may_arrive_in_pieces() {
    let daemon = Daemon::start();
    let mut stream = daemon.connect();
    stream.set_nodelay(true).expect("set");
    for byte in b"store;bob;al;piece by piece\nfetch;bob\n" {
        stream.write_all(&[*byte]).expect("sent");
    }
    assert_eq!(
        listen(stream),
        ACCEPTED,
        "bytes after the request must be ignored"
    );
    assert_eq!(daemon.fetch("bob"), ["bob;al;piece by piece"]);
}

#[test]
fn the_message_is_everything_after_the_third_semicolon() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", ";a;;b;");
    assert_eq!(daemon.fetch("bob"), ["bob;al;;a;;b;"]);
    daemon.store("bob", "al", "again");
    assert_eq!(
        daemon.ask("fetch;bob;and;more\n"),
        "Retrieving messages...\nbob;al;again\nNO MORE MESSAGES"
    );
}

#[test]
fn control_characters_of_a_message_are_escaped() {
    let daemon = Daemon::start();
    let request = b"store;bob;al;\x1b[2J\x07tab\there\x9b\xc2\x9b\x7f\0end \xc3\xbc\r\r\n";
    assert_eq!(daemon.ask(request), ACCEPTED);
    let seen = daemon.fetch("bob");
    assert_eq!(
        seen,
        ["bob;al;\\x1b[2J\\x07tab\there\\x9b\\xc2\\x9b\\x7f\\x00end ü\\x0d"]
    );
}

#[test]
fn accepts_messages_up_to_the_length_limit() {
    let daemon = Daemon::start();
    let most = default_of("max_body");
    for len in [1, 1_199, 1_200, most - 1, most] {
        let body = "x".repeat(len);
        daemon.store("bob", "al", &body);
        assert_eq!(
            daemon.fetch("bob"),
            [format!("bob;al;{body}")],
            "{len} bytes"
        );
    }
    for len in [most + 1, most + 5_000, 10 << 20] {
        for end in ["", "\n"] {
            let reply = daemon.ask(format!("store;bob;al;{}{end}", "x".repeat(len)));
            let expected = format!(
                "Message declined. The message is too long: at most {most} bytes are allowed\n"
            );
            assert_eq!(reply, expected, "{len} bytes");
        }
    }
    assert_eq!(daemon.fetch("bob"), Vec::<String>::new());
    // The legacy client with a message of more than one segment.
    assert_eq!(
        listen(daemon.say(format!("store;bob;al;{}", "y".repeat(50_000)).as_bytes())),
        ACCEPTED
    );
    assert_eq!(daemon.fetch("bob")[0].len(), 7 + 50_000);
}

#[test]
fn the_length_limit_is_configurable() {
    let daemon = Daemon::with("max_body = 1048576", &[]);
    let body = "z".repeat(1 << 20);
    daemon.store("bob", "al", &body);
    assert_eq!(daemon.fetch("bob"), [format!("bob;al;{body}")]);
    let daemon = Daemon::with("max_body = 3", &[]);
    daemon.store("bob", "al", "abc");
    assert!(
        daemon
            .ask("store;bob;al;abcd\n")
            .contains("at most 3 bytes")
    );
}

#[test]
fn invalid_names_are_refused_and_make_no_file() {
    let daemon = Daemon::start();
    let long = "n".repeat(51);
    let longer = "n".repeat(30_000);
    let before = files_below(daemon.path()).expect("readable");
    for name in [
        "../../etc/passwd",
        "..",
        ".",
        "/etc/passwd",
        "a/b",
        ".hidden",
        "-rf",
        "a b",
        "ü",
        "a\0b",
        "a\tb",
        "%2e%2e",
        "~root",
        "$HOME",
        "`id`",
        "*",
        long.as_str(),
        longer.as_str(),
    ] {
        for request in [
            format!("store;{name};al;hi\n"),
            format!("store;al;{name};hi\n"),
            format!("fetch;{name}\n"),
        ] {
            let reply = daemon.ask(&request);
            assert!(
                reply.starts_with("Message declined. The "),
                "{request:?}: {reply}"
            );
            assert!(reply.contains("is not a name"), "{request:?}: {reply}");
            assert_eq!(reply.matches('\n').count(), 1);
        }
    }
    assert_eq!(files_below(daemon.path()).expect("readable"), before);
}

#[test]
fn garbage_gets_a_refusal_or_a_clean_close() {
    let daemon = Daemon::start();
    assert_eq!(daemon.ask(""), "");
    assert_eq!(daemon.ask(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"), "");
    assert_eq!(daemon.ask(b"\0\0\0\0"), "");
    assert_eq!(daemon.ask([0xff; 200_000]), "Message declined. Bad verb\n");
    assert_eq!(
        daemon.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        "Message declined. Bad verb\n"
    );
    daemon.store("bob", "al", "still here");
}

#[test]
fn silent_and_slow_clients_time_out() {
    let daemon = Daemon::with("first_byte_timeout = 1\nrequest_timeout = 1", &[]);
    let timeout = "Message declined. Timeout: the request did not come in time\n";
    // TCP_DEFER_ACCEPT holds a silent client back for some seconds before it gets a child.
    let silent = daemon.connect();
    let mut slow = daemon.connect();
    let mut drip = slow.try_clone().expect("cloned");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // One byte at a time, each before the pause that would end the request.
            while drip.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        assert_eq!(listen(slow.try_clone().expect("cloned")), timeout);
        // Best effort: the daemon may have reset the connection by now.
        let _ = slow.flush();
        let _ = slow.shutdown(Shutdown::Both);
    });
    assert_eq!(listen(silent), timeout);
    daemon.logged(" too slow: Message declined. Timeout");
}

#[test]
fn only_open_networks_are_served() {
    let daemon = Daemon::with("open_networks = [\"10.0.0.0/8\"]", &[]);
    let reply = daemon.ask("store;bob;al;hi\n");
    assert!(
        reply.starts_with("Message declined. Not allowed"),
        "{reply}"
    );
    assert!(
        reply.contains("open_networks"),
        "the reply must name the setting: {reply}"
    );
    assert!(daemon.ask("fetch;bob\n").contains("open_networks"));
    assert!(
        files_below(&daemon.spool().join("mail"))
            .expect("readable")
            .is_empty()
    );
    let daemon = Daemon::with("open_networks = []", &["--open-network", "127.0.0.0/8"]);
    daemon.store("bob", "al", "hi");
}

#[test]
fn the_log_has_one_line_per_connection_and_no_bodies() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "secret");
    daemon.fetch("bob");
    daemon.ask("secret;secret\n");
    daemon.logged("refused: Message declined. Bad verb");
    daemon.logged("1 messages delivered");
    daemon.logged("6 bytes: accepted");
    let log = daemon.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("127.0.0.1:"))
        .collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(
        log.contains("store bob/1 from ~al, 6 bytes: accepted"),
        "{log}"
    );
    assert!(log.contains("fetch bob: 1 messages delivered"), "{log}");
    assert!(log.contains("refused: Message declined. Bad verb"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
