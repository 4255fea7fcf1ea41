//! Tests of failing starts, which must leave no files, and of configurations that are not regular files.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use crate::support::others::public_dir;
use crate::support::{Daemon, configure, program, skip, wait_until};

/// Returns a command that runs a bash script with the daemon as `$0` and these arguments, for a minute at most.
fn command(dir: &Path, script: &str, args: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["-k", "1", "60", "bash", "-c", script])
        .arg(program("droplined").get_program())
        .arg("--spool")
        .arg(dir.join("spool"))
        .arg("--run-dir")
        .arg(dir.join("run"))
        .args(args)
        .stdin(Stdio::null());
    if !args.contains(&"--check") {
        command.arg("--config").arg(configure(dir, ""));
    }
    command
}

fn run(dir: &Path, script: &str, args: &[&str]) -> Output {
    command(dir, script, args).output().expect("run")
}

/// Starts a daemon that may fail, and returns its output if it does. A daemon that listens is stopped: `None`.
fn failure(dir: &Path, script: &str) -> Option<Output> {
    let mut command = command(dir, script, &["-p", "0", "--ready-fd", "1"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("run");
    let mut port = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut port).expect("text");
    if !port.is_empty() {
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        // timeout(1) forwards the signal.
        kill(pid, Signal::SIGTERM).expect("signalled");
    }
    let output = child.wait_with_output().expect("ended");
    port.is_empty().then_some(output)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the entries of the run directory, except the directories `online` and `watch`.
fn left(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir.join("run")) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.expect("readable").file_name());
    let names = names.map(|name| name.into_string().expect("text"));
    names
        .filter(|name| name != "online" && name != "watch")
        .collect()
}

#[test]
fn a_failed_start_leaves_no_files() {
    let taken = TcpListener::bind("[::]:0").expect("bound");
    let port = taken.local_addr().expect("an address").port().to_string();
    for (script, args, word) in [
        ("exec \"$0\" \"$@\"", &["-p", &port][..], "another program"),
        (
            "exec \"$0\" \"$@\"",
            &["-p", "0", "--ready-fd", "99"],
            "descriptor 99 of --ready-fd",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let output = run(dir.path(), script, args);
        assert_eq!(output.status.code(), Some(69), "{}", said(&output));
        assert!(said(&output).contains(word), "{}", said(&output));
        assert_eq!(left(dir.path()), [""; 0], "{word}");
    }
}

#[test]
fn connections_are_refused_until_the_daemon_can_serve() {
    let dir = Daemon::start().kill_family();
    // The start waits for this lock, which a process holds while it works on the journal.
    let journal = fs::File::open(dir.path().join("spool/journal")).expect("there");
    journal.lock().expect("locked");
    let free = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let socket = dir.path().join("run/dropline.sock");
    fs::remove_file(&socket).expect("the socket of the killed daemon");
    let flags = ["-p".to_owned(), port.to_string()];
    let starts = std::thread::spawn(move || {
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        Daemon::in_dir(dir, "", &flags)
    });
    wait_until("the sockets are bound", || socket.exists());
    let refused = |what: &str, connected: std::io::Result<()>| {
        let error = connected.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{what}");
    };
    refused("TCP", TcpStream::connect(("127.0.0.1", port)).map(drop));
    refused("Unix", UnixStream::connect(&socket).map(drop));
    assert!(!starts.is_finished());
    drop(journal);
    let daemon = starts.join().expect("started");
    daemon.store("bob", "al", "hi");
    UnixStream::connect(&socket).expect("connected");
}

#[test]
fn a_start_with_too_few_descriptors_names_what_failed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut failed = 0;
    for limit in 8..40 {
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        let Some(output) = failure(dir.path(), &script) else {
            continue;
        };
        failed += 1;
        let said = said(&output);
        assert_eq!(output.status.code(), Some(69), "{limit}: {said}");
        let last = said.lines().last().expect("a line");
        assert!(last.contains("cannot "), "{limit}: {last}");
        assert_eq!(left(dir.path()), [""; 0], "{limit}: {last}");
    }
    assert!(failed > 5, "{failed}");
}

#[test]
fn a_configuration_may_be_a_pipe_and_has_a_length_limit() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |script: &str, args: &[&str]| run(dir.path(), script, args);
    let zero = check("\"$0\" \"$@\"", &["--check", "--config", "/dev/zero"]);
    assert_eq!(zero.status.code(), Some(78), "{}", said(&zero));
    assert!(said(&zero).contains("/dev/zero"), "{}", said(&zero));
    let long = check(
        "\"$0\" \"$@\" --config <(head -c 9000000 /dev/zero)",
        &["--check"],
    );
    assert_eq!(long.status.code(), Some(78));
    assert!(said(&long).contains("longer than"), "{}", said(&long));
    let pipe = check(
        "\"$0\" \"$@\" --config <(sleep 1; echo port = 1)",
        &["--check"],
    );
    assert_eq!(pipe.status.code(), Some(0), "{}", said(&pipe));
    let stdin = check(
        "echo port = x | \"$0\" \"$@\"",
        &["--check", "--config", "/dev/stdin"],
    );
    assert!(
        said(&stdin).contains("line 1, column 8"),
        "{}",
        said(&stdin)
    );
}

#[test]
fn sighup_does_not_block_on_a_pipe() {
    let daemon = Daemon::start();
    let file = daemon.path().join("droplined.toml");
    fs::remove_file(&file).expect("removed");
    nix::unistd::mkfifo(&file, Mode::S_IRUSR | Mode::S_IWUSR).expect("made");
    daemon.signal(Signal::SIGHUP);
    daemon.logged("the configuration stays as it was");
    assert!(
        daemon.log().contains("a pipe without a writer"),
        "{}",
        daemon.log()
    );
    daemon.store("bob", "al", "hi");
    // A writer has the pipe open and writes nothing.
    let mut options = fs::File::options();
    let mut writer = options.read(true).write(true).open(&file).expect("opened");
    daemon.signal(Signal::SIGHUP);
    daemon.logged("did not finish in time");
    daemon.store("bob", "al", "hi");
    writer.write_all(b"nonsense\n").expect("written");
    daemon.signal(Signal::SIGHUP);
    wait_until("the pipe is read", || {
        daemon.log().matches("stays as it was").count() == 3
    });
    daemon.store("bob", "al", "hi");
}

#[test]
fn a_run_directory_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let run_dir = dir.path().join("run");
    fs::create_dir(&run_dir).expect("made");
    for (mode, refused) in [
        (0o777, true),
        (0o775, true),
        (0o1777, false),
        (0o755, false),
    ] {
        fs::set_permissions(&run_dir, fs::Permissions::from_mode(mode)).expect("set");
        let output = failure(dir.path(), "exec \"$0\" \"$@\"");
        assert_eq!(output.is_some(), refused, "{mode:o}: {output:?}");
        if let Some(output) = output {
            let said = said(&output);
            assert!(said.contains("others may write there"), "{mode:o}: {said}");
            assert_eq!(output.status.code(), Some(69), "{mode:o}: {said}");
        }
    }
}

#[test]
fn a_start_of_root_that_fails_changes_directories_of_the_account_as_the_account() {
    let test = "a_start_of_root_that_fails_changes_directories_of_the_account_as_the_account";
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "only root can change the user");
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test, "strace is not installed");
    }
    let games = nix::unistd::User::from_name("games").ok().flatten();
    let Some(games) = games else {
        return skip(test, "there is no account games");
    };
    let dir = public_dir();
    let theirs = dir.path().join("theirs");
    fs::create_dir(&theirs).expect("made");
    std::os::unix::fs::chown(&theirs, Some(games.uid.as_raw()), None).expect("given");
    let config = configure(dir.path(), "user = \"games\"\n");
    let trace = dir.path().join("trace");
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = taken.local_addr().expect("known").port().to_string();
    let output = Command::new("strace")
        .args(["-f", "-qq", "-y", "-e", "trace=%file,/set.*uid", "-o"])
        .arg(&trace)
        .arg(program("droplined").get_program())
        .args(["-p", &port, "--bind", "127.0.0.1", "--config"])
        .arg(config)
        .arg("--spool")
        .arg(theirs.join("spool"))
        .arg("--run-dir")
        .arg(theirs.join("run"))
        .output()
        .expect("run");
    assert!(!output.status.success());
    assert!(
        said(&output).contains("cannot listen on "),
        "{}",
        said(&output)
    );
    let trace = fs::read_to_string(trace).expect("a trace");
    let (mut is_root, mut changes) = (true, 0);
    for call in trace.lines().filter_map(|line| line.split_once(' ')) {
        let call = call.1.trim_start();
        if call.starts_with("setresuid(") || call.starts_with("setreuid(") {
            is_root = call.contains("(-1, 0");
        }
        let names = ["unlink", "mkdir", "rename", "chown", "chmod", "O_CREAT"];
        let what = call.split_once('"').map(|(call, _)| call);
        let changes_it = names.iter().any(|name| {
            what.is_some_and(|what| what.contains(name))
                || (*name == "O_CREAT" && call.contains(name))
        });
        if changes_it && call.contains(&*theirs.to_string_lossy()) {
            assert!(!is_root, "{call}");
            changes += 1;
        }
    }
    // The directories and the pid file are made, and the pid file is removed.
    assert!(changes >= 4, "{changes}: {trace}");
    assert!(!theirs.join("run/droplined.pid").exists());
}
