//! The default paths of the daemon: system directories for root, XDG base directories for other users.

use std::path::PathBuf;

use super::keys::DEFAULTS;

/// The file name of the daemon's socket in its run directory.
pub(crate) const SOCKET: &str = "dropline.sock";

/// The default paths of a daemon.
#[derive(Clone, Debug)]
pub(crate) struct DefaultPaths {
    pub(crate) config: PathBuf,
    pub(crate) spool: PathBuf,
    /// May be lost at a reboot.
    pub(crate) run_dir: PathBuf,
}

impl DefaultPaths {
    /// Returns the paths of a daemon that root runs.
    pub(crate) fn of_the_system() -> Self {
        Self {
            config: "/etc/dropline/droplined.toml".into(),
            spool: DEFAULTS.spool.into(),
            run_dir: DEFAULTS.run_dir.into(),
        }
    }

    /// Returns the paths of a daemon that the current user runs, or `None` if the user has no home directory.
    pub(crate) fn of_this_user() -> Option<Self> {
        if nix::unistd::geteuid().is_root() {
            return Some(Self::of_the_system());
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
