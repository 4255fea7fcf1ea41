//! The command line of `dropline`.

use clap::{Parser, Subcommand};

use super::instant::Source;
use super::link::{Dialect, Server};
use crate::name::Name;

/// Everything that can be said on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "dropline",
    version,
    about = "Drop somebody a line, and read what others dropped for you",
    subcommand_precedence_over_arg = true,
    after_help = "Without a command, and in a terminal, it opens a menu. \
                  `dropline HOST PORT` opens it for the server there."
)]
pub(super) struct Cli {
    /// Server, with its port if that is not 8282
    #[arg(
        short = 'd',
        long,
        global = true,
        value_name = "HOST[:PORT]",
        env = "DROPLINE_SERVER",
        default_value = "localhost"
    )]
    server: Server,

    /// Your name [default: $USER]
    #[arg(short, long, global = true, value_name = "NAME", env = "DROPLINE_USER")]
    pub(super) user: Option<Name>,

    /// Address for instant messages: that of our side of the connection to the server, and port 8283 or
    /// another one that is free, unless they are named; port 0 is any
    #[arg(
        short,
        long,
        global = true,
        value_name = "IP[:PORT]",
        env = "DROPLINE_SOURCE"
    )]
    pub(super) source: Option<Source>,

    /// How the server is spoken to
    #[arg(
        long,
        global = true,
        value_name = "DIALECT",
        env = "DROPLINE_DIALECT",
        value_enum,
        default_value = "auto"
    )]
    pub(super) dialect: Dialect,

    /// Say more about what is done
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,

    /// Server, for the menu
    #[arg(value_name = "HOST")]
    host: Option<String>,

    /// Its port
    #[arg(value_name = "PORT")]
    port: Option<u16>,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What is done without the menu.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send a message
    Send {
        /// From client to client if NAME is online, else through the server
        #[arg(short, long)]
        instant: bool,
        /// Who gets it
        #[arg(value_name = "NAME")]
        to: Name,
        /// What it says; `-` reads it from standard input
        #[arg(value_name = "TEXT", required = true, allow_hyphen_values = true)]
        text: Vec<String>,
    },
    /// Print the messages that wait for you; they are taken out of the queue once they are printed
    Read,
    /// Print who is registered, and who is online
    Who,
}

impl Cli {
    /// The server, in whichever way it was named.
    ///
    /// # Errors
    /// When HOST is no host.
    pub(super) fn server(&self) -> Result<Server, String> {
        match &self.host {
            Some(host) => {
                let server: Server = host.parse()?;
                Ok(server.with_port(self.port))
            }
            None => Ok(self.server.clone()),
        }
    }
}

impl Cli {
    /// HOST, as it was typed.
    pub(super) fn host_as_typed(&self) -> &str {
        self.host.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["dropline"], args].concat())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_behind_the_command() {
        for args in [
            &["-u", "al", "-d", "h:1", "send", "bob", "hi"][..],
            &["send", "-u", "al", "-d", "h:1", "bob", "hi"],
        ] {
            let cli = parse(args).expect("valid");
            assert_eq!(cli.user.as_ref().map(Name::to_string), Some("al".into()));
            assert_eq!(cli.server().map(|s| s.to_string()), Ok("h:1".into()));
            assert!(matches!(cli.command, Some(Command::Send { .. })));
        }
    }

    #[test]
    fn the_old_habit_of_address_and_port() {
        let server = |args| parse(args).expect("valid").server().map(|s| s.to_string());
        assert_eq!(server(&["192.168.1.5", "99"]), Ok("192.168.1.5:99".into()));
        assert_eq!(server(&["::1"]), Ok("[::1]:8282".into()));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let error = parse(&["send", "../../x", "hi"]).expect_err("refused");
        assert!(error.to_string().contains("a name begins with '.'"));
    }
}
