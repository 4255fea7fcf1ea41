//! Tests of the master: its sockets, signals, descriptors and children.
//!
//! Each promise of the daemon has a test that fails when the code for it is removed from the sources:
//!
//! | promise | tests |
//! |---|---|
//! | one thread | `server::master::tests`, `load` |
//! | nothing is opened or allocated before the fork | `load::the_master_opens_*` |
//! | listeners, its own and inherited ones | `life::listens_*`, `logins::the_socket_*`, `service::sockets_*` |
//! | SO_REUSEADDR, backlog, TCP_DEFER_ACCEPT | `the_port_*`, `the_listen_backlog_*`, `a_silent_client_*` |
//! | reaping, also of inherited children | `inherited_children_*`, `children::*` |
//! | shortage of descriptors or processes: reserve, pause, one log line in ten seconds | `descriptors_*`, `limits::clients_are_refused_*` |
//! | max_children, children_per_source, early drop, making room | `life::connections_beyond_*`, `gate::children_per_*`, `gate::with_many_*`, `gate::silent_clients_*`, `fairness::*` |
//! | penalties for garbage, half-said requests and crashes; their bounds | `gate::sources_of_*`, `fairness::half_said_*`, `children::*_counted`, `server::penalties::tests` |
//! | timeouts: first byte, request, idle session, delivery | `line::silent_and_slow_*`, `session::idle_*`, `delivery::stays_waiting_*` |
//! | a third of the timeouts under load | `limits::timeouts_*`, `server::patience::tests` |
//! | limits of a child: memory, core files, processes, descriptors | `limits::children_have_*`, `children::exceeding_*` |
//! | SIGINT, SIGTERM, a second signal, the drain | `life::sigint_*`, `life::a_running_*`, `life::a_second_signal_*`, `requests_that_exceed_*` |
//! | SIGHUP | `life::sighup_*`, `the_default_configuration_*`, `attack::a_storm_*`, `server::config::tests` |
//! | SIGUSR1, scoreboard, titles | `gate::status_*` |
//! | death of the master | `children::children_do_not_*`, `a_child_whose_master_*` |
//! | descriptors of a child, panics | `a_child_has_no_*`, `children::a_panic_*` |
//! | the sandbox, as far as the kernel supports it | `service::root_*`, `limits::a_missing_kernel_*`, `sys::sandbox::tests` |
//! | permissions of clients | `logins::*`, `line::only_open_*`, `session::a_refusal_*`, `net::a_refusal_*` |
//! | the switch to another user, and use without root | `service::root_*`, `a_daemon_without_root_*` |
//! | the pid file | `life::sigint_*`, `life::a_second_daemon_*`, `a_symbolic_link_*` |
//! | `-d`, syslog and its facilities, the service manager | `service::*`, `server::logging::*::tests` |
//! | the command line, `--check` | `life::check_*`, `verbose_and_*`, `server::cli::tests`, `server::config::*::tests` |

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::others::{for_others, public_dir};
use crate::support::{Daemon, configure, counter, listen, program, skip, wait_until};

#[test]
fn the_port_can_be_bound_again_at_once() {
    let mut daemon = Daemon::start();
    // The server closes first, so the connection stays in TIME_WAIT on its side for a minute.
    let stream = daemon.say(b"store;bob;al;hi\n");
    assert_eq!(listen(stream), "Message accepted and stored:\n");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success());
    let port = daemon.port.to_string();
    let daemon = Daemon::in_dir(daemon.kill(), "", &["-p", &port]);
    assert_eq!(daemon.fetch("bob"), ["bob;al;hi"]);
}

/// Returns the length of the accept queue that ss(8) reports for the listener at this address.
fn backlog(kind: &str, place: &str) -> Option<String> {
    let output = Command::new("ss").args(["-Hln", kind]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains(place))?;
    let queue = line.split_whitespace().skip_while(|word| *word != "LISTEN");
    queue.skip(2).step_by(2).next().map(str::to_owned)
}

#[test]
fn the_listen_backlog_is_4096() {
    let daemon = Daemon::start();
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("readable");
    let most: u32 = most.trim().parse().expect("a number");
    let expected = Some(most.min(4_096).to_string());
    assert_eq!(backlog("-t", &format!(":{} ", daemon.port)), expected);
    let socket = daemon.path().join("run/dropline.sock");
    assert_eq!(backlog("-x", &socket.display().to_string()), expected);
}

#[test]
fn a_silent_client_costs_no_process() {
    let daemon = Daemon::start();
    let silent: Vec<TcpStream> = (0..20).map(|_| daemon.connect()).collect();
    // A later client is served, so the kernel has completed the earlier connections.
    daemon.store("bob", "al", "hi");
    assert_eq!(counter(&daemon, "forks"), 1);
    assert_eq!(counter(&daemon, "connections"), 1);
    // Its first bytes pass one of the connections on to the daemon (TCP_DEFER_ACCEPT).
    (&silent[0]).write_all(b"fetch;bob\n").expect("sent");
    wait_until("the client is served", || counter(&daemon, "forks") == 2);
}

#[test]
fn descriptors_are_reserved_and_a_shortage_is_waited_out() {
    let daemon = Daemon::start();
    // Once the daemon serves, it has closed all descriptors that only its start needs.
    daemon.store("bob", "al", "before");
    wait_until("no child runs", || daemon.children().is_empty());
    let fd = |fd: usize| format!("/proc/{}/fd/{fd}", daemon.pid());
    let spare = (3..64)
        .filter(|n| fs::read_link(fd(*n)).is_ok_and(|target| target == Path::new("/dev/null")));
    assert!(spare.count() >= 5);
    let lowest_free = (0..)
        .find(|n| !Path::new(&fd(*n)).exists())
        .expect("a number");
    let limit = |limit: &str| {
        let pid = daemon.pid().to_string();
        let done = Command::new("prlimit")
            .args(["--pid", &pid, limit])
            .status();
        assert!(done.expect("prlimit of util-linux").success());
    };
    limit(&format!("--nofile={lowest_free}:4096"));
    let begun = Instant::now();
    let waiting = daemon.say(b"store;bob;al;during\n");
    wait_until("the master has retried", || {
        counter(&daemon, "shortages") >= 5
    });
    // The master sleeps for 100 ms before each retry.
    let tries = counter(&daemon, "shortages");
    let most = begun.elapsed().as_millis() / 100 + 1;
    assert!(
        u128::from(tries) <= most,
        "{tries} tries, at most {most} expected"
    );
    limit("--nofile=1024:4096");
    assert_eq!(listen(waiting), "Message accepted and stored:\n");
    assert_eq!(
        daemon.log().matches("cannot accept a connection").count(),
        1
    );
}

#[test]
fn inherited_children_are_reaped_and_ignored() {
    let dir = tempfile::tempdir().expect("a directory");
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("made");
    let script = format!("cat <'{}' & exec \"$@\"", fifo.display());
    let daemon = Daemon::started_by(&["sh", "-c", &script, "sh"], dir, "");
    assert_eq!(daemon.children().len(), 1, "the inherited child");
    daemon.store("bob", "al", "hi");
    // cat(1) exits at the end of file.
    drop(fs::File::options().write(true).open(&fifo).expect("opened"));
    wait_until("the inherited child is reaped", || {
        daemon.children().is_empty()
    });
    assert_eq!(daemon.fetch("bob"), ["bob;al;hi"]);
    assert_eq!(counter(&daemon, "crashes"), 0);
}

/// Returns the targets of the descriptors of a process, except the standard streams.
fn descriptors(pid: &str) -> Vec<String> {
    let dir = fs::read_dir(format!("/proc/{pid}/fd")).expect("readable");
    let numbered = dir.filter_map(|entry| {
        let path = entry.ok()?.path();
        let number: i32 = path.file_name()?.to_str()?.parse().ok()?;
        (number > 2).then(|| fs::read_link(path).ok()).flatten()
    });
    numbered
        .map(|target| target.display().to_string())
        .collect()
}

#[test]
fn a_child_has_no_descriptor_of_the_master() {
    // The starter leaks a descriptor, which the child must not have either.
    let dir = tempfile::tempdir().expect("a directory");
    let forgotten = dir.path().join("forgotten");
    let script = format!("exec 9>'{}'; exec \"$@\"", forgotten.display());
    let daemon = Daemon::started_by(&["sh", "-c", &script, "sh"], dir, "");
    let _held = daemon.say(b"\x00");
    wait_until("there is a child", || !daemon.children().is_empty());
    let child = daemon.children()[0].clone();
    let log = daemon.path().join("log").display().to_string();
    let spool = daemon.spool().display().to_string();
    let run = daemon.path().join("run");
    // Permitted are the log, the directories of the store, the signalfd, and the connection.
    let may = |target: &String| {
        let of_store = target.starts_with(&spool) || Path::new(target).starts_with(&run);
        *target == log || (of_store && Path::new(target).is_dir()) || target.contains("[signalfd]")
    };
    let own = || -> Vec<_> {
        let all = descriptors(&child).into_iter();
        all.filter(|target| !may(target)).collect()
    };
    // The two sockets for requests to the login helper, if this machine needs one, are the master's.
    let helpers = 2 * usize::from(daemon.login_helper().is_some());
    wait_until("the child has closed the other descriptors", || {
        own().len() == 1 + helpers
    });
    let masters = descriptors(&daemon.pid().to_string());
    let (shared, connection): (Vec<_>, Vec<_>) = own()
        .into_iter()
        .partition(|target| masters.contains(target));
    assert_eq!((shared.len(), connection.len()), (helpers, 1), "{shared:?}");
    assert!(connection[0].starts_with("socket:["), "{connection:?}");
    let pid_file = run.join("droplined.pid").display().to_string();
    assert!(masters.contains(&pid_file), "{masters:?}");
}

#[test]
fn a_child_whose_master_died_before_the_death_signal_was_set_serves_no_client() {
    let test = "a_child_whose_master_died_before_the_death_signal_was_set";
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test, "strace is not installed");
    }
    let dir = tempfile::tempdir().expect("a directory");
    // Delay the prctl(2) for PR_SET_PDEATHSIG by three seconds. With -DD, strace is no parent of a traced process.
    let trace = dir.path().join("trace").display().to_string();
    let delay = "inject=prctl:delay_enter=3000000";
    let starter = [
        "strace",
        "-DD",
        "-f",
        "-qq",
        "-o",
        &trace,
        "-e",
        "trace=prctl",
        "-e",
        delay,
    ];
    let daemon = Daemon::started_by(&starter, dir, "sandbox = \"off\"\n");
    let mut client = daemon.say(b"store;bob;al;hi\n");
    wait_until("there is a child", || !daemon.children().is_empty());
    let dir = daemon.kill();
    let mut reply = String::new();
    // The connection may end with a reset, because the request was not read.
    let _ = client.read_to_string(&mut reply);
    assert_eq!(reply, "", "a child without a master has answered");
    let daemon = Daemon::in_dir(dir, "", &[]);
    assert!(daemon.ask("fetch;bob\n").ends_with("There is no such name"));
}

#[test]
fn requests_that_exceed_the_drain_timeout_are_ended() {
    let mut daemon = Daemon::with("drain_timeout = 1", &[]);
    for _ in 0..100 {
        daemon.store("bob", "al", &"x".repeat(60_000));
    }
    let reader = daemon.say(b"fetch;bob\n");
    assert_ne!(reader.peek(&mut [0; 8]).expect("a reply"), 0);
    let child = daemon.children()[0].clone();
    let begun = Instant::now();
    daemon.signal(Signal::SIGTERM);
    wait_until("the daemon drains", || {
        daemon.log().contains("waiting for 1 requests")
    });
    let socket = daemon.path().join("run/dropline.sock");
    assert!(
        !socket.exists(),
        "the socket must be removed before the drain"
    );
    assert_eq!(daemon.ended().code(), Some(0));
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900), "{took:?}");
    daemon.logged("ended, with 1 requests that did not finish in time");
    wait_until("the child is gone", || {
        !Path::new(&format!("/proc/{child}/fd/3")).exists()
    });
}

#[test]
fn a_symbolic_link_in_place_of_the_pid_file_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (run, precious) = (dir.path().join("run"), dir.path().join("precious"));
    fs::create_dir(&run).expect("made");
    fs::write(&precious, "precious").expect("written");
    std::os::unix::fs::symlink(&precious, run.join("droplined.pid")).expect("linked");
    let output = program("droplined")
        .args(["-p", "0", "--config"])
        .arg(configure(dir.path(), ""))
        .arg("--run-dir")
        .arg(&run)
        .arg("--spool")
        .arg(dir.path().join("spool"))
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(69));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("cannot write ") && said.contains("droplined.pid"),
        "{said}"
    );
    assert_eq!(fs::read(&precious).expect("readable"), b"precious");
}

#[test]
fn a_daemon_without_root_needs_no_installation() {
    let test = "a_daemon_without_root_needs_no_installation";
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "only root can switch to another login");
    }
    let home = public_dir();
    let droplined = for_others(&program("droplined"), home.path());
    std::os::unix::fs::chown(home.path(), Some(5), Some(60)).expect("given to games");
    let start = |variables: &[String]| {
        let mut child = Command::new("setpriv")
            .args(["--reuid", "games", "--regid", "games", "--clear-groups"])
            .args(["env", "-i"])
            .args(variables)
            .arg(droplined.get_program())
            .args(["-p", "0"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("run");
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        while !said.contains("messages are in ") && stderr.read_line(&mut said).expect("text") > 0 {
        }
        // A daemon that has exited is a zombie until it is waited for, so its pid is still valid.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, Signal::SIGTERM).expect("signalled");
        stderr.read_to_string(&mut said).expect("text");
        child.wait().expect("ended");
        said
    };
    let place = home.path().display();
    let said = start(&[
        format!("HOME={place}"),
        format!("XDG_STATE_HOME={place}/state"),
    ]);
    assert!(
        said.contains(&format!("messages are in {place}/state/dropline/spool")),
        "{said}"
    );
    assert!(said.ends_with("ended\n"), "{said}");
    let said = start(&[format!("HOME={place}")]);
    assert!(
        said.contains(&format!("{place}/.local/state/dropline/spool")),
        "{said}"
    );
    assert!(start(&[]).contains("$HOME is not set; use --spool and --run-dir"));
}

/// Uses the default path of the configuration, in a mount namespace with an overlay over /etc.
#[test]
fn the_default_configuration_is_reloaded_after_root_was_dropped() {
    let test = "the_default_configuration_is_reloaded_after_root_was_dropped";
    let dir = public_dir();
    let view = "umask 022 && cd \"$0\" && mkdir up work && \
        mount -t overlay none -o lowerdir=/etc,upperdir=up,workdir=work /etc && \
        mkdir -p /etc/dropline && cp first.toml /etc/dropline/droplined.toml && exec \"$@\"";
    fs::write(
        dir.path().join("first.toml"),
        "user = \"games\"\nmax_body = 3\n",
    )
    .expect("written");
    let mut child = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", view])
        .arg(dir.path())
        .arg(program("droplined").get_program())
        .args(["-p", "0", "--ready-fd", "1", "--spool"])
        .arg(dir.path().join("spool"))
        .arg("--run-dir")
        .arg(dir.path().join("run"))
        .stdout(Stdio::piped())
        .stderr(fs::File::create(dir.path().join("log")).expect("made"))
        .spawn()
        .expect("run");
    let mut port = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut port).expect("readable");
    let log = || fs::read_to_string(dir.path().join("log")).expect("a log");
    let Ok(port) = port.trim().parse::<u16>() else {
        let _ = child.wait();
        assert!(!log().contains("droplined["), "{}", log());
        return skip(test, "cannot mount an overlay over /etc");
    };
    let reload = |text: &str, says: &str| {
        let file = format!("/proc/{}/root/etc/dropline/droplined.toml", child.id());
        fs::write(file, text).expect("written");
        let pid = i32::try_from(child.id()).expect("a pid");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGHUP).expect("signalled");
        wait_until(says, || log().contains(says));
    };
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        stream.write_all(b"store;bob;al;four\n").expect("sent");
        listen(stream)
    };
    assert!(ask().contains("at most 3 bytes"));
    reload(
        "user = \"games\"\nmax_body = 4\n",
        "the configuration was read again",
    );
    assert_eq!(ask(), "Message accepted and stored:\n");
    reload("max_body = x\n", "stays as it was");
    assert!(!log().contains("has changed"), "{}", log());
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn verbose_and_open_network_extend_the_configuration() {
    let networks = [
        "--open-network",
        "10.9.0.0/16",
        "--open-network",
        "192.0.2.1",
    ];
    let daemon = Daemon::with("", &[&["-v"], &networks[..]].concat());
    drop(daemon.connect());
    daemon.logged("sent nothing");
    daemon.store("bob", "al", "loopback stays open");
    let daemon = Daemon::with("", &[]);
    drop(daemon.connect());
    daemon.store("bob", "al", "hi");
    wait_until("both children are gone", || daemon.children().is_empty());
    assert!(!daemon.log().contains("sent nothing"), "{}", daemon.log());
    // Other logins may use the socket, but not read the scoreboard and the messages.
    let mode = |name: &str| {
        let meta = fs::metadata(daemon.path().join(name)).expect("there");
        meta.permissions().mode() & 0o777
    };
    assert_eq!((mode("run"), mode("spool")), (0o755, 0o700));
    assert_eq!(mode("run/scoreboard") & 0o137, 0);
    assert_eq!(mode("run/dropline.sock"), 0o666);
}
