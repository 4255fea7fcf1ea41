//! The command line of `dropline`.

use std::borrow::Cow;
use std::ffi::OsString;

use clap::builder::NonEmptyStringValueParser;
use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand};

use super::command::follow::Exec;
use super::duration;
use super::instant::Source;
use super::link::{Dialect, Server};
use super::settings::Colour;
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
    /// Server, with its port if that is not 8282, or the path of its socket, which has a slash (./name in this
    /// directory) [default: the socket of a daemon of this machine, else localhost]
    #[arg(short = 'd', long, global = true, value_name = "HOST[:PORT]|PATH")]
    server: Option<Server>,

    /// Your name [default: your login]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(super) user: Option<Name>,

    /// Address for instant messages: that of our side of the connection to the server, and port 8283 or
    /// another one that is free, unless they are named; port 0 is any
    #[arg(short, long, global = true, value_name = "IP[:PORT]")]
    pub(super) source: Option<Source>,

    /// How the server is spoken to: auto, session (ours), line (that of the old menu server) or framed (that of
    /// the old chat server) [default: auto]
    #[arg(
        long,
        global = true,
        value_name = "DIALECT",
        value_enum,
        hide_possible_values = true
    )]
    pub(super) dialect: Option<Dialect>,

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

    /// Server, for the menu
    #[arg(value_name = "HOST")]
    host: Option<String>,

    /// Its port
    #[arg(value_name = "PORT")]
    port: Option<u16>,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// One or more names, with commas between them, in one word: what follows them is the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipients(pub(super) Vec<Name>);

impl std::str::FromStr for Recipients {
    type Err = crate::name::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// What is done without the menu.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send a message, and print its handle, like bob/17. A message that the server cannot take now is kept
    /// here, and sent later (exit status 75)
    #[command(
        after_help = "Examples:\n  dropline send bob \"disk full on n12\"\n  make 2>&1 | tail -n 5 | dropline send bob,carol -\n  dropline send --ttl 10m bob \"lunch?\""
    )]
    Send {
        /// From client to client if NAME is online, else through the server
        #[arg(short, long)]
        instant: bool,
        /// For how long it is of use: seconds, or 10m, 2h, 1d; at most 36600d
        #[arg(long, value_name = "TIME", value_parser = duration::seconds)]
        ttl: Option<u64>,
        /// Who gets it; several with commas between them
        #[arg(value_name = "NAME")]
        to: Recipients,
        /// What it says; `-` reads it from standard input
        #[arg(value_name = "TEXT", required = true, allow_hyphen_values = true)]
        text: Vec<String>,
    },
    /// Print the messages that wait for you; they are taken out of the queue once they are printed
    #[command(after_help = "Examples:\n  dropline read\n  dropline read --json | jq -r .body")]
    Read {
        /// Leave them in the queue
        #[arg(long)]
        peek: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print messages as they come, until it is interrupted
    #[command(after_help = "Example:\n  dropline follow --exec \"notify-send 'A line'\"")]
    Follow {
        /// Run CMD for each message, with its text as standard input, instead of printing it
        #[arg(long, value_name = "CMD")]
        exec: Option<Exec>,
        /// One JSON object a line
        #[arg(long, conflicts_with = "exec")]
        json: bool,
    },
    /// Print who is registered, and who is online
    #[command(after_help = "Example:\n  dropline who")]
    Who {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print what became of a message that you have sent: waiting, read or expired
    #[command(after_help = "Example:\n  dropline status bob/17")]
    Status {
        /// What `send` has printed, like bob/17
        #[arg(value_name = "HANDLE")]
        handle: Handle,
    },
    /// Print messages that you have read and that are still kept, the newest last
    #[command(
        after_help = "Examples:\n  dropline history --from bob disk full\n  dropline history -n 100 --json"
    )]
    History {
        /// Only from NAME, whether that is verified or not; ~NAME is only who has said so, unverified
        #[arg(long, value_name = "NAME")]
        from: Option<Sender>,
        /// How many at most
        #[arg(short = 'n', value_name = "NUMBER", default_value = "20",
            value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000_000))]
        most: usize,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        /// Only with all of these words in them
        #[arg(value_name = "WORD")]
        words: Vec<String>,
    },
    /// Print how many messages wait for you; the exit status is 1 when there are none
    #[command(after_help = "Example:\n  dropline count >/dev/null && echo \"You have messages.\"")]
    Count,
    /// List the messages that could not be sent yet, or were refused
    #[command(after_help = "Examples:\n  dropline outbox\n  dropline outbox --drop 2334bee6")]
    Outbox {
        /// Try now to send them, those that were refused as well
        #[arg(long)]
        send: bool,
        /// Forget the message whose id begins with ID
        #[arg(long, value_name = "ID", conflicts_with = "send", value_parser = NonEmptyStringValueParser::new())]
        drop: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Talk to NAME line by line
    #[command(after_help = "Example:\n  dropline chat bob")]
    Chat {
        /// With whom
        #[arg(value_name = "NAME")]
        with: Name,
    },
    /// Run a command, and tell NAME how it ended, how long it took, and its last lines; the exit status is the
    /// command's
    #[command(after_help = "Example:\n  dropline run bob -- make -j8")]
    Run {
        /// Who is told; several with commas between them
        #[arg(value_name = "NAME")]
        to: Recipients,
        /// The command and its arguments
        #[arg(
            value_name = "COMMAND",
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        words: Vec<OsString>,
    },
    /// Print what is set, and where
    #[command(after_help = "Example:\n  dropline -u alice config")]
    Config,
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  dropline completion bash >~/.local/share/bash-completion/completions/dropline"
    )]
    Completion {
        /// Which shell: bash, elvish, fish, powershell or zsh
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

/// A sender, as messages are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    /// Who.
    pub(super) name: Name,
    /// Whether only what they have said, and nobody has verified, is meant.
    pub(super) is_claim: bool,
}

impl std::str::FromStr for Sender {
    type Err = crate::name::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let claim = text.strip_prefix('~');
        Ok(Self {
            name: claim.unwrap_or(text).parse()?,
            is_claim: claim.is_some(),
        })
    }
}

/// A message in somebody's mailbox, as `send` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    /// Whose mailbox.
    pub(super) to: Name,
    /// Which message in it.
    pub(super) seq: u64,
}

impl std::str::FromStr for Handle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('/');
        let (to, seq) = parts.ok_or("it is a name, a slash and a number, like bob/17")?;
        Ok(Self {
            to: to.parse().map_err(|e| format!("{to}: {e}"))?,
            seq: seq
                .parse()
                .map_err(|_| format!("'{seq}' is not a number"))?,
        })
    }
}

impl Cli {
    /// The server that was named, in whichever way.
    ///
    /// # Errors
    /// When HOST is no host.
    pub(super) fn server(&self) -> Result<Option<Server>, String> {
        match &self.host {
            Some(host) => {
                let server: Server = host.parse()?;
                Ok(Some(server.with_port(self.port)))
            }
            None => Ok(self.server.clone()),
        }
    }

    /// The first word of a text or a command, which nobody has said to be that by a `--`.
    pub(super) fn first_word(&self) -> Option<Cow<'_, str>> {
        let word = match &self.command {
            Some(Command::Send { text, .. }) => text.first().map(|word| word.as_str().into()),
            Some(Command::Run { words, .. }) => words.first().map(|word| word.to_string_lossy()),
            _ => None,
        };
        word.filter(|_| std::env::args_os().all(|word| word != "--"))
    }

    /// HOST, as it was typed.
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
    fn the_command_line_makes_sense() {
        use clap::CommandFactory as _;
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
            let server = cli.server().expect("a server");
            assert_eq!(server.map(|s| s.to_string()), Some("h:1".into()));
            assert!(matches!(cli.command, Some(Command::Send { .. })));
        }
    }

    #[test]
    fn the_old_habit_of_address_and_port() {
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
    fn what_is_no_name_is_refused() {
        let error = parse(&["send", "../../x", "hi"]).expect_err("refused");
        assert!(error.to_string().contains("a name begins with '.'"));
    }

    #[test]
    fn recipients_and_handles() {
        let cli = parse(&["send", "bob,carol", "--", "a", "-b"]).expect("parsed");
        let Some(Command::Send { to, text, .. }) = cli.command else {
            panic!("another command");
        };
        assert_eq!((to.0.len(), text.len()), (2, 2));
        let cli = parse(&["send", "bob", "hi", "there"]).expect("parsed");
        let Some(Command::Send { to, text, .. }) = cli.command else {
            panic!("another command");
        };
        assert_eq!((to.0.len(), text.len()), (1, 2), "words are no names");
        let cli = parse(&["run", "bob", "make", "all"]).expect("parsed");
        let Some(Command::Run { to, words }) = cli.command else {
            panic!("another command");
        };
        assert_eq!((to.0.len(), words.len()), (1, 2));
        assert!(parse(&["send", "bob,,carol", "a"]).is_err());
        assert!("bob/17".parse::<Handle>().is_ok());
        for wrong in ["bob", "bob/", "/1", "bob/-1", "b b/1"] {
            assert!(wrong.parse::<Handle>().is_err(), "{wrong}");
        }
    }
}
