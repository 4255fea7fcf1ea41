//! Tests of `droplinectl` on real spools, with and without a running daemon.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::support::{Daemon, PATIENCE, files_below, program, wait_until};

/// Exit status, standard output, standard error.
type Ran = (i32, String, String);

fn ctl_with(spool: &Path, args: &[&str], input: &[u8]) -> Ran {
    let mut child = program("droplinectl")
        .arg("--spool")
        .arg(spool)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run");
    let mut stdin = child.stdin.take().expect("a pipe");
    // The program may exit before it has read all input.
    let _ = stdin.write_all(input);
    drop(stdin);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("a status"), text(stdout), text(stderr))
}

fn ctl(spool: &Path, args: &[&str]) -> Ran {
    ctl_with(spool, args, b"")
}

const NOTHING: Ran = (0, String::new(), String::new());

/// Returns the file of the mailbox of this name.
fn mailbox(daemon: &Daemon, name: &str) -> PathBuf {
    let files = files_below(&daemon.spool().join("mail")).expect("readable");
    let file = files.into_iter().find(|file| file.ends_with(name));
    file.unwrap_or_else(|| panic!("no mailbox of {name}"))
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).expect("readable");
    bytes[at] ^= 0x10;
    fs::write(file, bytes).expect("written");
}

/// Stops a daemon, so that its spool can be modified.
fn ended(mut daemon: Daemon) -> Daemon {
    daemon.signal(Signal::SIGTERM);
    daemon.ended();
    daemon
}

#[test]
fn lists_waiting_messages_and_the_history() {
    let daemon = Daemon::start();
    let spool = daemon.spool();
    assert_eq!(ctl(&spool, &["queue"]), NOTHING);
    daemon.store("bob", "al", "one");
    daemon.fetch("bob");
    daemon.ask("store;bob;eve;two\x1b[2J\ttab\n");
    daemon.fetch("bob");
    daemon.store("bob", "al", "three");
    let (status, out, _) = ctl(&spool, &["history", "bob"]);
    let rows: Vec<Vec<_>> = out.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((status, rows.len()), (0, 2), "{out}");
    assert_eq!((rows[0][0], rows[0][2], rows[0][3]), ("1", "~al", "one"));
    assert_eq!(
        (rows[1][0], rows[1][2], rows[1][3]),
        ("2", "~eve", "two\\u{1b}[2J\\ttab")
    );
    assert_eq!(
        ctl(&spool, &["queue", "bob"]).1.split('\t').nth(1),
        Some("1")
    );
    assert_eq!(ctl(&spool, &["history", "nobody"]).0, 67);
    assert_eq!(ctl(&spool, &["queue", "../x"]).0, 64);
}

/// Returns the offset after the last record, where the zero padding begins.
fn records_end(mailbox: &Path) -> usize {
    let bytes = fs::read(mailbox).expect("readable");
    let last = bytes.iter().rposition(|&byte| byte != 0);
    (last.expect("a record") + 1).next_multiple_of(8)
}

#[test]
fn check_finds_nothing_in_a_sound_spool_live_or_stopped() {
    let daemon = Daemon::start();
    for n in 0..50 {
        daemon.store(&format!("m{}", n % 7), "al", &"x".repeat(n * 100 + 1));
    }
    daemon.fetch("m3");
    assert_eq!(ctl(&daemon.spool(), &["check"]), NOTHING);
    assert_eq!(ctl(&daemon.spool(), &["expire"]), NOTHING);
    let (status, _, err) = ctl(&daemon.spool(), &["check", "--repair"]);
    assert_eq!(status, 69, "repair must be refused while a daemon runs");
    assert!(err.contains(&format!("process {}", daemon.pid())), "{err}");
    let daemon = ended(daemon);
    assert_eq!(ctl(&daemon.spool(), &["check"]), NOTHING);
    assert_eq!(ctl(&daemon.spool(), &["check", "--repair"]), NOTHING);
    assert_eq!(ctl(&daemon.spool(), &["check", "m1", "nobody"]).0, 67);
}

#[test]
fn check_reports_and_repairs_damage_and_other_mailboxes_are_served() {
    let daemon = Daemon::start();
    for body in ["one", "two", "three"] {
        daemon.store("bob", "al", body);
        daemon.store("eve", "al", body);
        daemon.store("carol", "al", body);
    }
    let bob = mailbox(&daemon, "bob");
    let eve = mailbox(&daemon, "eve");
    let second = 1024 + (records_end(&bob) - 1024 + 16) / 3 / 8 * 8;
    flip(&bob, second + 2);
    flip(&eve, 5);
    flip(&eve, 520);
    let (status, out, err) = ctl(&daemon.spool(), &["check"]);
    assert_eq!(
        (status, err.as_str()),
        (1, "droplinectl: 2 findings\n"),
        "{out}"
    );
    let (bob_text, eve_text) = (bob.display().to_string(), eve.display().to_string());
    assert!(
        out.lines()
            .any(|line| line.starts_with(&format!("{bob_text}: byte 11"))),
        "{out}"
    );
    assert!(
        out.lines()
            .any(|line| line.starts_with(&format!("{eve_text}: byte 0: both its headers"))),
        "{out}"
    );
    // The daemon delivers intact mailboxes, reports the damaged one, and logs the damage.
    assert_eq!(daemon.fetch("carol").len(), 3);
    assert_eq!(daemon.ask("fetch;eve\n"), "Internal error");
    assert_eq!(daemon.ask("store;eve;al;four\n"), "Internal error");
    daemon.logged(&format!("{eve_text} is damaged at byte 0"));
    let (status, out, err) = ctl(&daemon.spool(), &["queue"]);
    assert!(out.starts_with("bob\t2\t"), "{out}");
    assert!(status == 1 && err.contains(&eve_text), "{err}");
    let daemon = ended(daemon);
    let (status, out, err) = ctl(&daemon.spool(), &["check", "--repair"]);
    assert_eq!((status, out.lines().count()), (0, 2), "{out}");
    let mended = "droplinectl: repaired the mailbox of bob: 2 messages are waiting in it\n\
                  droplinectl: repaired the mailbox of eve: 3 messages are waiting in it\n";
    assert_eq!(err, mended);
    assert_eq!(ctl(&daemon.spool(), &["check"]), NOTHING);
    let kept: Vec<_> = files_below(&daemon.spool().join("quarantine")).expect("readable");
    assert_eq!(kept.len(), 1, "{kept:?}");
    let daemon = Daemon::in_dir(daemon.kill(), "", &[]);
    assert_eq!(daemon.fetch("bob"), ["bob;al;one", "bob;al;three"]);
    assert_eq!(
        daemon.fetch("eve").len(),
        3,
        "without a header, all messages wait again"
    );
    daemon.store("eve", "al", "four");
}

#[test]
fn an_unreadable_mailbox_is_quarantined_before_a_new_one_is_made() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "one");
    daemon.store("eve", "al", "one");
    let bob = mailbox(&daemon, "bob");
    fs::write(&bob, b"not a mailbox").expect("written");
    let (status, out, _) = ctl(&daemon.spool(), &["check"]);
    assert_eq!(
        (status, out),
        (
            1,
            format!(
                "{}: byte 0: it contains neither a header nor a message\n",
                bob.display()
            )
        )
    );
    daemon.store("bob", "al", "two");
    let kept = files_below(&daemon.spool().join("quarantine")).expect("readable");
    assert_eq!(fs::read(&kept[0]).expect("readable"), b"not a mailbox");
    daemon.logged("go to quarantine");
    fs::remove_file(&bob).expect("removed");
    fs::create_dir(&bob).expect("made");
    let (status, out, err) = ctl(&daemon.spool(), &["queue"]);
    assert!(
        status == 1 && out.starts_with("eve\t1\t") && err.contains(&bob.display().to_string()),
        "{err}"
    );
}

#[test]
fn check_finds_stray_files() {
    let daemon = Daemon::start();
    daemon.store("bob", "al", "one");
    let bob = mailbox(&daemon, "bob");
    let mail = daemon.spool().join("mail");
    fs::copy(&bob, bob.with_file_name("not a name")).expect("copied");
    let wrong = if bob.starts_with(mail.join("00")) {
        "01"
    } else {
        "00"
    };
    fs::create_dir_all(mail.join(wrong)).expect("made");
    fs::copy(&bob, mail.join(wrong).join("bob")).expect("copied");
    let (status, out, _) = ctl(&daemon.spool(), &["check"]);
    assert_eq!(status, 1);
    assert!(out.contains("not a name: byte 0: not a mailbox"), "{out}");
    assert!(
        out.contains(&format!(
            "{wrong}/bob: byte 0: a mailbox in the wrong folder"
        )),
        "{out}"
    );
}

#[test]
fn a_failed_import_can_be_continued() {
    let daemon = Daemon::start();
    for name in ["anna", "bob", "carol"] {
        daemon.store(name, "al", "one");
        daemon.store(name, "al", "two");
    }
    let daemon = ended(daemon);
    let exported = ctl(&daemon.spool(), &["export"]).1;
    // Cut the export in the middle of bob's second message.
    let cut = exported.find("carol").expect("a mailbox") - 40;
    let target = tempfile::tempdir().expect("a directory");
    let spool = target.path().join("spool");
    let (status, _, err) = ctl_with(&spool, &["import"], &exported.as_bytes()[..cut]);
    assert_eq!(status, 65, "{err}");
    assert_eq!(
        ctl(&spool, &["queue"]).1.lines().count(),
        1,
        "only anna is complete"
    );
    let (status, _, err) = ctl_with(&spool, &["import"], exported.as_bytes());
    assert!(status == 65 && err.contains("anna"), "{err}");
    let missing = ["import", "--missing"];
    assert_eq!(ctl_with(&spool, &missing, exported.as_bytes()), NOTHING);
    assert_eq!(ctl(&spool, &["export"]).1, exported);
    assert_eq!(ctl_with(&spool, &missing, exported.as_bytes()), NOTHING);
    assert_eq!(ctl(&spool, &["export"]).1, exported);
}

#[test]
fn owner_records_without_an_owner_are_exported_and_imported() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = dir.path().join("spool");
    let archive = "{\"user\":\"carol\",\"registered\":2}\n\
        {\"login\":\"al\",\"claimed\":0,\"record\":\"incomplete\"}\n\
        {\"login\":\"bob\",\"claimed\":0,\"record\":\"damaged\"}\n";
    assert_eq!(ctl_with(&spool, &["import"], archive.as_bytes()), NOTHING);
    assert_eq!(ctl(&spool, &["export"]), (0, archive.into(), String::new()));
    // A damaged registration does not stop the others.
    let carol = files_below(&spool.join("user")).expect("readable");
    let carol = carol.iter().find(|file| file.ends_with("carol"));
    fs::write(carol.expect("a registration"), "damaged").expect("written");
    let (status, out, err) = ctl(&spool, &["users"]);
    assert_eq!(
        (status, out.as_str()),
        (1, "al\t-\t?\nbob\t-\t?\n"),
        "{err}"
    );
    assert!(err.contains("carol is damaged"), "{err}");
}

#[test]
fn import_restores_an_export_byte_for_byte() {
    let daemon = Daemon::start();
    let bodies: [&[u8]; 5] = [
        b"plain",
        b"\xff\0\x01",
        "ünï \"x\" \\".as_bytes(),
        b"\t",
        &[b'y'; 60_000],
    ];
    for body in bodies {
        for name in ["bob", "eve.2", "_"] {
            let request = [format!("store;{name};al;").as_bytes(), body, b"\n"].concat();
            assert_eq!(daemon.ask(request), "Message accepted and stored:\n");
        }
    }
    daemon.fetch("eve.2");
    daemon.store("eve.2", "al", "last");
    daemon.fetch("_");
    wait_until("the messages are acknowledged", || {
        daemon.log().contains("fetch _: 5 messages delivered")
    });
    let live = ctl(&daemon.spool(), &["export"]);
    let daemon = ended(daemon);
    let exported = ctl(&daemon.spool(), &["export"]);
    assert_eq!(exported, live);
    for line in [
        "{\"mailbox\":\"_\",\"acked\":5,\"used\":true}\n",
        "{\"mailbox\":\"bob\",\"acked\":0,\"used\":false}\n",
    ] {
        assert!(exported.1.contains(line), "{}", exported.1);
    }
    assert_eq!(
        (exported.0, exported.1.lines().count()),
        (0, 3 + 3 * 5 + 1),
        "{}",
        exported.1
    );
    let target = tempfile::tempdir().expect("a directory");
    let spool = target.path().join("spool");
    assert_eq!(
        ctl_with(&spool, &["import"], exported.1.as_bytes()),
        NOTHING
    );
    assert_eq!(ctl(&spool, &["export"]).1, exported.1);
    assert_eq!(ctl(&spool, &["check"]), NOTHING);
    let users = "{\"user\":\"al\",\"registered\":1795300000123}\n{\"user\":\"bob\",\"registered\":2}\n\
         {\"login\":\"carol\",\"claimed\":3}\n";
    assert_eq!(ctl_with(&spool, &["import"], users.as_bytes()), NOTHING);
    assert_eq!(ctl(&spool, &["export"]).1, format!("{users}{}", exported.1));
    assert_eq!(
        ctl(&spool, &["users"]).1,
        "al\t2026-11-21T22:26:40Z\t-\nbob\t1970-01-01T00:00:00Z\t-\ncarol\t-\t?\n"
    );
    let (status, _, err) = ctl_with(&spool, &["import"], exported.1.as_bytes());
    assert_eq!(status, 65, "import must refuse mailboxes that exist");
    assert!(
        err.contains("line 1") && err.contains("already exists"),
        "{err}"
    );
    let daemon = Daemon::in_dir(target, "", &[]);
    let waiting = daemon.fetch("bob");
    assert_eq!(waiting.len(), 5);
    assert_eq!(waiting[1], "bob;al;\u{fffd}\\x00\\x01");
    assert_eq!(daemon.fetch("eve.2"), ["eve.2;al;last"]);
    daemon.store("_", "al", "next");
    daemon.logged("store _/6 from");
}

#[test]
fn import_refuses_invalid_input_and_reports_the_line() {
    let good = "{\"mailbox\":\"bob\",\"acked\":0}\n";
    let message = |seq: &str, rest: &str| {
        format!(
            "{{\"mailbox\":\"bob\",\"seq\":{seq},\"id\":\"{}\",\"from\":\"al\",\"trust\":\"open\",\"at\":1,{rest}}}\n",
            "0f".repeat(16)
        )
    };
    for (wrong, line, word) in [
        ("junk\n".to_owned(), 1, ""),
        ("{\"mailbox\":\"../x\",\"acked\":0}\n".into(), 1, "name"),
        (
            message("1", "\"body\":\"x\""),
            1,
            "before the line of its mailbox",
        ),
        (
            format!("{good}{}", message("1", "\"body\":\"\"")),
            2,
            "1 to 1048576",
        ),
        (
            format!(
                "{good}{}",
                message("1", "\"body\":\"x\",\"body_base64\":\"eA==\"")
            ),
            2,
            "either",
        ),
        (
            format!("{good}{}", message("1", "\"body_base64\":\"*\"")),
            2,
            "body_base64",
        ),
        (
            format!("{good}{0}{0}", message("1", "\"body\":\"x\"")),
            3,
            "cannot come after",
        ),
        (
            format!(
                "{good}{}",
                message("1", "\"body\":\"x\"").replace("bob", "eve")
            ),
            2,
            "among those of bob",
        ),
        (
            format!(
                "{good}{}",
                message("1", "\"body\":\"x\"").replace("0f0f", "0f")
            ),
            2,
            "32 hexadecimal",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = dir.path().join("spool");
        let (status, _, err) = ctl_with(&spool, &["import"], wrong.as_bytes());
        assert_eq!(status, 65, "{wrong}: {err}");
        assert!(
            err.contains(&format!("line {line} ")) && err.contains(word),
            "{wrong}: {err}"
        );
        assert_eq!(
            ctl(&spool, &["queue", "bob"]).0,
            67,
            "a part of a refused import was stored"
        );
    }
}

#[test]
fn read_messages_stay_read_through_damage_and_repair() {
    let daemon = Daemon::start();
    for n in 0..4 {
        daemon.store("bob", "al", &format!("message {n}"));
        daemon.store("eve", "al", &format!("message {n}"));
    }
    daemon.fetch("bob");
    daemon.fetch("eve");
    wait_until("the messages are acknowledged", || {
        daemon.log().contains("fetch eve: 4 messages delivered")
    });
    let (bob, eve) = (mailbox(&daemon, "bob"), mailbox(&daemon, "eve"));
    let daemon = ended(daemon);
    // Cut off the last message, which the header counts as read.
    let len = records_end(&bob) as u64;
    fs::File::options()
        .write(true)
        .open(&bob)
        .expect("open")
        .set_len(len - 50)
        .expect("cut");
    // Damage the older header. The newer one stays valid.
    let bytes = fs::read(&eve).expect("readable");
    let generation = |at: usize| bytes[at + 16];
    let older = if generation(0) < generation(512) {
        0
    } else {
        512
    };
    flip(&eve, older + 20);
    let (status, out, _) = ctl(&daemon.spool(), &["check"]);
    assert_eq!((status, out.lines().count()), (1, 3), "{out}");
    assert!(
        out.contains("eve: byte 0: one of its two headers is invalid"),
        "{out}"
    );
    assert_eq!(ctl(&daemon.spool(), &["check", "--repair"]).0, 0);
    assert_eq!(ctl(&daemon.spool(), &["check"]), NOTHING);
    assert_eq!(
        ctl(&daemon.spool(), &["queue"]),
        NOTHING,
        "read messages wait again"
    );
    assert_eq!(
        ctl(&daemon.spool(), &["history", "bob"]).1.lines().count(),
        3
    );
    // Repair wrote both headers, so one of them may be damaged again.
    flip(&eve, 20);
    assert_eq!(ctl(&daemon.spool(), &["queue"]), NOTHING);
    let daemon = Daemon::in_dir(daemon.kill(), "", &[]);
    daemon.store("bob", "al", "next");
    daemon.logged("store bob/5 from");
}

#[test]
fn a_damaged_mailbox_does_not_stop_export_or_repair() {
    let daemon = Daemon::start();
    for name in ["aa", "bb", "cc"] {
        daemon.store(name, "al", "hi");
    }
    let bb = mailbox(&daemon, "bb");
    flip(&bb, 5);
    flip(&bb, 517);
    fs::copy(mailbox(&daemon, "aa"), bb.with_file_name("aa")).expect("copied");
    let daemon = ended(daemon);
    let (status, out, err) = ctl(&daemon.spool(), &["export"]);
    assert_eq!((status, out.lines().count()), (1, 4), "{out}");
    assert!(err.contains(&bb.display().to_string()), "{err}");
    let (status, out, _) = ctl(&daemon.spool(), &["check", "--repair"]);
    assert_eq!(status, 1, "repair must leave the stray file: {out}");
    assert!(out.contains("in the wrong folder"), "{out}");
    fs::remove_file(bb.with_file_name("aa")).expect("removed");
    fs::write(bb.with_file_name(".bb.new"), "left over").expect("written");
    assert_eq!(ctl(&daemon.spool(), &["check"]).0, 1);
    assert_eq!(ctl(&daemon.spool(), &["check", "--repair"]), NOTHING);
    assert_eq!(ctl(&daemon.spool(), &["check"]), NOTHING);
    assert_eq!(ctl(&daemon.spool(), &["export"]).1.lines().count(), 6);
}

#[test]
fn the_spool_stays_locked_when_files_are_removed_from_it() {
    let daemon = Daemon::start();
    fs::remove_file(daemon.spool().join("owner")).expect("removed");
    fs::remove_dir(daemon.spool().join("quarantine")).expect("removed");
    assert_eq!(ctl(&daemon.spool(), &["check", "--repair"]).0, 69);
    daemon.store("bob", "al", "hi");
    let daemon = Daemon::in_dir(daemon.kill(), "", &[]);
    assert_eq!(daemon.fetch("bob").len(), 1);
}

#[test]
fn import_refuses_impossible_message_numbers() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = dir.path().join("spool");
    let line = "{\"mailbox\":\"bob\",\"acked\":18446744073709551615}\n";
    let (status, _, err) = ctl_with(&spool, &["import"], line.as_bytes());
    assert_eq!(status, 65, "{err}");
    assert_eq!(ctl(&spool, &["queue", "bob"]).0, 67);
}

#[test]
fn progress_is_shown_on_a_terminal_and_not_on_a_pipe() {
    let dir = tempfile::tempdir().expect("a directory");
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("made");
    let mut shell = program("droplinectl");
    let script = format!(
        "exec {} --spool {} import <{}",
        shell.get_program().display(),
        dir.path().join("spool").display(),
        fifo.display()
    );
    shell = std::process::Command::new("sh");
    shell.args(["-c", &script]);
    let mut terminal =
        rexpect::session::spawn_command(shell, Some(PATIENCE.as_secs() * 1000)).expect("run");
    let shown = Arc::new(AtomicBool::new(false));
    let feeder = {
        let shown = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut fifo = fs::File::options().write(true).open(fifo).expect("opened");
            let mut users = 0;
            while !shown.load(Ordering::Relaxed) {
                users += 1;
                writeln!(fifo, "{{\"user\":\"u{users}\",\"registered\":1}}").expect("read");
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            users
        })
    };
    let before = terminal.exp_regex("[0-9]+ lines").expect("progress");
    assert_eq!(before.0, "\r", "unexpected output before the progress");
    shown.store(true, Ordering::Relaxed);
    let users = feeder.join().expect("fed");
    let rest = terminal.exp_eof().expect("it ends");
    assert!(
        rest.ends_with("\r\u{1b}[K"),
        "the progress line was not erased: {rest:?}"
    );
    let listed = ctl(&dir.path().join("spool"), &["users"]);
    assert_eq!(listed.1.lines().count(), users, "{listed:?}");
    assert_eq!(listed.2, "", "progress without a terminal");
}
