//! Tests of the log: its levels, and errors that repeat.

use std::time::Instant;

use crate::support::session::Session;
use crate::support::{Daemon, counter, wait_until};

/// Returns the level and the text of each line.
fn lines(daemon: &Daemon) -> Vec<(String, String)> {
    let log = daemon.log();
    let parts = log.lines().map(|line| {
        let (head, text) = line.split_once("]: ").expect("a process");
        assert!(head.contains(" droplined["), "{line}");
        let (level, text) = text.split_once(": ").expect("a level");
        assert!(
            ["error", "warning", "info", "debug"].contains(&level),
            "{line}"
        );
        (level.to_owned(), text.to_owned())
    });
    parts.collect()
}

#[test]
fn each_line_begins_with_its_level() {
    let daemon = Daemon::with("", &["-v"]);
    daemon.store("bob", "al", "hi");
    daemon.ask("");
    daemon.ask("nonsense\n");
    daemon.logged("sent nothing");
    daemon.logged("refused: ");
    let count = |level: &str| {
        lines(&daemon)
            .iter()
            .filter(|(this, _)| this == level)
            .count()
    };
    assert!(
        count("info") >= 3 && count("debug") >= 1,
        "{}",
        daemon.log()
    );
}

#[test]
fn errors_that_repeat_are_counted() {
    const COUNT: usize = 150;
    let mut daemon = Daemon::with("penalty_exempt = [\"127.0.0.0/8\"]\n", &[]);
    daemon.store("bob", "al", "makes the directory");
    let mailbox = daemon.spool().join("mail/f5/bob");
    std::fs::remove_file(&mailbox).expect("removed");
    std::fs::create_dir(&mailbox).expect("made");
    let begun = Instant::now();
    for _ in 0..COUNT {
        assert!(!daemon.ask("store;bob;al;hi\n").contains("accepted"));
    }
    wait_until("all have failed", || {
        counter(&daemon, "failed") == COUNT as u64
    });
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.ended().success());
    let seconds = usize::try_from(begun.elapsed().as_secs()).expect("few");
    let errors: Vec<_> = lines(&daemon)
        .into_iter()
        .filter(|(level, text)| level == "error" && text.contains("bob"))
        .map(|(_, text)| text)
        .collect();
    // The count of the last ones is a line as well.
    assert!(errors.len() <= seconds + 2, "{seconds} s: {errors:#?}");
    let number = |text: &str, before: &str, after: &str| -> Option<usize> {
        let (_, rest) = text.split_once(before)?;
        rest.split_once(after)?.0.parse().ok()
    };
    let counted = errors.iter().map(|text| {
        let reported = text
            .split_once(" more line")
            .and_then(|(n, _)| n.parse().ok());
        let before = number(text, "(and ", " times since the last such line)");
        reported.unwrap_or(1 + before.unwrap_or(0))
    });
    assert_eq!(counted.sum::<usize>(), COUNT, "{errors:#?}");
}

#[test]
fn a_mailbox_that_cannot_grow_is_no_internal_error() {
    let dir = tempfile::tempdir().expect("a directory");
    // The scoreboard has 6 MB.
    let starter = ["prlimit", "--fsize=7340032"];
    let daemon = Daemon::started_by(&starter, dir, "");
    let mut al = Session::of(&daemon, "al");
    let body = vec![b'x'; 64_000];
    let mut stored = 0;
    let refusal = loop {
        let answer = al.store("bob", "", &body);
        if !answer.starts_with("OK ") {
            break answer;
        }
        stored += 1;
    };
    assert!(stored > 50, "{stored}: {refusal}");
    let sentence = "The server's system allows it no larger files, try again later";
    assert_eq!(refusal, format!("ERR disk-full {sentence}"));
    let text = String::from_utf8(body).expect("text");
    for _ in 0..20 {
        let reply = daemon.ask(format!("store;bob;al;{text}\n"));
        assert_eq!(reply, format!("Message declined. {sentence}\n"));
    }
    // Others are served.
    daemon.store("carol", "al", "hi");
    wait_until("all are counted", || counter(&daemon, "disk_full") == 21);
    assert_eq!(counter(&daemon, "failed"), 0);
    let warnings = lines(&daemon);
    let warnings = warnings.iter().filter(|(level, _)| level != "info");
    let warnings: Vec<_> = warnings.map(|(_, text)| text).collect();
    assert!(
        matches!(warnings[..], [one] if one.contains("bob cannot grow: ")),
        "{warnings:#?}"
    );
}
