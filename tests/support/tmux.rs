//! A program in a terminal that wraps its text anew when it gets another size.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::wait_until;

/// A tmux of our own, with one window. Killed when dropped.
pub(crate) struct Tmux {
    dir: TempDir,
}

impl Tmux {
    /// Whether there is a tmux.
    pub(crate) fn is_there() -> bool {
        Command::new("tmux").arg("-V").output().is_ok()
    }

    /// This program in a window of so many rows and columns.
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
        // It gets the environment of whoever starts the server.
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

    /// Types text, as it is.
    pub(crate) fn send(&self, text: &str) {
        done(self.command().args(["send-keys", "-l", text]));
    }

    /// Presses keys, by the names that tmux has for them.
    pub(crate) fn press(&self, keys: &[&str]) {
        done(self.command().arg("send-keys").args(keys));
    }

    /// Makes the window as large as this.
    pub(crate) fn resize(&self, rows: usize, columns: usize) {
        let (rows, columns) = (rows.to_string(), columns.to_string());
        done(
            self.command()
                .args(["resize-window", "-x", &columns, "-y", &rows]),
        );
    }

    /// All that was ever on the screen, and was not cleared.
    pub(crate) fn all(&self) -> String {
        let output = done(self.command().args(["capture-pane", "-p", "-J", "-S", "-"]));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Waits until this is on the screen, or has been.
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
