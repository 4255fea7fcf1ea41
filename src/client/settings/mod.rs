//! What is in force, and where it comes from: the command line, the environment, a configuration file, or
//! nowhere.

mod file;

use std::fmt;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;

pub(super) use self::file::SettingsError;
use self::file::{Keys, Text};
use super::cli::Cli;
use super::instant::Source;
use super::link::{Dialect, Server};
use crate::config::{DEFAULTS, DefaultPaths, SOCKET};
use crate::name::Name;
use crate::sys::login;

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The command line.
    Flag,
    /// This variable.
    Variable(&'static str),
    /// This file.
    File(PathBuf),
    /// Nobody has said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::Variable(name) => write!(f, "environment, {name}"),
            Self::File(path) => path.display().fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value, if there is one, and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Set<T> {
    /// The value; `None` when nobody has said anything.
    pub(super) value: Option<T>,
    /// Where it comes from.
    pub(super) origin: Origin,
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Where the server is.
    pub(super) server: Set<Server>,
    /// Where instant messages come in.
    pub(super) source: Set<Source>,
    /// Who one is.
    pub(super) user: Set<Name>,
    /// How the server is spoken to.
    pub(super) dialect: Set<Dialect>,
    /// Whether there are colours.
    pub(super) colour: Set<Colour>,
}

impl Settings {
    /// Those of this command line, in this environment.
    ///
    /// # Errors
    /// When a file or a variable has something that cannot be.
    pub(super) fn of(cli: &Cli, server: Option<Server>) -> Result<Self, SettingsError> {
        let files = file::read_all()?;
        Ok(Self {
            server: found(server, "DROPLINE_SERVER", &files, |keys| &keys.server)?,
            source: found(cli.source, "DROPLINE_SOURCE", &files, |keys| &keys.source)?,
            user: found(cli.user.clone(), "DROPLINE_USER", &files, |keys| &keys.user)?,
            dialect: found(cli.dialect, "DROPLINE_DIALECT", &files, |keys| {
                &keys.dialect
            })?,
            colour: found(cli.colour, "DROPLINE_COLOUR", &files, |keys| &keys.colour)?,
        })
    }

    /// The server: the one that was named, else the socket of a daemon of this machine if it takes us for who
    /// we are, else localhost.
    pub(super) fn server(&self) -> Server {
        match &self.server.value {
            Some(server) => server.clone(),
            None => default_server(self.user.value.as_ref()),
        }
    }

    /// Who one is at `server`: whoever was named, else the login; over TCP the login is what the environment
    /// says, if it says it. `None` when there is none that could be a name.
    pub(super) fn user_at(&self, server: &Server) -> Option<Name> {
        self.user.value.clone().or_else(|| match server {
            Server::Socket(_) => login::own()?.parse().ok(),
            // The password database knows where the environment does not.
            Server::Port { .. } => login_by_environment().or_else(|| login::own()?.parse().ok()),
        })
    }

    /// The dialect.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect.value.unwrap_or(Dialect::Auto)
    }
}

/// The server of somebody who names none, and is `user` if that was said.
pub(super) fn default_server(user: Option<&Name>) -> Server {
    let tcp = Server::of_this_machine;
    let Some(path) = socket() else { return tcp() };
    // The socket takes nobody for somebody else.
    let login = login::own().and_then(|login| login.parse::<Name>().ok());
    match (user, login) {
        (Some(user), Some(login)) if *user == login => Server::Socket(path),
        (None, Some(_)) => Server::Socket(path),
        _ => tcp(),
    }
}

/// The socket of the system's daemon, else of this user's.
fn socket() -> Option<PathBuf> {
    let is_socket = |path: &PathBuf| path.metadata().is_ok_and(|m| m.file_type().is_socket());
    let system = Path::new(DEFAULTS.run_dir).join(SOCKET);
    Some(system)
        .filter(is_socket)
        .or_else(|| Some(DefaultPaths::of_this_user()?.run_dir.join(SOCKET)).filter(is_socket))
}

/// The name of whoever is logged in, if it is one of ours.
fn login_by_environment() -> Option<Name> {
    ["USER", "LOGNAME"]
        .iter()
        .filter_map(|variable| std::env::var(variable).ok())
        .find_map(|name| name.parse().ok())
}

/// The value of one key, from the first place that has it.
fn found<T: Value>(
    flag: Option<T>,
    variable: &'static str,
    files: &[Text],
    key: impl Fn(&Keys) -> &Option<Spanned<String>>,
) -> Result<Set<T>, SettingsError> {
    let set = |value, origin| {
        Ok(Set {
            value: Some(value),
            origin,
        })
    };
    if let Some(value) = flag {
        return set(value, Origin::Flag);
    }
    if let Some(text) = std::env::var_os(variable).filter(|text| !text.is_empty()) {
        let text = text.to_string_lossy().into_owned();
        return match T::from_text(&text) {
            Ok(value) => set(value, Origin::Variable(variable)),
            Err(what) => Err(SettingsError::Variable(variable, text, what)),
        };
    }
    for file in files {
        if let Some(text) = key(&file.keys) {
            let value =
                T::from_text(text.get_ref()).map_err(|what| file.wrong(text.span(), what))?;
            return set(value, Origin::File(file.path.clone()));
        }
    }
    Ok(Set {
        value: None,
        origin: Origin::Default,
    })
}

/// What can be set by text.
trait Value: Sized {
    fn from_text(text: &str) -> Result<Self, String>;
}

impl Value for Server {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_str(text)
    }
}

impl Value for Source {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_str(text)
    }
}

impl Value for Name {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_str(text).map_err(|e| e.to_string())
    }
}

impl Value for Dialect {
    fn from_text(text: &str) -> Result<Self, String> {
        choice(text, "auto, session, line or framed")
    }
}

impl Value for Colour {
    fn from_text(text: &str) -> Result<Self, String> {
        choice(text, "auto, always or never")
    }
}

fn choice<T: clap::ValueEnum>(text: &str, known: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| format!("it is one of {known}"))
}
