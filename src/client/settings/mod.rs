//! The settings: from the command line, the environment, a configuration file, or the default, in this order.

mod file;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use toml::Spanned;

pub(super) use self::file::SettingsError;
use self::file::{Keys, SettingsFile};
use super::instant::SourceAddress;
use super::link::{DialectChoice, Server};
use super::view::Colour;
use crate::name::Name;
use crate::sys::login;

/// The options common to all commands.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME
    /// in the working directory) [default: the socket of the daemon of this machine, or of your own]
    #[arg(short = 'd', long, global = true, value_name = "HOST[:PORT]|PATH")]
    pub(super) server: Option<Server>,

    /// Your user name; any other than your login needs a server, such as -d localhost [default: your login]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(super) user: Option<Name>,

    /// Local address for instant messages; port 0 chooses a free port [default: the local address of the
    /// connection to the server, and port 8283 or, if that is in use, a free port]
    #[arg(short, long, global = true, value_name = "IP[:PORT]")]
    pub(super) source: Option<SourceAddress>,

    /// Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server)
    /// [default: auto]
    #[arg(
        long,
        global = true,
        value_name = "DIALECT",
        value_enum,
        hide_possible_values = true
    )]
    pub(super) dialect: Option<DialectChoice>,

    /// When to use colours: auto, always or never [default: auto]
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        hide_possible_values = true
    )]
    pub(super) colour: Option<Colour>,

    /// Print more details on standard error
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Flag,
    /// The environment variable of this name.
    Variable(&'static str),
    File(PathBuf),
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

/// A setting and its origin.
#[derive(Clone, Debug)]
pub(super) struct Setting<T> {
    /// `None` if the setting is not set.
    pub(super) value: Option<T>,
    pub(super) origin: Origin,
}

/// All settings.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) server: Setting<Server>,
    /// The UDP address that receives instant messages.
    pub(super) source: Setting<SourceAddress>,
    pub(super) user: Setting<Name>,
    pub(super) dialect: Setting<DialectChoice>,
    pub(super) colour: Setting<Colour>,
}

impl Settings {
    /// Resolves the settings; `server` is the server from the command line.
    ///
    /// # Errors
    /// A configuration file or an environment variable has an invalid value.
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

    /// Returns the server: the configured one, else that of [`Server::of_this_machine`].
    pub(super) fn server(&self) -> Server {
        let configured = self.server.value.clone();
        configured.unwrap_or_else(Server::of_this_machine)
    }

    /// Returns the user name at `server`: the configured one, else the login. Over TCP, the login is taken from the
    /// environment first. `None` if no login is a valid name.
    pub(super) fn user_at(&self, server: &Server) -> Option<Name> {
        self.user.value.clone().or_else(|| match server {
            Server::Socket { .. } => login::own()?.parse().ok(),
            Server::Port { .. } => login_by_environment().or_else(|| login::own()?.parse().ok()),
        })
    }

    /// Returns the user name if the default server will not let this process act as it: a name other than the login.
    /// The daemon lets root act as any name.
    pub(super) fn name_of_another(&self) -> Option<&Name> {
        let is_login = |name: &&Name| login::own().as_deref() == Some(name.as_str());
        let name = self.user.value.as_ref();
        name.filter(|name| self.server.value.is_none() && !login::is_root() && !is_login(name))
    }

    pub(super) fn colour(&self) -> Colour {
        self.colour.value.unwrap_or(Colour::Auto)
    }

    pub(super) fn dialect(&self) -> DialectChoice {
        self.dialect.value.unwrap_or(DialectChoice::Auto)
    }
}

/// Returns the login from the environment, if it is a valid name.
fn login_by_environment() -> Option<Name> {
    ["USER", "LOGNAME"]
        .iter()
        .filter_map(|variable| std::env::var(variable).ok())
        .find_map(|name| name.parse().ok())
}

/// Returns the value of one setting from the first origin that has it.
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

/// A setting that is parsed from text.
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
    T::from_str(text, false).map_err(|_| format!("expected {known}"))
}
