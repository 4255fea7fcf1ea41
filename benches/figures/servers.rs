//! The servers that are measured, each with a directory of its own, and ended with the value that stands for it.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::load::Ask;

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    /// The daemon itself, where `child` is a program that watches it.
    daemon: u32,
    pub(crate) port: u16,
}

impl Server {
    /// Starts what `command` makes of a port, a directory that did not exist, and waits until it listens.
    fn start(dir: &Path, command: impl FnOnce(u16, &Path) -> Command) -> Result<Self> {
        fs::create_dir(dir)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = File::create(dir.join("log"))?;
        let child = command(port, dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = Self {
            daemon: child.id(),
            child,
            port,
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if server.child.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(30) {
                let log = fs::read_to_string(dir.join("log"))?;
                return Err(format!("a server does not start: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon
    }

    /// Its children, but not the daemon's supervisor, which serves no client.
    pub(crate) fn children(&self) -> Result<Vec<u32>> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let is_supervisor = |pid: &&str| {
            let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            title.starts_with(b"droplined: supervisor\0")
        };
        let children = children.split_whitespace();
        Ok(children
            .filter(|pid| !is_supervisor(pid))
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid())?);
        Ok(nix::sys::signal::kill(pid, signal)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The daemon ends in order; what does not within a while is killed.
        let _ = self.signal(nix::sys::signal::Signal::SIGTERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(10)
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of ours: that of the directory `DROPLINE_PROGRAMS`, as scripts/bench has built them, or of this build.
pub(crate) fn program(name: &str) -> PathBuf {
    let built = || match name {
        "droplined" => env!("CARGO_BIN_EXE_droplined").into(),
        _ => env!("CARGO_BIN_EXE_dropline").into(),
    };
    std::env::var_os("DROPLINE_PROGRAMS").map_or_else(built, |dir| Path::new(&dir).join(name))
}

/// Whether there is such a program.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// `droplined`, with its usual limits but those on one source, and these lines of configuration.
pub(crate) fn droplined(dir: &Path, configuration: &str) -> Result<Server> {
    Server::start(dir, |port, dir| {
        daemon(Command::new(program("droplined")), port, dir, configuration)
    })
}

/// The same under strace, which writes each call of fdatasync to a file.
pub(crate) fn droplined_traced(dir: &Path, trace: &Path) -> Result<Server> {
    let mut server = Server::start(dir, |port, dir| {
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "--seccomp-bpf", "-e", "trace=fdatasync", "-o"])
            .arg(trace);
        strace.arg(program("droplined"));
        daemon(strace, port, dir, "")
    })?;
    server.daemon = *server.children()?.first().ok_or("strace has no child")?;
    Ok(server)
}

/// The command that starts a daemon of ours with its files in `dir`.
pub(crate) fn new_daemon(dir: &Path) -> Command {
    daemon(Command::new(program("droplined")), 0, dir, "")
}

fn daemon(mut command: Command, port: u16, dir: &Path, configuration: &str) -> Command {
    let file = dir.join("droplined.toml");
    let user = if nix::unistd::geteuid().is_root() {
        "user = \"root\"\n"
    } else {
        ""
    };
    // If it cannot be written, the daemon says so.
    let _ = fs::write(
        &file,
        format!("{user}children_per_source = 30000\n{configuration}"),
    );
    command
        .arg("--config")
        .arg(file)
        .args(["--bind", "127.0.0.1", "-p", &port.to_string()]);
    command
        .arg("--spool")
        .arg(dir.join("spool"))
        .arg("--run-dir")
        .arg(dir.join("run"));
    command
}

/// The bare fork server, compiled where `dir` is.
pub(crate) fn bare(dir: &Path) -> Result<Server> {
    let program = dir.with_extension("program");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/forkd.c");
    let compile = |more: &[&str]| {
        Command::new("cc")
            .args(["-O2", "-o"])
            .arg(&program)
            .arg(source)
            .args(more)
            .status()
    };
    if !compile(&["-static"])?.success() && !compile(&[])?.success() {
        return Err("cc does not compile benches/forkd.c".into());
    }
    Server::start(dir, |port, _| {
        let mut command = Command::new(&program);
        command.arg(port.to_string());
        command
    })
}

/// socat, which forks a child for each connection that appends what it reads to a file.
pub(crate) fn socat(dir: &Path) -> Result<Server> {
    Server::start(dir, |port, dir| {
        let mut command = Command::new("socat");
        command.arg("-u").arg(format!(
            "TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,backlog=4096,fork"
        ));
        command.arg(format!("OPEN:{},creat,append", dir.join("mail").display()));
        command
    })
}

/// What socat is told; it answers nothing, and ends.
pub(crate) const TO_SOCAT: Ask = Ask {
    request: crate::load::LINE.request,
    answer: b"",
    lines: 0,
};

/// Redis, which has each write on the disk before it answers.
pub(crate) fn redis(dir: &Path) -> Result<Server> {
    Server::start(dir, |port, dir| {
        let mut command = Command::new("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--protected-mode",
            "no",
            "--save",
            "",
            "--appendonly",
            "yes",
        ]);
        command.args(["--appendfsync", "always", "--dir"]).arg(dir);
        command
    })
}

/// A message into one of 100 streams of Redis.
pub(crate) const XADD: Ask = Ask {
    request: |to, which| {
        to.extend_from_slice(
            format!("*5\r\n$4\r\nXADD\r\n$5\r\nbob{which:02}\r\n$1\r\n*\r\n$1\r\nm\r\n$100\r\n")
                .as_bytes(),
        );
        to.extend_from_slice(&crate::load::BODY);
        to.extend_from_slice(b"\r\n");
    },
    answer: b"$",
    lines: 2,
};
