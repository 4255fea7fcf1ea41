//! Tests of `droplinectl expire`, and of the ownership of files that root makes in a spool.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::support::others::public_dir;
use crate::support::{Daemon, files_below, program, skip, wait_until};

/// Runs `droplinectl`. Returns its exit status and its output.
fn ctl(args: &[&str], input: Stdio) -> (Option<i32>, String) {
    let output = program("droplinectl")
        .args(args)
        .stdin(input)
        .output()
        .expect("run");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Starts a daemon with three messages in bob's history.
fn daemon_with_history(dir: tempfile::TempDir, config: &str) -> Daemon {
    let daemon = Daemon::in_dir(dir, config, &[]);
    for _ in 0..3 {
        daemon.store("bob", "al", &"x".repeat(20_000));
    }
    assert_eq!(daemon.fetch("bob").len(), 3);
    daemon.logged("3 messages delivered");
    daemon
}

#[test]
fn expire_follows_the_configuration_of_the_daemon() {
    let daemon = daemon_with_history(tempfile::tempdir().expect("a directory"), "");
    let spool = daemon.spool().display().to_string();
    let file = daemon.path().join("c.toml");
    let config = file.display().to_string();
    let history = || {
        let (status, out) = ctl(&["--spool", &spool, "history", "bob"], Stdio::null());
        assert_eq!(status, Some(0));
        out.lines().count()
    };
    let expire = |text: &str, flags: &[&str]| {
        fs::write(&file, text).expect("written");
        ctl(&[flags, &["expire"]].concat(), Stdio::null())
    };
    let done = (Some(0), String::new());
    assert_eq!(expire("", &["--spool", &spool]), done);
    assert_eq!(
        expire("port = 9", &["--spool", &spool, "--config", &config]),
        done
    );
    assert_eq!(history(), 3);
    // An invalid configuration expires nothing.
    for wrong in ["history_bytes = x", "history_bytes = -1"] {
        let (status, said) = expire(wrong, &["--spool", &spool, "--config", &config]);
        assert_eq!(status, Some(78));
        assert!(said.contains("; nothing was done: correct it"), "{said}");
    }
    assert_eq!(history(), 3);
    // The configuration also names the spool.
    let text = format!("history_bytes = 0\nspool = {spool:?}\n");
    assert_eq!(expire(&text, &["--config", &config]), done);
    assert_eq!(history(), 0);
    // The age limit applies as well.
    daemon.store("bob", "al", "one more");
    daemon.fetch("bob");
    wait_until("the message is in the history", || history() == 1);
    assert_eq!(
        expire(
            "history_days = 0",
            &["--spool", &spool, "--config", &config]
        ),
        done
    );
    assert_eq!(history(), 0);
    daemon.store("bob", "al", "still served");
}

#[test]
fn files_that_root_makes_belong_to_the_owner_of_the_spool() {
    let test = "files_that_root_makes_belong_to_the_owner_of_the_spool";
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "only root can write to the spool of another login");
    }
    let dir = public_dir();
    let text = "user = \"games\"\nhistory_bytes = 0\n";
    let mut daemon = daemon_with_history(dir, text);
    let spool = daemon.spool().display().to_string();
    let config = daemon.path().join("droplined.toml").display().to_string();
    let games = fs::metadata(&spool).expect("there").uid();
    assert_ne!(games, 0);
    let all_theirs = || {
        for file in files_below(Path::new(&spool)).expect("readable") {
            let owner = fs::metadata(&file).expect("there").uid();
            assert_eq!(owner, games, "{}", file.display());
        }
    };
    assert_eq!(
        ctl(
            &["--spool", &spool, "--config", &config, "expire"],
            Stdio::null()
        ),
        (Some(0), String::new())
    );
    all_theirs();
    daemon.store("bob", "al", "still served");
    daemon.signal(Signal::SIGTERM);
    daemon.ended();
    // Import a new mailbox, so that root makes its file.
    let output = program("droplinectl")
        .args(["--spool", &spool, "export"])
        .output();
    let exported = String::from_utf8(output.expect("run").stdout).expect("text");
    let file = daemon.path().join("exported");
    fs::write(&file, exported.replace("\"bob\"", "\"eve\"")).expect("written");
    let input = fs::File::open(&file).expect("there");
    assert_eq!(ctl(&["--spool", &spool, "import"], input.into()).0, Some(0));
    all_theirs();
    let repair = ctl(&["--spool", &spool, "check", "--repair"], Stdio::null());
    assert_eq!(repair, (Some(0), String::new()));
    all_theirs();
    let daemon = Daemon::in_dir(daemon.kill(), text, &[]);
    wait_until("the message is read", || daemon.fetch("eve").len() == 1);
}
