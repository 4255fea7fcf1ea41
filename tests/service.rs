//! Tests of the daemon as a service: detached, without root, logging to syslog, under a service manager.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::others::public_dir;
use crate::support::{
    Daemon, PATIENCE, configure, listen, program, report, skip, status_in, wait_until,
};

/// A detached daemon. Killed when dropped.
struct Detached {
    dir: TempDir,
    port: u16,
}

/// Returns a port that is free at the moment.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bound");
    listener.local_addr().expect("an address").port()
}

fn detach_in(dir: &Path, port: u16, config: &str) -> Output {
    // Without a listener on the socket of syslogd, the command would print a warning.
    let socket = dir.join("log");
    let _syslogd = (!config.contains("syslog_socket")).then(|| UnixDatagram::bind(&socket));
    let config = if config.contains("syslog_socket") {
        config.to_owned()
    } else {
        format!("syslog_socket = \"{}\"\n{config}", socket.display())
    };
    configure(dir, &config);
    program("droplined")
        // Relative paths refer to the directory in which the daemon is started.
        .current_dir(dir)
        .args(["-d", "--bind", "127.0.0.1", "-p", &port.to_string()])
        .args([
            "--spool",
            "spool",
            "--run-dir",
            "run",
            "--config",
            "droplined.toml",
        ])
        .output()
        .expect("run")
}

impl Detached {
    fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        // This returns at the end of the output pipes, so the daemon must have closed its copies, too.
        let output = detach_in(dir.path(), port, config);
        assert_eq!(
            (output.status.code(), text(&output)),
            (Some(0), String::new())
        );
        Self { dir, port }
    }

    fn pid(&self) -> i32 {
        let text =
            fs::read_to_string(self.dir.path().join("run/droplined.pid")).expect("a pid file");
        text.trim().parse().expect("a number")
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.write_all(request.as_bytes()).expect("sent");
        listen(stream)
    }

    /// Returns how often the configuration was reloaded.
    fn reloads(&self) -> u64 {
        let status = status_in(&self.dir.path().join("run"));
        status["counters"]["reloads"].as_u64().expect("a counter")
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("signalled");
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if self.dir.path().join("run/droplined.pid").exists() {
            let pid = Pid::from_raw(self.pid());
            // The daemon is not our child, so it cannot be waited for.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_command_returns_when_the_daemon_listens() {
    let daemon = Detached::start("");
    assert_eq!(
        daemon.ask("store;bob;al;hi\n"),
        "Message accepted and stored:\n"
    );
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).expect("a running process");
    let fields: Vec<_> = stat
        .rsplit(") ")
        .next()
        .expect("fields")
        .split(' ')
        .collect();
    // Fields 1 to 4 are the parent, group, session and terminal. The daemon is not the leader of its session.
    assert_eq!(fields[4], "0", "the daemon has a terminal");
    assert_ne!(
        fields[3],
        daemon.pid().to_string(),
        "a session leader could acquire a terminal"
    );
    // Other logins can reach the socket, regardless of the umask at the start.
    let run = fs::metadata(daemon.dir.path().join("run"))
        .expect("there")
        .permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&run) & 0o777, 0o755);
    let cwd = fs::read_link(format!("/proc/{}/cwd", daemon.pid())).expect("readable");
    assert_eq!(cwd, Path::new("/"));
    // The command itself reports that the port, the run directory or the spool is in use.
    let second = tempfile::tempdir().expect("a directory");
    let output = detach_in(second.path(), daemon.port, "");
    assert_eq!(output.status.code(), Some(69));
    assert!(
        text(&output).contains("another program has the port"),
        "{}",
        text(&output)
    );
    let output = detach_in(daemon.dir.path(), free_port(), "");
    assert_eq!(output.status.code(), Some(69));
    let holder = format!("process {}", daemon.pid());
    assert!(text(&output).contains(&holder), "{}", text(&output));
    let output = detach_in(second.path(), free_port(), "nonsense = 1\n");
    assert_eq!(output.status.code(), Some(78));
    // SIGHUP finds the configuration, although its path was relative.
    daemon.signal(Signal::SIGHUP);
    wait_until("the configuration is reloaded", || daemon.reloads() == 1);
    assert_eq!(
        daemon.ask("fetch;bob\n"),
        "Retrieving messages...\nbob;al;hi\nNO MORE MESSAGES"
    );
    daemon.signal(Signal::SIGTERM);
    let pid_file = daemon.dir.path().join("run/droplined.pid");
    wait_until("the daemon exits", || !pid_file.exists());
}

/// Returns a field of /proc/PID/status.
fn status(pid: &str, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("readable");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let words = line.expect("a field").split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn root_switches_to_the_configured_user_permanently() {
    if !nix::unistd::geteuid().is_root() {
        return skip(
            "root_switches_to_the_configured_user_permanently",
            "it needs root",
        );
    }
    let dir = public_dir();
    // Start with supplementary groups that the daemon must drop.
    let starter = ["setpriv", "--groups", "0,4"];
    let daemon = Daemon::started_by(&starter, dir, "user = \"games\"\n");
    daemon.logged("running as games");
    daemon.store("bob", "al", "hi");
    assert_eq!(daemon.fetch("bob"), ["bob;al;hi"]);
    wait_until("no child runs", || daemon.children().is_empty());
    let held = daemon.say(b"\x00");
    wait_until("there is a child", || !daemon.children().is_empty());
    let games = nix::unistd::User::from_name("games")
        .expect("looked up")
        .expect("a Debian account");
    let ids = |id: u32| format!("{id} {id} {id} {id}");
    for pid in [daemon.pid().to_string(), daemon.children()[0].clone()] {
        assert_eq!(status(&pid, "Uid"), ids(games.uid.as_raw()));
        assert_eq!(status(&pid, "Gid"), ids(games.gid.as_raw()));
        assert_eq!(status(&pid, "CapEff"), "0000000000000000");
        assert_eq!(status(&pid, "NoNewPrivs"), "1");
        assert_eq!(status(&pid, "Seccomp"), "2");
        let groups = status(&pid, "Groups");
        assert!(
            !groups.split(' ').any(|group| ["0", "4"].contains(&group)),
            "{groups}"
        );
    }
    drop(held);
    let owner = |name: &str| {
        let meta = fs::metadata(daemon.path().join(name)).expect("there");
        std::os::unix::fs::MetadataExt::uid(&meta)
    };
    assert_eq!(
        (owner("spool"), owner("run")),
        (games.uid.as_raw(), games.uid.as_raw())
    );
    let mut daemon = daemon;
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success());
    let left: Vec<_> = fs::read_dir(daemon.path().join("run"))
        .expect("readable")
        .collect();
    let left: Vec<_> = left
        .iter()
        .filter_map(|entry| entry.as_ref().ok())
        .map(|e| e.file_name())
        .collect();
    assert_eq!(
        left.len(),
        2,
        "only the directories online and watch may be left: {left:?}"
    );
    // Without the sandbox, there is no seccomp filter.
    let free = Daemon::with("sandbox = \"off\"\n", &[]);
    assert_eq!(status(&free.pid().to_string(), "Seccomp"), "0");
}

#[test]
fn a_missing_account_is_reported() {
    if !nix::unistd::geteuid().is_root() {
        return skip("a_missing_account_is_reported", "it needs root");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let output = detach_in(dir.path(), free_port(), "user = \"nobody-here\"\n");
    assert_eq!(output.status.code(), Some(69));
    assert!(
        text(&output).contains("there is no account nobody-here"),
        "{}",
        text(&output)
    );
}

/// A real syslogd with a private socket and log file. Killed when dropped.
struct Rsyslogd {
    child: Child,
    log: PathBuf,
}

impl Rsyslogd {
    fn start(dir: &Path) -> Option<Self> {
        let conf = dir.join("rsyslog.conf");
        let log = dir.join("messages");
        let text = format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{0}/log\" UseSysTimeStamp=\"off\" RateLimit.Interval=\"0\")\n\
             template(name=\"all\" type=\"string\" string=\"%syslogfacility-text%.%syslogseverity-text% %syslogtag%%msg%\\n\")\n\
             *.* action(type=\"omfile\" file=\"{0}/messages\" template=\"all\")\n",
            dir.display()
        );
        fs::write(&conf, text).expect("written");
        let child = Command::new("rsyslogd")
            .args(["-n", "-f"])
            .arg(&conf)
            .arg("-i")
            .arg(dir.join("rsyslogd.pid"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let socket = dir.join("log");
        wait_until("rsyslogd listens", || {
            UnixDatagram::unbound()
                .expect("a socket")
                .connect(&socket)
                .is_ok()
        });
        Some(Self { child, log })
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn logging_to_syslog_survives_a_restart_of_syslogd_under_load() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(rsyslogd) = Rsyslogd::start(dir.path()) else {
        return skip("logging_to_syslog", "rsyslogd is not installed");
    };
    let config = format!(
        "syslog_socket = \"{}/log\"\npenalty_exempt = []\nrequest_timeout = 1\n",
        dir.path().display()
    );
    let daemon = Detached::start(&config);
    daemon.ask("store;bob;al;a secret of theirs\n");
    wait_until("the request is logged", || {
        rsyslogd
            .log()
            .contains("store bob/1 from ~al, 18 bytes: accepted")
    });
    let log = rsyslogd.log();
    let master = format!(
        "daemon.info droplined[{}]: info: listening on ",
        daemon.pid()
    );
    assert!(log.contains(&master), "{log}");
    let line = log
        .lines()
        .find(|line| line.contains("store bob/1"))
        .expect("a line");
    assert!(line.starts_with("daemon.info droplined["), "{line}");
    assert!(
        !line.contains(&format!("[{}]", daemon.pid())),
        "a child must log under its own pid: {line}"
    );
    assert!(!log.contains("secret"), "a body was logged");
    // Refusals have the facility auth. A client cannot forge a line.
    daemon.ask("store;b\u{1b}ob\rx;al;x\n");
    wait_until("the request is logged", || {
        rsyslogd.log().contains("auth.info droplined[")
    });
    // Restart syslogd under load. The daemon does not wait for it.
    drop(rsyslogd);
    for _ in 0..50 {
        assert_eq!(
            daemon.ask("store;bob;al;hi\n"),
            "Message accepted and stored:\n"
        );
    }
    let _ = fs::remove_file(dir.path().join("log"));
    let rsyslogd = Rsyslogd::start(dir.path()).expect("started again");
    daemon.ask("store;carol;al;hi\n");
    wait_until("the request is logged", || {
        rsyslogd.log().contains("store carol/1 from ~al")
    });
    // The first process that reconnects reports the lines that all processes lost. The line of the last child may
    // have arrived.
    wait_until("the number of lost lines is logged", || {
        let log = rsyslogd.log();
        let said = log.lines().filter_map(|line| {
            let (head, _) = line.split_once(" lines of this log are lost")?;
            head.rsplit(' ').next()?.parse::<u64>().ok()
        });
        (49..=50).contains(&said.sum::<u64>())
    });
    daemon.signal(Signal::SIGUSR1);
    wait_until("the master has reconnected", || {
        let log = rsyslogd.log();
        log.contains(&format!("droplined[{}]: info: children ", daemon.pid()))
    });
    // Garbage and timeouts have the facility auth as well. The second request waits until the penalty is over.
    daemon.ask("nonsense\n");
    wait_until("the request is logged", || {
        let log = rsyslogd.log();
        let line = log.lines().find(|line| line.contains(". Bad verb"));
        line.is_some_and(|line| line.starts_with("auth.info droplined["))
    });
    wait_until("the client is served", || {
        let slow = daemon.ask("HELLO dropline/1\nSEND bob 5\n");
        slow.contains("\nERR timeout ")
    });
    wait_until("the request is logged", || {
        let log = rsyslogd.log();
        let line = log.lines().find(|line| line.contains(" too slow: session"));
        line.is_some_and(|line| line.starts_with("auth.info droplined["))
    });
    report("rsyslogd restarted under load: 50 messages accepted");
}

#[test]
fn without_syslogd_the_command_warns_that_nothing_is_logged() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = format!("syslog_socket = \"{}/none\"\n", dir.path().display());
    let port = free_port();
    let output = detach_in(dir.path(), port, &config);
    let daemon = Detached { dir, port };
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output).contains("there is no syslogd at "),
        "{}",
        text(&output)
    );
    assert_eq!(
        daemon.ask("store;bob;al;hi\n"),
        "Message accepted and stored:\n"
    );
}

#[test]
fn a_log_file_with_other_writers_loses_no_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let script = format!(
        "{{ echo one; {} --config /nonexistent; echo three; }} >{} 2>&1",
        program("droplined").get_program().display(),
        log.display()
    );
    let done = Command::new("sh").args(["-c", &script]).status();
    assert!(done.expect("run").success());
    let text = fs::read_to_string(&log).expect("readable");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        (lines.len(), lines[0], lines[2]),
        (3, "one", "three"),
        "{text}"
    );
    assert!(lines[1].contains("cannot read the configuration /nonexistent"));
}

#[test]
fn the_service_manager_is_notified() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(PATIENCE)).expect("set");
    let told = || {
        let mut bytes = [0; 1_000];
        let n = manager.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    };
    let own = tempfile::tempdir().expect("a directory");
    let spool = own.path().join("spool");
    let mut daemon = Daemon::with_spool(own, &spool, "", &[("NOTIFY_SOCKET", &socket)]);
    assert!(told().starts_with("READY=1\n"));
    daemon.signal(Signal::SIGHUP);
    let reloading = told();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(told().starts_with("READY=1\n"));
    configure(daemon.path(), "nonsense = 1");
    daemon.signal(Signal::SIGHUP);
    assert!(told().starts_with("RELOADING=1\n"));
    let status = told();
    let wrong = status.contains("the new one is invalid");
    assert!(wrong && status.starts_with("READY=1\n"), "{status}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(told(), "STOPPING=1\n");
    assert!(daemon.ended().success());
}

#[test]
fn sockets_are_taken_from_the_service_manager() {
    let test = "sockets_are_taken_from_the_service_manager";
    let dir = tempfile::tempdir().expect("a directory");
    let port = free_port();
    // The path at which the daemon would make and remove its own socket.
    let path = dir.path().join("run/dropline.sock");
    fs::create_dir(dir.path().join("run")).expect("made");
    // A socket with a name is the daemon's own in any case.
    let named = dir.path().join("run/web.sock");
    let config = format!(
        "user = \"root\"\nreserve_logins = false\n[[socket]]\npath = \"{}\"\nname = \"web\"\n",
        named.display()
    );
    let activate = Command::new("systemd-socket-activate")
        .args(["-l", &format!("127.0.0.1:{port}"), "-l"])
        .arg(&path)
        .arg(program("droplined").get_program())
        .arg("--config")
        .arg(configure(dir.path(), &config))
        .arg("--spool")
        .arg(dir.path().join("spool"))
        .arg("--run-dir")
        .arg(dir.path().join("run"))
        .stderr(fs::File::create(dir.path().join("err")).expect("made"))
        .spawn();
    let Ok(mut activate) = activate else {
        return skip(test, "systemd-socket-activate is not installed");
    };
    wait_until("the manager listens", || path.exists());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(b"store;bob;al;activated\n").expect("sent");
    assert_eq!(listen(stream), "Message accepted and stored:\n");
    let hello = |path: &Path| {
        let mut local = std::os::unix::net::UnixStream::connect(path).expect("connected");
        local.write_all(b"HELLO dropline/1\nQUIT\n").expect("sent");
        let mut said = String::new();
        local.read_to_string(&mut said).expect("an answer");
        said
    };
    let said = hello(&path);
    assert!(said.contains("trust=local"), "{said}");
    let said = hello(&named);
    assert!(said.contains("name=web trust=local"), "{said}");
    let pid = Pid::from_raw(i32::try_from(activate.id()).expect("a number"));
    kill(pid, Signal::SIGTERM).expect("signalled");
    assert!(activate.wait().expect("ended").success());
    assert!(path.exists(), "the socket of the manager was removed");
    assert!(!named.exists(), "the daemon removes its own");
}
