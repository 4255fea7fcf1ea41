//! Runs a program in tmux, a terminal that rewraps its text when it is resized.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::wait_until;

/// A private tmux server with one window. Killed when dropped.
pub(crate) struct Tmux {
    dir: TempDir,
}

impl Tmux {
    /// Returns whether tmux is installed.
    pub(crate) fn is_there() -> bool {
        Command::new("tmux").arg("-V").output().is_ok()
    }

    /// Starts a program in a window of this size.
    pub(crate) fn run(program: &Command, rows: usize, columns: usize) -> Self {
        let tmux = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        let settings = tmux.dir.path().join("settings");
        std::fs::write(&settings, "set -g status off\n").expect("written");
        let mut command = tmux.command();
        command.arg("-f").arg(settings);
        let (rows, columns) = (rows.to_string(), columns.to_string());
        command.args(["new-session", "-d", "-x", &columns, "-y", &rows]);
        // The window inherits the environment of the process that starts the tmux server.
        for (key, value) in program.get_envs().filter(|(key, _)| *key != "TERM") {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command.env("LC_ALL", "C.UTF-8").env_remove("TMUX");
        command.arg(program.get_program()).args(program.get_args());
        done(&mut command);
        tmux
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        let socket: PathBuf = self.dir.path().join("socket");
        command.arg("-S").arg(socket);
        command
    }

    /// Types literal text.
    pub(crate) fn send(&self, text: &str) {
        done(self.command().args(["send-keys", "-l", text]));
    }

    /// Presses keys, given by their tmux names.
    pub(crate) fn press(&self, keys: &[&str]) {
        done(self.command().arg("send-keys").args(keys));
    }

    pub(crate) fn resize(&self, rows: usize, columns: usize) {
        let (rows, columns) = (rows.to_string(), columns.to_string());
        done(
            self.command()
                .args(["resize-window", "-x", &columns, "-y", &rows]),
        );
    }

    /// Returns the screen and its scrollback.
    pub(crate) fn all(&self) -> String {
        let output = done(self.command().args(["capture-pane", "-p", "-J", "-S", "-"]));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Waits until `text` is on the screen or in its scrollback.
    pub(crate) fn expect(&self, text: &str) {
        wait_until(text, || self.all().contains(text));
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
    }
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("tmux");
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}
