//! What is in force, and where it comes from: the command line, the environment, a configuration file, or
//! nowhere.

mod file;

use std::fmt;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;

pub(super) use self::file::SettingsError;
use self::file::{Keys, SettingsFile};
use super::instant::SourceAddress;
use super::link::{DialectChoice, Server};
use super::view::Colour;
use crate::config::{DEFAULTS, DefaultPaths, SOCKET};
use crate::name::Name;
use crate::sys::login;

/// The options of every command.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Server, with its port if that is not 8282, or the path of its socket, which has a slash (./name in this
    /// directory) [default: the socket of a daemon of this machine, else localhost]
    #[arg(short = 'd', long, global = true, value_name = "HOST[:PORT]|PATH")]
    pub(super) server: Option<Server>,

    /// Your name [default: your login]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(super) user: Option<Name>,

    /// Address for instant messages: that of our side of the connection to the server, and port 8283 or
    /// another one that is free, unless they are named; port 0 is any
    #[arg(short, long, global = true, value_name = "IP[:PORT]")]
    pub(super) source: Option<SourceAddress>,

    /// How the server is spoken to: auto, session (ours), line (that of the old menu server) or framed (that of
    /// the old chat server) [default: auto]
    #[arg(
        long,
        global = true,
        value_name = "DIALECT",
        value_enum,
        hide_possible_values = true
    )]
    pub(super) dialect: Option<DialectChoice>,

    /// Whether there are colours: auto, always or never [default: auto]
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        hide_possible_values = true
    )]
    pub(super) colour: Option<Colour>,

    /// Say more about what is done
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
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
pub(super) struct Setting<T> {
    /// The value; `None` when nobody has said anything.
    pub(super) value: Option<T>,
    /// Where it comes from.
    pub(super) origin: Origin,
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Where the server is.
    pub(super) server: Setting<Server>,
    /// Where instant messages come in.
    pub(super) source: Setting<SourceAddress>,
    /// Who one is.
    pub(super) user: Setting<Name>,
    /// How the server is spoken to.
    pub(super) dialect: Setting<DialectChoice>,
    /// Whether there are colours.
    pub(super) colour: Setting<Colour>,
}

impl Settings {
    /// Those of this command line, in this environment; `server` is the one that was named.
    ///
    /// # Errors
    /// When a file or a variable has something that cannot be.
    pub(super) fn of(options: &Options, server: Option<Server>) -> Result<Self, SettingsError> {
        let files = file::read_all()?;
        Ok(Self {
            server: find(server, "DROPLINE_SERVER", &files, |keys| &keys.server)?,
            source: find(options.source, "DROPLINE_SOURCE", &files, |keys| {
                &keys.source
            })?,
            user: find(options.user.clone(), "DROPLINE_USER", &files, |keys| {
                &keys.user
            })?,
            dialect: find(options.dialect, "DROPLINE_DIALECT", &files, |keys| {
                &keys.dialect
            })?,
            colour: find(options.colour, "DROPLINE_COLOUR", &files, |keys| {
                &keys.colour
            })?,
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

    /// Whether there are colours.
    pub(super) fn colour(&self) -> Colour {
        self.colour.value.unwrap_or(Colour::Auto)
    }

    /// The dialect.
    pub(super) fn dialect(&self) -> DialectChoice {
        self.dialect.value.unwrap_or(DialectChoice::Auto)
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
fn find<T: Value>(
    flag: Option<T>,
    variable: &'static str,
    files: &[SettingsFile],
    key: impl Fn(&Keys) -> &Option<Spanned<String>>,
) -> Result<Setting<T>, SettingsError> {
    let set = |value, origin| {
        Ok(Setting {
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
    Ok(Setting {
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

impl Value for SourceAddress {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_str(text)
    }
}

impl Value for Name {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_str(text).map_err(|e| e.to_string())
    }
}

impl Value for DialectChoice {
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
