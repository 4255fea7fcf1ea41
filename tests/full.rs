//! Tests of full run directories and full disks.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::mount::Mount;
use crate::support::session::Session;
use crate::support::{Daemon, configure, counter, ctl, program, wait_until};

/// Runs a daemon that is expected to exit.
fn start(dir: &Path, run_dir: &Path) -> Output {
    program("droplined")
        .args(["-p", "0", "--config"])
        .arg(configure(dir, ""))
        .arg("--spool")
        .arg(dir.join("spool"))
        .arg("--run-dir")
        .arg(run_dir)
        .output()
        .expect("run")
}

/// Writes files until the file system is full.
fn fill(dir: &Path) {
    for n in 0.. {
        if fs::write(dir.join(format!("filler{n}")), [1; 4096]).is_err() {
            return;
        }
    }
}

#[test]
fn a_full_run_directory_ends_no_process() {
    let Some(mount) = Mount::tmpfs("a full run directory", "size=8m,mode=0755") else {
        return;
    };
    let spool = tempfile::tempdir().expect("a directory");
    let dir = tempfile::tempdir_in(mount.path()).expect("a directory");
    let daemon = Daemon::with_spool(dir, &spool.path().join("spool"), "", &[]);
    let mut al = Session::of(&daemon, "al");
    assert!(al.ask("ONLINE port=8283").starts_with("OK "));
    fill(&mount.path());
    let mut bob = Session::of(&daemon, "bob");
    let reply = bob.ask("ONLINE port=8283");
    assert!(reply.starts_with("ERR disk-full"), "{reply}");
    // Many at once, so that unused slots of the scoreboard are touched: a page without backing would raise SIGBUS.
    let sessions: Vec<Session> = (0..100)
        .map(|n| Session::of(&daemon, &format!("u{n}")))
        .collect();
    daemon.store("bob", "al", "hi");
    for what in ["status", "metrics"] {
        let output = ctl(&daemon, &[what]);
        assert!(output.status.success(), "{output:?}");
    }
    drop(sessions);
    assert!(!daemon.log().contains("SIGBUS"), "{}", daemon.log());
    assert_eq!(daemon.fetch("bob"), ["bob;al;hi"]);
}

#[test]
fn refuses_to_start_without_room_for_the_scoreboard() {
    let Some(mount) = Mount::tmpfs("a small run directory", "size=1m,mode=0755") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let run_dir = mount.path().join("run");
    let output = start(dir.path(), &run_dir);
    assert_eq!(output.status.code(), Some(69));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("scoreboard") && said.contains("make room there"),
        "{said}"
    );
    let left = Command::new("ls").arg("-A").arg(&run_dir).output();
    let left = String::from_utf8(left.expect("run").stdout).expect("text");
    assert!(!left.contains("scoreboard"), "{left}");
}

#[test]
fn expired_leases_leave_no_files() {
    let daemon = Daemon::with("lease = 5", &[]);
    let online = |name: &str| {
        let mut session = Session::over(daemon.connect());
        session.ask(&format!("HELLO dropline/1 name={name}"));
        assert!(session.ask("ONLINE port=8283").starts_with("OK "));
    };
    for n in 0..40 {
        online(&format!("u{n}"));
    }
    let files = || {
        let dir = fs::read_dir(daemon.path().join("run/online")).expect("readable");
        dir.count()
    };
    assert!(files() >= 40);
    wait_until("the leases are removed", || {
        std::thread::sleep(Duration::from_millis(500));
        online("al");
        files() == 2
    });
}

#[test]
fn a_full_disk_is_logged_once_in_ten_seconds() {
    let daemon = Daemon::with("min_free_bytes = 9000000000000000000", &[]);
    for _ in 0..5 {
        let reply = daemon.ask("store;bob;al;hi\n");
        assert!(reply.contains("disk is full"), "{reply}");
    }
    wait_until("all refusals are logged", || {
        daemon.log().matches("refused: ").count() >= 5
    });
    let log = daemon.log();
    assert_eq!(
        log.matches("warning: refusing requests that need disk space: ")
            .count(),
        1,
        "{log}"
    );
    assert_eq!(counter(&daemon, "disk_full"), 5);
}
