//! The command line of `dropline`.

use clap::Parser;

use super::command::Command;
use super::link::Server;
use super::settings::Options;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "dropline",
    version,
    about = "Send messages to other users, and read messages from them",
    subcommand_precedence_over_arg = true,
    after_help = "Without a command, dropline opens a menu, which needs a terminal. \
                  `dropline HOST PORT` opens the menu for the server at that address."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) options: Options,

    /// Server for the menu
    #[arg(value_name = "HOST")]
    host: Option<String>,

    /// Port of HOST
    #[arg(value_name = "PORT")]
    port: Option<u16>,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

impl Cli {
    /// Returns the server from HOST and PORT or from the option.
    ///
    /// # Errors
    /// HOST is invalid.
    pub(super) fn server(&self) -> Result<Option<Server>, String> {
        match &self.host {
            Some(host) => {
                let server: Server = host.parse()?;
                Ok(Some(server.with_port(self.port)))
            }
            None => Ok(self.options.server.clone()),
        }
    }

    /// Returns HOST as it was typed.
    pub(super) fn host_as_typed(&self) -> &str {
        self.host.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["dropline"], args].concat())
    }

    #[test]
    fn the_definition_of_the_command_line_is_valid() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn options_may_precede_or_follow_the_command() {
        for args in [
            &["-u", "al", "-d", "h:1", "send", "bob", "hi"][..],
            &["send", "-u", "al", "-d", "h:1", "bob", "hi"],
        ] {
            let cli = parse(args).expect("valid");
            assert_eq!(
                cli.options.user.as_ref().map(ToString::to_string),
                Some("al".into())
            );
            let server = cli.server().expect("a server");
            assert_eq!(server.map(|s| s.to_string()), Some("h:1".into()));
            assert!(matches!(cli.command, Some(Command::Send(_))));
        }
    }

    #[test]
    fn accepts_host_and_port_as_arguments() {
        let server = |args: &[&str]| {
            let cli = parse(args).expect("valid");
            let server = cli.server().expect("a server");
            server.map(|server| server.to_string())
        };
        assert_eq!(
            server(&["192.168.1.5", "99"]),
            Some("192.168.1.5:99".into())
        );
        assert_eq!(server(&["::1"]), Some("[::1]:8282".into()));
        assert_eq!(server(&["-d", "/a/b"]), Some("/a/b".into()));
        assert_eq!(server(&[]), None);
    }

    #[test]
    fn refuses_an_invalid_name() {
        let error = parse(&["send", "../../x", "hi"]).expect_err("refused");
        assert!(error.to_string().contains("a name begins with '.'"));
    }

    #[test]
    fn a_job_may_have_options() {
        let cli = parse(&["run", "bob", "make", "-j8", "--all"]).expect("parsed");
        assert!(matches!(cli.command, Some(Command::Run(_))));
    }
}
