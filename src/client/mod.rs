//! The client: a menu in a terminal, and one command a job.
#![forbid(unsafe_code)]

mod cli;
mod command;
mod duration;
mod failure;
mod inbox;
mod instant;
mod link;
mod menu;
mod note;
mod outbox;
mod settings;
mod state;
mod usage;
mod view;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::cli::{Cli, Command};
use self::command::{config, follow, look, outbox as outgoing, read, reference, run, send};
use self::failure::{Failure, exit};
use self::link::{Link, Server};
use self::settings::{Colour, Settings};
use self::view::{Form, Printer};
use crate::name::Name;
use crate::sys::signal;

/// `dropline`: from the command line to the exit status.
#[must_use]
pub fn main() -> ExitCode {
    signal::hear_of_children();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage::answer(e),
    };
    match run(&cli) {
        Ok(status) => status.into(),
        Err(failure) if failure.is_closed_pipe() => failure.exit_status().into(),
        Err(failure) => {
            view::complain(&failure);
            if matches!(failure, Failure::NoCommand) {
                view::say(&Cli::command().render_usage().to_string());
            }
            failure.exit_status().into()
        }
    }
}

fn run(cli: &Cli) -> Result<u8, Failure> {
    if let Some(word) = cli
        .first_word()
        .filter(|word| usage::is_like_an_option(word))
    {
        return Err(Failure::NoOption(word.into_owned()));
    }
    let named = cli
        .server()
        .map_err(|e| Failure::NoServer(cli.host_as_typed().into(), e))?;
    match &cli.command {
        Some(Command::Completion { shell }) => {
            reference::completion(*shell)?;
            return Ok(0);
        }
        Some(Command::Man) => {
            reference::manual()?;
            return Ok(0);
        }
        _ => {}
    }
    let settings = Settings::of(cli, named)?;
    view::use_colours(settings.colour.value.unwrap_or(Colour::Auto));
    match &cli.command {
        Some(Command::Config) => {
            config::config(&settings)?;
            Ok(0)
        }
        Some(Command::Outbox { send, drop, json }) => Ok(look_into_outbox(*send, drop, *json)?),
        Some(command) => Call::new(cli, settings).run(command),
        None => Call::new(cli, settings).open_menu(None),
    }
}

fn look_into_outbox(
    send: bool,
    drop: &Option<String>,
    json: bool,
) -> Result<u8, outgoing::DropError> {
    if let Some(id) = drop {
        outgoing::drop_message(id)?;
    } else if send {
        let stuck = outgoing::flush(true, true)?;
        if let Some(why) = &stuck.why {
            view::complain(why);
        }
        if !stuck.is_empty() {
            return Ok(exit::LATER);
        }
    } else {
        outgoing::list(json)?;
    }
    Ok(0)
}

/// A command, and what it needs.
struct Call<'c> {
    cli: &'c Cli,
    settings: Settings,
    server: Server,
    link: Link,
}

impl<'c> Call<'c> {
    fn new(cli: &'c Cli, settings: Settings) -> Self {
        let server = settings.server();
        Self {
            cli,
            link: Link::new(server.clone(), settings.dialect()),
            settings,
            server,
        }
    }

    fn user(&self) -> Result<Name, Failure> {
        self.settings.user_at(&self.server).ok_or(Failure::NoUser)
    }

    /// Sends what earlier commands have left.
    fn flush(&self) {
        // The next command comes by, and this one has something else to do.
        if let Err(e) = outgoing::flush(false, self.cli.verbose) {
            view::complain(&e);
        }
    }

    /// The same before something is sent, which must not overtake it.
    fn flush_before(&self) -> outbox::Stuck {
        outgoing::flush_before(self.cli.verbose).unwrap_or_else(|e| {
            view::complain(&e);
            outbox::Stuck::default()
        })
    }

    fn run(&self, command: &Command) -> Result<u8, Failure> {
        match command {
            Command::Send {
                instant,
                ttl,
                to,
                text,
            } => {
                let way = if *instant {
                    send::Way::Instant
                } else {
                    send::Way::Server
                };
                return self.send(&to.0, text, way, *ttl);
            }
            Command::Run { to, words } => {
                self.user()?;
                let report = run::run(words);
                return self.report(&to.0, &report);
            }
            Command::Chat { with } => return self.open_menu(Some(with)),
            _ => {}
        }
        self.flush();
        let user = || self.user();
        match command {
            Command::Read { peek: true, json } => {
                read::peek(&self.link.aloud(view::say), &user()?, Form::json_if(*json))?;
            }
            Command::Read { peek: false, json } => {
                let user = user()?;
                let printer = Printer::new(&std::io::stdout(), Form::json_if(*json));
                let count = read::read(&self.link.aloud(view::say), &user, &[], printer)?.count;
                if self.cli.verbose {
                    view::say(&format!("{count} messages for {user}"));
                }
            }
            Command::Follow { exec, json } => {
                let form = Form::json_if(*json);
                follow::follow(&self.link, &user()?, exec.as_ref(), form)?;
            }
            Command::Who { json } => {
                look::who(
                    &self.link.aloud(view::say),
                    self.user().ok().as_ref(),
                    *json,
                )?;
            }
            Command::Status { handle } => {
                look::status(
                    &self.link.aloud(view::say),
                    &user()?,
                    &handle.to,
                    handle.seq,
                )?;
            }
            Command::History {
                from,
                most,
                json,
                words,
            } => {
                let wanted = look::Wanted {
                    from: from.clone(),
                    words: words.clone(),
                    most: *most,
                };
                let form = if *json { Form::Json } else { Form::Dated };
                let printer = Printer::new(&std::io::stdout(), form);
                look::history(&self.link.aloud(view::say), &user()?, &wanted, printer)?;
            }
            Command::Count => {
                if look::count(&self.link.aloud(view::say), &user()?)? == 0 {
                    return Ok(exit::NOTHING);
                }
            }
            // They are done already, by those who have called.
            Command::Send { .. }
            | Command::Run { .. }
            | Command::Chat { .. }
            | Command::Config
            | Command::Outbox { .. }
            | Command::Completion { .. }
            | Command::Man => {}
        }
        Ok(0)
    }

    fn send(
        &self,
        to: &[Name],
        text: &[String],
        way: send::Way,
        ttl: Option<u64>,
    ) -> Result<u8, Failure> {
        let from = self.user()?;
        let stuck = self.flush_before();
        let post = self.post(&from, &stuck);
        let summary = send::send(&post, to, text, way, ttl, self.cli.verbose)?;
        match summary {
            send::Summary {
                refused: Some(e), ..
            } => Err(e.into()),
            send::Summary { queued: 0, .. } => Ok(0),
            _ => Ok(exit::LATER),
        }
    }

    /// Tells `to` how a command went, and ends as it did.
    fn report(&self, to: &[Name], report: &run::Report) -> Result<u8, Failure> {
        let from = self.user()?;
        let stuck = self.flush_before();
        let post = self.post(&from, &stuck);
        for name in to {
            match post.send(name, &report.text, send::Way::Instant, None) {
                Ok(send::Sent::Gone(_)) => {}
                Ok(sent @ send::Sent::Queued(_)) => {
                    view::say(&format!("dropline: {}", send::outcome(name, &sent)));
                }
                Err(e) => view::complain(&e),
            }
        }
        Ok(report.status)
    }

    fn post<'p>(&'p self, from: &'p Name, stuck: &'p outbox::Stuck) -> send::Post<'p> {
        send::Post {
            link: &self.link,
            named: self.settings.server.value.as_ref(),
            from,
            stuck,
        }
    }

    fn open_menu(&self, partner: Option<&Name>) -> Result<u8, Failure> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Err(match partner {
                Some(_) => Failure::NoTerminal,
                None => Failure::NoCommand,
            });
        }
        let start = menu::Start {
            link: self.link.clone(),
            named: self.settings.server.value.clone(),
            user: self.settings.user_at(&self.server),
            source: self.settings.source.value.unwrap_or_default(),
            verbose: self.cli.verbose,
            partner: partner.cloned(),
        };
        menu::run(start)?;
        Ok(0)
    }
}
