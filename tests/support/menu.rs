//! Runs the menu in a pseudo-terminal.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rexpect::session::{PtySession, spawn_command};

use super::{Daemon, PATIENCE, wait_until};

/// A running menu, at or past its first prompt.
pub(crate) struct Menu {
    pub(crate) screen: PtySession,
    pub(crate) pid: u32,
    /// The address at which it receives instant messages.
    pub(crate) address: SocketAddr,
    /// The screen output before the first prompt.
    pub(crate) so_far: String,
}

impl Menu {
    /// Opens the menu of `user` at this daemon, online.
    pub(crate) fn open(daemon: &Daemon, user: &str) -> Self {
        Self::with(daemon, user, &[])
    }

    /// Like [`open`](Self::open), with more arguments.
    pub(crate) fn with(daemon: &Daemon, user: &str, args: &[&str]) -> Self {
        let mut command = menu_command(daemon);
        command.args(["-u", user]).args(args);
        Self::of(command, daemon, user)
    }

    /// Opens the menu of `user` with this command.
    pub(crate) fn of(command: Command, daemon: &Daemon, user: &str) -> Self {
        let mut screen = spawn(command);
        let regex = r"instant messages on ([0-9.]+:[0-9]+)";
        let (before, line) = screen.exp_regex(regex).expect("the address");
        let address = line.rsplit(' ').next().and_then(|text| text.parse().ok());
        let so_far = before + &screen.exp_string("?  Help").expect("the menu");
        Self {
            screen,
            pid: find(daemon, user),
            address: address.expect("an address"),
            so_far,
        }
    }

    pub(crate) fn line(&mut self, text: &str) {
        self.screen.send_line(text).expect("typed");
    }

    /// Waits until `text` appears on the screen.
    pub(crate) fn expect(&mut self, text: &str) {
        let seen = self.screen.exp_string(text);
        seen.unwrap_or_else(|e| panic!("{text:?} does not appear: {e}"));
    }

    /// Sends a message of one line and waits until `answer` appears.
    pub(crate) fn send(&mut self, to: &str, text: &str, answer: &str) {
        self.line("1");
        self.expect("To:");
        self.line(to);
        self.expect("Message:");
        self.line(text);
        self.expect(answer);
    }

    /// Returns the pids of the listeners that the menu forked, in ascending order.
    pub(crate) fn listeners(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let list = fs::read_to_string(path).expect("readable");
        let mut pids: Vec<_> = list
            .split_whitespace()
            .filter(|pid| {
                // The terminal guard keeps the terminal as standard input. A listener has /dev/null.
                let input = fs::read_link(format!("/proc/{pid}/fd/0"));
                input.is_ok_and(|input| input == Path::new("/dev/null"))
            })
            .map(|pid| pid.parse().expect("a pid"))
            .collect();
        pids.sort_unstable();
        pids
    }

    /// Runs stty(1) on the menu's terminal and returns its output.
    pub(crate) fn stty(&self, args: &[&str]) -> String {
        let terminal = format!("/proc/{}/fd/0", self.pid);
        let done = Command::new("stty")
            .args(["-F", &terminal])
            .args(args)
            .output();
        let done = done.expect("stty");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).expect("text")
    }

    pub(crate) fn resize(&self, rows: usize, columns: usize) {
        self.stty(&["rows", &rows.to_string(), "cols", &columns.to_string()]);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_to(self.pid, signal);
    }

    /// Leaves with the menu's Exit. Returns the screen output since the last expected text.
    pub(crate) fn leave(mut self) -> String {
        self.line("3");
        self.screen.exp_eof().expect("the end")
    }

    /// Kills the menu. Returns the screen output since the last expected text.
    pub(crate) fn kill(mut self) -> String {
        self.signal(Signal::SIGKILL);
        self.screen.exp_eof().expect("the end")
    }
}

/// Returns a `dropline` command that opens a menu at this daemon, with any free port for instant messages.
pub(crate) fn menu_command(daemon: &Daemon) -> Command {
    let mut command = daemon.client();
    command
        .args(["127.0.0.1", &daemon.port.to_string()])
        .env("DROPLINE_SOURCE", "127.0.0.1:0")
        .env("TERM", "xterm")
        .env_remove("USER")
        .env_remove("LOGNAME");
    command
}

/// Starts a command in a new pseudo-terminal.
pub(crate) fn spawn(command: Command) -> PtySession {
    let limit = u64::try_from(PATIENCE.as_millis()).expect("not long");
    spawn_command(command, Some(limit)).expect("a terminal")
}

/// Sends a signal to an existing process.
pub(crate) fn signal_to(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    kill(pid, signal).expect("signalled");
}

/// Waits until a process is gone or a zombie.
pub(crate) fn wait_until_gone(pid: u32) {
    wait_until("a process ends", || {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        }
    });
}

/// Returns the pid of the newest menu of `user` that this process started at this daemon.
fn find(daemon: &Daemon, user: &str) -> u32 {
    let port = format!("\0{}\0", daemon.port);
    let socket = format!("\0{}/", daemon.path().display());
    let user = format!("\0-u\0{user}\0");
    let tasks = fs::read_dir("/proc/self/task").expect("readable");
    let children = tasks.filter_map(|task| {
        let path = task.expect("a task").path().join("children");
        fs::read_to_string(path).ok()
    });
    let ours = children.flat_map(|list| {
        let pids = list.split_whitespace().map(|pid| pid.parse::<u32>());
        pids.map(|pid| pid.expect("a pid")).collect::<Vec<_>>()
    });
    let menus = ours.filter(|pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (line.contains(&port) || line.contains(&socket)) && line.contains(&user)
    });
    menus.max().expect("the menu")
}
