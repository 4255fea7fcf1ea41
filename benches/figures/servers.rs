//! The measured servers. Each has its own directory, and ends when its value is dropped.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::load::Ask;

pub(crate) struct Server {
    child: Child,
    /// The pid of the server, which is not that of `child` under strace.
    daemon: u32,
    pub(crate) port: u16,
}

impl Server {
    /// Starts the command for a free port and a new directory, and waits until the server listens.
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

    pub(crate) fn pid(&self) -> u32 {
        self.daemon
    }

    /// Returns the pids of its children, except the daemon's supervisor, which serves no client.
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

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid())?);
        Ok(nix::sys::signal::kill(pid, signal)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Let the daemon shut down; kill it if that takes too long.
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

/// Returns the path of a dropline program: in `DROPLINE_PROGRAMS`, which scripts/bench sets, or from this build.
pub(crate) fn program(name: &str) -> PathBuf {
    let built = || match name {
        "droplined" => env!("CARGO_BIN_EXE_droplined").into(),
        _ => env!("CARGO_BIN_EXE_dropline").into(),
    };
    std::env::var_os("DROPLINE_PROGRAMS").map_or_else(built, |dir| Path::new(&dir).join(name))
}

/// Returns whether `program` is in PATH.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Starts `droplined` with these lines of configuration and the default limits, except that for one source.
pub(crate) fn droplined(dir: &Path, configuration: &str) -> Result<Server> {
    Server::start(dir, |port, dir| {
        daemon(Command::new(program("droplined")), port, dir, configuration)
    })
}

/// Starts `droplined` with the default limits.
pub(crate) fn droplined_with_defaults(dir: &Path) -> Result<Server> {
    Server::start(dir, |port, dir| {
        daemon_of(Command::new(program("droplined")), port, dir, "")
    })
}

/// Starts `droplined` under strace, which writes each call of fdatasync to `trace`.
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

/// Returns the command that starts `droplined` on a free port with its files in `dir`.
pub(crate) fn new_daemon(dir: &Path) -> Command {
    daemon(Command::new(program("droplined")), 0, dir, "")
}

fn daemon(command: Command, port: u16, dir: &Path, configuration: &str) -> Command {
    let configuration = format!("children_per_source = 30000\n{configuration}");
    daemon_of(command, port, dir, &configuration)
}

fn daemon_of(mut command: Command, port: u16, dir: &Path, configuration: &str) -> Command {
    let file = dir.join("droplined.toml");
    let user = if nix::unistd::geteuid().is_root() {
        "user = \"root\"\n"
    } else {
        ""
    };
    // If this fails, the daemon reports that it cannot read the file.
    let _ = fs::write(&file, format!("{user}{configuration}"));
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

/// Compiles and starts the minimal fork server.
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

/// Starts socat, which forks a child for each connection. The child appends its input to a file.
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

/// The request for socat, which sends no answer.
pub(crate) const TO_SOCAT: Ask = Ask {
    request: crate::load::LINE.request,
    answer: b"",
    lines: 0,
};

/// Starts Redis, configured to sync each write to the disk before it answers.
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

/// Appends a message to one of 100 Redis streams.
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
