//! Tests of what other users of the machine see, and of what they can make root do while it starts the daemon. They use
//! logins that every Debian system has.

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use crate::support::others::{for_others, public_dir};
use crate::support::session::Session;
use crate::support::{Daemon, ctl, is_long, program, skip, status, wait_until};

/// A configuration for a daemon that becomes an account whose group has the same name.
const AS_GAMES: &str = "user = \"games\"\n";

/// Returns whether root runs the tests. Reports a skip otherwise.
fn is_root(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skip(
            test,
            "only root can start a daemon that becomes another user",
        );
    }
    is_root
}

fn mode(path: &Path) -> u32 {
    let meta = fs::metadata(path).expect("there");
    meta.permissions().mode() & 0o7777
}

/// Runs `droplinectl` under the login `bin`, with this group.
fn ctl_as_bin(programs: &Command, daemon: &Daemon, group: &str, command: &str) -> Output {
    Command::new("setpriv")
        .args(["--reuid", "bin", "--regid", "bin", "--groups", group])
        .arg(programs.get_program())
        .arg("--run-dir")
        .arg(daemon.path().join("run"))
        .arg(command)
        .output()
        .expect("setpriv")
}

#[test]
fn the_scoreboard_is_for_root_and_the_group_of_the_daemon() {
    if !is_root("the_scoreboard_is_for_root_and_the_group_of_the_daemon") {
        return;
    }
    let dir = public_dir();
    let run = dir.path().join("run");
    let games = nix::unistd::User::from_name("games").expect("looked up");
    let games = games.expect("a Debian account");
    fs::create_dir(&run).expect("made");
    nix::unistd::chown(&run, Some(games.uid), Some(games.gid)).expect("root may");
    // An earlier version left files that all users may read, and another user has them open.
    let names = ["scoreboard", ".scoreboard.new"].map(|name| run.join(name));
    let mut held: Vec<_> = names.iter().map(|name| left_open(name)).collect();
    let daemon = Daemon::in_dir(dir, AS_GAMES, &[]);
    daemon.store("bob", "al", "hi");
    let meta = fs::metadata(&names[0]).expect("there");
    assert_eq!(
        (meta.mode() & 0o7777, meta.gid()),
        (0o640, games.gid.as_raw())
    );
    for file in &mut held {
        let mut text = Vec::new();
        file.read_to_end(&mut text).expect("readable");
        assert!(text.is_empty(), "another user reads the scoreboard");
    }
    // All users may use the socket.
    assert_eq!(mode(&run.join("dropline.sock")), 0o666);
    let programs = for_others(&program("droplinectl"), daemon.path());
    for command in ["status", "top", "metrics"] {
        let other = ctl_as_bin(&programs, &daemon, "bin", command);
        let said = String::from_utf8_lossy(&other.stderr);
        assert_eq!(other.status.code(), Some(69), "{said}");
        assert!(
            said.contains("only root and members of the group games may"),
            "{said}"
        );
        assert!(other.stdout.is_empty());
        let member = ctl_as_bin(&programs, &daemon, "games", command);
        assert!(member.status.success(), "{member:?}");
        assert!(ctl(&daemon, &[command]).status.success());
    }
}

fn left_open(path: &Path) -> File {
    fs::write(path, "").expect("written");
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("set");
    File::open(path).expect("there")
}

#[test]
fn the_scoreboard_of_a_daemon_with_a_shared_group_is_for_its_user() {
    if !is_root("the_scoreboard_of_a_daemon_with_a_shared_group_is_for_its_user") {
        return;
    }
    // The group of nobody is nogroup, which others are members of, too.
    let daemon = Daemon::in_dir(public_dir(), "user = \"nobody\"\n", &[]);
    assert_eq!(mode(&daemon.path().join("run/scoreboard")), 0o600);
    let programs = for_others(&program("droplinectl"), daemon.path());
    let other = ctl_as_bin(&programs, &daemon, "nogroup", "status");
    let said = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(69), "{said}");
    assert!(
        said.contains("only root and the user of the daemon may"),
        "{said}"
    );
}

/// Returns the titles of the children of a daemon that serves a watching session of bob.
fn titles(daemon: &Daemon) -> (String, String) {
    let mut bob = Session::of(daemon, "bob");
    bob.send("WATCH\n");
    let child = || {
        status(daemon)["children"]
            .as_array()
            .expect("a list")
            .first()
            .cloned()
    };
    let mut found = None;
    wait_until("the watch is shown", || {
        found = child().filter(|child| child["doing"] == "watch ~bob");
        found.is_some()
    });
    let child = found.expect("shown");
    let from = child["from"].as_str().expect("an address").to_owned();
    let title = fs::read_to_string(format!("/proc/{}/cmdline", child["pid"])).expect("readable");
    (title.trim_end_matches('\0').to_owned(), from)
}

#[test]
fn titles_show_names_only_if_the_configuration_says_so() {
    let daemon = Daemon::start();
    assert_eq!(titles(&daemon).0, "droplined: session watch");
    let silent = daemon.connect();
    wait_until("the connection has a child", || {
        let title = |pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let titles: Vec<_> = daemon.children().into_iter().map(title).collect();
        assert!(
            !titles.iter().any(|title| title.contains("127.0.0.1:")),
            "{titles:?}"
        );
        let is_idle = |title: &String| title.trim_end_matches('\0') == "droplined: connection";
        // The kernel holds back a silent connection for some seconds.
        titles.iter().any(is_idle)
    });
    drop(silent);
    let daemon = Daemon::with("titles = \"names\"\n", &[]);
    let (title, from) = titles(&daemon);
    assert_eq!(title, format!("droplined: {from} watch ~bob"));
}

/// A file of root that a daemon must not touch.
fn roots_file(dir: &Path) -> PathBuf {
    let path = dir.join("target");
    fs::write(&path, "of root\n").expect("written");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("set");
    path
}

fn assert_untouched(target: &Path) {
    let meta = fs::metadata(target).expect("there");
    assert_eq!(
        (meta.mode() & 0o7777, meta.uid(), meta.gid()),
        (0o600, 0, 0)
    );
    assert_eq!(fs::read_to_string(target).expect("readable"), "of root\n");
}

/// Puts a symbolic link to `target` in the place of each socket that appears at `socket`, until `done`.
fn exchange(socket: &Path, target: &Path, done: &AtomicBool) {
    let link = target.with_file_name("link");
    while !done.load(Ordering::Relaxed) {
        std::thread::yield_now();
        let found = fs::symlink_metadata(socket);
        if found.is_ok_and(|meta| meta.file_type().is_socket()) {
            let _ = fs::remove_file(&link);
            symlink(target, &link).expect("linked");
            fs::rename(&link, socket).expect("exchanged");
        }
    }
}

/// Ends [`exchange`] when it is dropped, also if the test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts a daemon this many times, while another process exchanges its socket.
fn start_against_an_exchange(mut dir: TempDir, starter: &[&str], times: usize) -> TempDir {
    let target = roots_file(dir.path());
    let socket = dir.path().join("run/dropline.sock");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| exchange(&socket, &target, &done));
        let _done = Done(&done);
        for _ in 0..times {
            dir = Daemon::started_by(starter, std::mem::replace(&mut dir, public_dir()), AS_GAMES)
                .kill_family();
        }
    });
    assert_untouched(&target);
    dir
}

#[test]
fn exchanging_the_socket_during_a_start_changes_no_file_of_root() {
    let test = "exchanging_the_socket_during_a_start_changes_no_file_of_root";
    if !is_root(test) {
        return;
    }
    if is_long() {
        start_against_an_exchange(public_dir(), &["env"], 200);
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test, "strace is not installed");
    }
    // Each bind(2) returns late, so that the exchange wins.
    let late = "inject=bind:delay_exit=100000";
    let starter = [
        "strace",
        "-DD",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=bind",
        "-e",
        late,
    ];
    start_against_an_exchange(public_dir(), &starter, 2);
}

#[test]
fn a_pid_file_that_is_another_name_of_a_file_of_root_changes_nothing() {
    if !is_root("a_pid_file_that_is_another_name_of_a_file_of_root_changes_nothing") {
        return;
    }
    let dir = Daemon::in_dir(public_dir(), AS_GAMES, &[]).kill_family();
    let target = roots_file(dir.path());
    let pid_file = dir.path().join("run/droplined.pid");
    fs::remove_file(&pid_file).expect("left by the killed daemon");
    fs::hard_link(&target, &pid_file).expect("linked");
    let daemon = Daemon::in_dir(dir, AS_GAMES, &[]);
    assert_untouched(&target);
    let games = fs::metadata(daemon.path().join("run"))
        .expect("there")
        .uid();
    assert_eq!(fs::metadata(&pid_file).expect("there").uid(), games);
}

#[test]
fn a_daemon_of_root_keeps_a_daemon_of_another_user_out() {
    if !is_root("a_daemon_of_root_keeps_a_daemon_of_another_user_out") {
        return;
    }
    let first = Daemon::in_dir(public_dir(), "user = \"root\"\n", &[]);
    let second = program("droplined")
        .args(["-p", "0", "--config"])
        .arg(crate::support::configure(&second_dir(&first), AS_GAMES))
        .arg("--run-dir")
        .arg(first.path().join("run"))
        .arg("--spool")
        .arg(first.path().join("second/spool"))
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(69), "{said}");
    assert!(said.contains(&format!("process {}", first.pid())), "{said}");
    first.store("bob", "al", "hi");
}

fn second_dir(first: &Daemon) -> PathBuf {
    let dir = first.path().join("second");
    fs::create_dir(&dir).expect("made");
    dir
}
