//! A private daemon for a test, and clients for it.

pub(crate) mod frames;
pub(crate) mod imports;
pub(crate) mod ledger;
pub(crate) mod menu;
pub(crate) mod mount;
pub(crate) mod namespace;
mod operator;
pub(crate) mod others;
pub(crate) mod proxy;
pub(crate) mod session;
pub(crate) mod tmux;
pub(crate) mod trace;
pub(crate) mod wire;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(crate) use self::operator::{counter, ctl, exported, operator_on, status, status_in};

/// Timeout for a single wait. Far longer than any wait takes, so that only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Polls `done` until it returns true. For conditions that deliver no event.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "timed out waiting for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns a command for the built program of this name, with a clean environment.
pub(crate) fn program(name: &str) -> Command {
    let path = match name {
        "droplined" => env!("CARGO_BIN_EXE_droplined"),
        "dropline" => env!("CARGO_BIN_EXE_dropline"),
        "droplinectl" => env!("CARGO_BIN_EXE_droplinectl"),
        other => panic!("there is no program {other}"),
    };
    let mut command = Command::new(path);
    command
        .env_remove("DROPLINE_SERVER")
        .env_remove("DROPLINE_USER")
        .env_remove("DROPLINE_SOURCE")
        .env_remove("DROPLINE_DIALECT")
        .env_remove("DROPLINE_COLOUR")
        .env("NO_COLOR", "1")
        .env("XDG_CONFIG_HOME", state())
        // Not the directory of the user who runs the tests. Each run has a new one.
        .env("DROPLINE_STATE_DIR", state());
    command
}

/// The state directory of clients that are not given another one.
fn state() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    place.join(format!("state-{}", std::process::id()))
}

/// A running daemon with a private spool, on a port that the kernel chose. Killed when dropped.
pub(crate) struct Daemon {
    dir: TempDir,
    child: Child,
    pub(crate) port: u16,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Self::with("", &[])
    }

    /// Starts a daemon with this configuration file and these flags.
    pub(crate) fn with(config: &str, flags: &[&str]) -> Self {
        Self::in_dir(tempfile::tempdir().expect("a directory"), config, flags)
    }

    /// Starts a daemon on the spool of an earlier one.
    pub(crate) fn in_dir(dir: TempDir, config: &str, flags: &[&str]) -> Self {
        let spool = dir.path().join("spool");
        Self::launch(dir, &spool, config, flags, &[])
    }

    /// Starts a daemon with this spool and these environment variables.
    pub(crate) fn with_spool(
        dir: TempDir,
        spool: &Path,
        config: &str,
        env: &[(&str, &Path)],
    ) -> Self {
        Self::launch(dir, spool, config, &[], env)
    }

    /// Starts a daemon with this configuration in another network namespace.
    pub(crate) fn in_namespace(namespace: &str, config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self::started_by(&["ip", "netns", "exec", namespace], dir, config)
    }

    /// Starts a daemon through this command, which must exec(2) it.
    pub(crate) fn started_by(starter: &[&str], dir: TempDir, config: &str) -> Self {
        let spool = dir.path().join("spool");
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]);
        command.arg(program("droplined").get_program());
        Self::launch_by(command, dir, &spool, config, &[], &[])
    }

    fn launch(
        dir: TempDir,
        spool: &Path,
        config: &str,
        flags: &[&str],
        env: &[(&str, &Path)],
    ) -> Self {
        Self::launch_by(program("droplined"), dir, spool, config, flags, env)
    }

    fn launch_by(
        mut command: Command,
        dir: TempDir,
        spool: &Path,
        config: &str,
        flags: &[&str],
        env: &[(&str, &Path)],
    ) -> Self {
        let file = configure(dir.path(), config);
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.path().join("log"))
            .expect("a log");
        let any_port: &[&str] = if flags.contains(&"-p") || config.contains("port = ") {
            &[]
        } else {
            &["-p", "0"]
        };
        let mut child = command
            .args(any_port)
            .args(["--ready-fd", "1", "--config"])
            .arg(&file)
            .arg("--spool")
            .arg(spool)
            .arg("--run-dir")
            .arg(dir.path().join("run"))
            .args(flags)
            .envs(env.iter().copied())
            // A new process group, so that the daemon and its children can be killed together.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("started");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("readable");
        let port = line.trim().parse();
        let said = || fs::read_to_string(dir.path().join("log")).expect("a log");
        let port = port.unwrap_or_else(|_| panic!("the daemon does not listen: {}", said()));
        Self { dir, child, port }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a `dropline` command for this daemon, with a state directory next to the spool.
    pub(crate) fn client(&self) -> Command {
        let mut command = program("dropline");
        command
            .env("DROPLINE_SERVER", format!("localhost:{}", self.port))
            .env("DROPLINE_STATE_DIR", self.path().join("state"));
        command
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.path().join("spool")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).expect("a log")
    }

    /// Waits until the log contains `text`. A child logs only after it has sent the reply.
    pub(crate) fn logged(&self, text: &str) {
        wait_until(text, || self.log().contains(text));
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_write_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    /// Connects and sends `request`. The sending side stays open.
    pub(crate) fn say(&self, request: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(request).expect("sent");
        stream
    }

    /// Sends `request`, half-closes, and returns the reply up to end of file.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let stream = self.say(request.as_ref());
        stream.shutdown(Shutdown::Write).expect("half-closed");
        listen(stream)
    }

    pub(crate) fn store(&self, to: &str, from: &str, body: &str) {
        let reply = self.ask(format!("store;{to};{from};{body}\n"));
        assert_eq!(reply, "Message accepted and stored:\n");
    }

    /// Fetches the mailbox `of` and returns its messages, one line each.
    pub(crate) fn fetch(&self, of: &str) -> Vec<String> {
        let mut reply = String::new();
        // On a slow disk the previous reader may still hold the mailbox.
        wait_until("the mailbox is free", || {
            reply = self.ask(format!("fetch;{of}\n"));
            !reply.starts_with("Message declined. Busy")
        });
        messages(&reply)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        kill(pid, signal).expect("signalled");
    }

    /// Waits until the daemon has exited.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the daemon ends", || {
            status = self.child.try_wait().expect("waited for");
            status.is_some()
        });
        status.expect("an exit status")
    }

    /// Kills the daemon and returns its directory.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
        let empty = tempfile::tempdir().expect("a directory");
        std::mem::replace(&mut self.dir, empty)
    }

    /// Kills the daemon and all its children at once, and returns its directory.
    pub(crate) fn kill_family(self) -> TempDir {
        let group = Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        nix::sys::signal::killpg(group, Signal::SIGKILL).expect("killed");
        self.kill()
    }

    /// Sends `request` and returns the part of the reply that arrived.
    pub(crate) fn try_ask(&self, request: &str) -> String {
        let mut reply = Vec::new();
        let asked = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request.as_bytes())?;
            stream.shutdown(Shutdown::Write)?;
            stream.read_to_end(&mut reply)
        });
        // Some tests expect a broken connection.
        drop(asked);
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// Returns the pids of the children, zombies included. The supervisor and its reserve are left out: they serve no
    /// client.
    pub(crate) fn children(&self) -> Vec<String> {
        let mut children = children(self.pid());
        children.retain(|pid| !is_titled(pid, SUPERVISOR) && !is_titled(pid, RESERVE));
        children
    }

    /// Returns the pid of the supervisor, which starts the helper processes.
    pub(crate) fn supervisor(&self) -> Option<String> {
        let mut children = children(self.pid()).into_iter();
        children.find(|pid| is_titled(pid, SUPERVISOR))
    }

    /// Returns the pid of the helper process with this title, if it runs.
    pub(crate) fn helper(&self, title: &str) -> Option<String> {
        let supervisor = self.supervisor()?.parse().expect("a number");
        let mut helpers = children(supervisor).into_iter();
        helpers.find(|pid| is_titled(pid, title))
    }

    /// Returns the pid of the process that replaces the supervisor when it ends, if it runs.
    pub(crate) fn reserve(&self) -> Option<String> {
        self.helper(RESERVE)
    }

    /// Kills the supervisor in a moment in which it has no reserve. Returns its pid.
    pub(crate) fn kill_supervisor_and_reserve(&self) -> String {
        let pid = |pid: &str| Pid::from_raw(pid.parse().expect("a number"));
        wait_until("there is a reserve", || self.reserve().is_some());
        let supervisor = self.supervisor().expect("one");
        // A stopped supervisor replaces no reserve.
        kill(pid(&supervisor), Signal::SIGSTOP).expect("signalled");
        let reserve = self.reserve().expect("one");
        kill(pid(&reserve), Signal::SIGKILL).expect("signalled");
        wait_until("the reserve is dead", || is_dead(&reserve));
        kill(pid(&supervisor), Signal::SIGKILL).expect("signalled");
        supervisor
    }

    /// Returns the pid of the login helper, if it runs.
    pub(crate) fn login_helper(&self) -> Option<String> {
        self.helper("droplined: logins")
    }

    /// Returns the pid of the journal writer, if it runs.
    pub(crate) fn writer(&self) -> Option<String> {
        self.helper("droplined: journal")
    }

    /// Counts the entries of the directory `what` in the daemon's /proc directory.
    pub(crate) fn proc_entries(&self, what: &str) -> usize {
        let path = format!("/proc/{}/{what}", self.pid());
        fs::read_dir(path).expect("readable").count()
    }

    /// Returns the daemon's private memory in KiB. Clean mappings of the program file do not count.
    pub(crate) fn private_memory(&self) -> u64 {
        private_memory(&self.pid().to_string()).expect("readable")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The daemon may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the children of a process, zombies included. Empty if the process is gone.
pub(crate) fn children(pid: u32) -> Vec<String> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
}

/// The process title of the supervisor.
const SUPERVISOR: &str = "droplined: supervisor";

/// The process title of its reserve.
const RESERVE: &str = "droplined: supervisor (reserve)";

/// Returns whether a process is gone or a zombie.
pub(crate) fn is_dead(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_none_or(|rest| rest.starts_with('Z'))
}

/// Returns whether a process has this title.
fn is_titled(pid: &str, title: &str) -> bool {
    let shown = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    shown
        .strip_prefix(title.as_bytes())
        .is_some_and(|rest| rest.first() == Some(&0))
}

/// Writes a configuration file into a directory and returns its path. Under root, the daemon stays root unless `config`
/// sets `user`: an account `dropline` may exist, and could not enter the directories of the tests. The names of logins are
/// open unless `config` sets `reserve_logins`: the names of the tests may be logins of this machine.
pub(crate) fn configure(dir: &Path, config: &str) -> PathBuf {
    let path = dir.join("droplined.toml");
    let stays = nix::unistd::geteuid().is_root() && !config.contains("user = ");
    // Appended, so that the line numbers of `config` do not change.
    let user = if stays { "\nuser = \"root\"\n" } else { "" };
    let open = match config.contains("reserve_logins = ") {
        true => "",
        false => "\nreserve_logins = false\n",
    };
    fs::write(&path, format!("{config}{user}{open}")).expect("written");
    path
}

/// Returns the default of a numeric configuration key, from the shipped file.
pub(crate) fn default_of(key: &str) -> usize {
    let shipped = include_str!("../../etc/droplined.toml");
    let start = format!("{key} = ");
    let value = shipped.lines().find_map(|line| line.strip_prefix(&start));
    value.expect("a key").parse().expect("a number")
}

/// Reads a connection to its end.
pub(crate) fn listen(mut stream: TcpStream) -> String {
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("a reply");
    String::from_utf8_lossy(&reply).into_owned()
}

/// Returns the messages in the reply to a fetch.
pub(crate) fn messages(reply: &str) -> Vec<String> {
    let rest = reply.strip_prefix("Retrieving messages...\n");
    let rest = rest.unwrap_or_else(|| panic!("no reply to a fetch: {reply}"));
    let lines = rest.strip_suffix("NO MORE MESSAGES");
    let lines = lines.unwrap_or_else(|| panic!("the reply to a fetch has no end: {reply}"));
    lines.lines().map(str::to_owned).collect()
}

/// Returns all files below a directory.
pub(crate) fn files_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// Returns whether the long variants of the tests are requested.
pub(crate) fn is_long() -> bool {
    std::env::var_os("DROPLINE_TEST_LONG").is_some()
}

/// Appends a line to the table that `scripts/test` prints at its end.
pub(crate) fn report(line: &str) {
    if let Some(path) = std::env::var_os("DROPLINE_TEST_REPORT") {
        let file = File::options().create(true).append(true).open(path);
        writeln!(file.expect("a report"), "{line}").expect("written");
    }
}

/// Reports that a test was skipped, and why.
pub(crate) fn skip(test: &str, why: &str) {
    report(&format!("skip    {test}: {why}"));
}

/// Returns the private memory of a process in KiB, without clean mappings of the program file. `None` if the process is
/// gone.
pub(crate) fn private_memory(pid: &str) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Private_Dirty"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
