//! Where things are, for whoever asks: those of the system for root, those of the XDG base directories for others.
#![forbid(unsafe_code)]

use std::path::PathBuf;

/// The name of the daemon's socket in its run directory.
pub(crate) const SOCKET: &str = "dropline.sock";
/// The run directory of the system's daemon.
pub(crate) const SYSTEM_RUN_DIR: &str = "/run/dropline";

/// Where a daemon that this user runs has its things.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The configuration file.
    pub(crate) config: PathBuf,
    /// The messages.
    pub(crate) spool: PathBuf,
    /// What may vanish at a reboot.
    pub(crate) run_dir: PathBuf,
}

impl Places {
    /// Those of this user; `None` for somebody without a home.
    pub(crate) fn of_this_user() -> Option<Self> {
        if nix::unistd::geteuid().is_root() {
            return Some(Self {
                config: "/etc/dropline/droplined.toml".into(),
                spool: "/var/spool/dropline".into(),
                run_dir: SYSTEM_RUN_DIR.into(),
            });
        }
        let set = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = set("HOME");
        let under_home = |name, rest| set(name).or_else(|| Some(home.as_ref()?.join(rest)));
        let state = under_home("XDG_STATE_HOME", ".local/state")?.join("dropline");
        Some(Self {
            config: under_home("XDG_CONFIG_HOME", ".config")?.join("dropline/droplined.toml"),
            spool: state.join("spool"),
            run_dir: set("XDG_RUNTIME_DIR").map_or(state.join("run"), |dir| dir.join("dropline")),
        })
    }
}
