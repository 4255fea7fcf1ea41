//! The menu: send, read, see who is there, exit. Each request is a connection of its own.

mod arrivals;
mod choice;
mod compose;
mod farewell;
mod identity;
mod names;
mod postman;
mod presence;
mod prompt;
mod screen;
mod words;

use std::io;
use std::sync::Arc;

use rustyline::error::ReadlineError;

use self::arrivals::Ear;
use self::choice::Choice;
use self::postman::Postman;
use self::presence::Presence;
use self::prompt::{Prompt, Typed};
use super::command::look::{Wanted, history, who};
use super::command::outbox::{self, flush};
use super::command::read::{Printed, read};
use super::command::send::{Post, Sent, Way, outcome};
use super::inbox::Inbox;
use super::instant::{Delivery, Listeners, Source, SourceError};
use super::link::{Dialect, Link, Server};
use super::outbox::Stuck;
use super::view::{self, Form, Printer};
use crate::name::Name;
use crate::sys::terminal;

/// Why the menu was left otherwise than by its Exit.
#[derive(Debug, thiserror::Error)]
pub(super) enum MenuError {
    /// The terminal is gone, or is none.
    #[error("cannot use the terminal: {0}")]
    Terminal(String),
    /// Instant messages cannot come in where that was asked for.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There can be no listeners.
    #[error("cannot start the listener for instant messages: {0}")]
    Listener(io::Error),
}

impl From<io::Error> for MenuError {
    fn from(error: io::Error) -> Self {
        Self::Terminal(error.to_string())
    }
}

impl From<ReadlineError> for MenuError {
    fn from(error: ReadlineError) -> Self {
        Self::Terminal(error.to_string())
    }
}

/// What a menu begins with.
#[derive(Debug)]
pub(super) struct Start {
    /// The way to the server.
    pub(super) link: Link,
    /// The server that was named, if one was.
    pub(super) named: Option<Server>,
    /// Who it is for; nobody is asked for a name that is known.
    pub(super) user: Option<Name>,
    /// Where instant messages come in.
    pub(super) source: Source,
    /// Whether more is said.
    pub(super) verbose: bool,
    /// With whom one talks, instead of choosing.
    pub(super) partner: Option<Name>,
}

/// Runs the menu until the person leaves it. Asks for the name when there is none.
///
/// # Errors
/// When the terminal cannot be used, or nobody can listen at the source.
pub(super) fn run(start: Start) -> Result<(), MenuError> {
    let Start {
        link,
        named,
        user,
        source,
        verbose,
        partner,
    } = start;
    let mut prompt = Prompt::new(&link)?;
    let user = match user {
        Some(user) => user,
        None => match prompt.name("Your name: ")? {
            Some(user) => user,
            None => return Ok(()),
        },
    };
    let greeted = link.greet(&user);
    let mut menu = Menu {
        link,
        named,
        user,
        prompt,
        here: None,
        postman: None,
        verbose,
    };
    // What arrives from here on is shown below the first line.
    let waiting = greeted.as_ref().ok().and_then(|_| menu.count());
    if menu.link.dialect() != Dialect::Line && menu.has_inbox() {
        let side = greeted.as_ref().ok().copied().flatten();
        let socket = source.bind(side.or_else(|| menu.link.our_side()))?;
        // From here to the fork there must be no thread.
        let listeners = Listeners::fork(&socket).map_err(MenuError::Listener)?;
        drop(socket);
        menu.begin_listening(listeners)?;
    } else {
        farewell::on_signals(Arc::clone(menu.prompt.screen()), None)?;
    }
    menu.postman = Some(Postman::start(menu.prompt.screen())?);
    menu.say_hello(waiting)?;
    match greeted {
        Ok(_) => menu.come_in()?,
        Err(e) => {
            view::complain(&e);
            menu.try_later();
        }
    }
    let done = match partner {
        Some(partner) => menu.chat(&partner),
        None => menu.run(),
    };
    menu.leave();
    done
}

/// Being there for instant messages.
struct Here {
    ear: Arc<Ear>,
    presence: Arc<Presence>,
}

struct Menu {
    link: Link,
    named: Option<Server>,
    user: Name,
    prompt: Prompt,
    /// Where instant messages are possible.
    here: Option<Here>,
    /// Sends what could not be sent, beside the menu.
    postman: Option<Postman>,
    verbose: bool,
}

impl Menu {
    /// Whether there is an inbox, without which nobody can be sent anything at once.
    fn has_inbox(&self) -> bool {
        match Inbox::open(&self.user) {
            Ok(mut inbox) => {
                if let Some(damage) = inbox.damage() {
                    view::say(&format!("dropline: {damage}"));
                }
                true
            }
            Err(e) => {
                view::complain(&e);
                view::say(
                    "dropline: there are no instant messages; those for you go to the server",
                );
                false
            }
        }
    }

    /// Starts what goes on beside the menu.
    fn begin_listening(&mut self, listeners: Listeners) -> Result<(), MenuError> {
        let screen = self.prompt.screen();
        let presence = Presence::new(self.link.clone(), listeners.address());
        let here = Here {
            ear: Arc::new(Ear::new(self.user.clone())),
            presence: Arc::new(presence),
        };
        farewell::on_signals(Arc::clone(screen), Some(Arc::clone(&here.presence)))?;
        let (ear, presence) = (Arc::clone(&here.ear), Arc::clone(&here.presence));
        let on = Arc::clone(screen);
        thread("arrivals", move || {
            arrivals::follow(&ear, listeners, &on, &presence);
        })?;
        let (presence, on) = (Arc::clone(&here.presence), Arc::clone(screen));
        thread("presence", move || presence.run(&on))?;
        self.here = Some(here);
        Ok(())
    }

    fn say_hello(&self, waiting: Option<u64>) -> io::Result<()> {
        let mut parts = vec![
            "dropline".into(),
            format!("{}@{}", self.user, self.link.server()),
        ];
        if let Some(waiting) = waiting {
            parts.push(format!("{waiting} waiting"));
        }
        if let Some(here) = &self.here {
            let address = here.presence.address();
            parts.push(format!("instant messages on {address}"));
        }
        view::show(&words::head(&parts, terminal::size().columns))
    }

    /// How many messages wait, where that can be found out at once.
    fn waiting(&self) -> Option<u64> {
        let is_away = |here: &Here| !here.presence.is_online();
        if self.here.as_ref().is_some_and(is_away) {
            return None;
        }
        self.count()
    }

    fn count(&self) -> Option<u64> {
        if self.link.dialect() != Dialect::Session {
            return None;
        }
        self.link.hasty().count(&self.user).ok()
    }

    /// Goes online for the first time.
    fn come_in(&mut self) -> Result<(), MenuError> {
        let Some(here) = &self.here else {
            return Ok(());
        };
        if self.link.dialect() == Dialect::Framed {
            let name = self.user.clone();
            return self.register(&name);
        }
        if let Err(e) = here.presence.go_online(&self.user) {
            view::complain(&e);
        }
        Ok(())
    }

    /// Goes online when the server is there.
    fn try_later(&self) {
        if let Some(here) = &self.here {
            here.presence.keep(&self.user, false, None);
        }
    }

    fn run(&mut self) -> Result<(), MenuError> {
        loop {
            let columns = terminal::size().columns;
            let has_presence = self.here.is_some();
            view::show(&words::choices(self.waiting(), has_presence, columns))?;
            let Typed::Text(line) = self.prompt.choice("> ")? else {
                return Ok(());
            };
            let choice = choice::parse(&line);
            if choice == Choice::Exit {
                return Ok(());
            }
            self.prompt.screen().go_on();
            match choice {
                Choice::Nothing | Choice::Exit => {}
                Choice::Send => {
                    if let Some(to) = self.prompt.name("To: ")? {
                        let message = compose::message(&mut self.prompt)?;
                        self.send(&to, message)?;
                    }
                }
                Choice::SendTo(to) => {
                    let message = compose::lines(&mut self.prompt)?;
                    self.send(&to, message)?;
                }
                Choice::Read => self.read()?,
                Choice::Who => {
                    if let Err(e) = who(&self.link, Some(&self.user), false) {
                        view::complain(&e);
                    }
                }
                Choice::Reply => match self.prompt.screen().last_sender() {
                    Some(to) => {
                        view::show(&format!("To {to}:"))?;
                        let message = compose::message(&mut self.prompt)?;
                        self.send(&to, message)?;
                    }
                    None => view::show("There is no message to reply to yet.")?,
                },
                Choice::History => self.history()?,
                Choice::Outbox => {
                    if let Err(e) = outbox::list(false) {
                        view::complain(&e);
                    }
                }
                Choice::Help => view::show(words::help(terminal::size().columns))?,
                Choice::Status => self.status()?,
                Choice::Register(name) => self.register(&name)?,
                Choice::Deregister => self.deregister()?,
                Choice::Wrong(why) => view::show(&why)?,
            }
        }
    }

    fn send(&mut self, to: &Name, message: Option<String>) -> Result<(), MenuError> {
        let Some(message) = message else {
            return Ok(());
        };
        if let Some(sent) = self.post(to, &message) {
            view::show(&outcome(to, &sent))?;
        } else {
            self.prompt.remember(&message);
            view::show("The arrow up brings back what you have written.")?;
        }
        Ok(())
    }

    /// Sends a message, or queues it; what went wrong was said where there is nothing.
    fn post(&self, to: &Name, message: &str) -> Option<Sent> {
        let sent = self.prompt.screen().busy(|| {
            // What was left over goes first.
            let stuck = flush(false, true).unwrap_or_else(|e| {
                view::complain(&e);
                Stuck::default()
            });
            let post = Post {
                link: &self.link,
                named: self.named.as_ref(),
                from: &self.user,
                stuck: &stuck,
            };
            post.send(to, message.as_bytes(), Way::Instant, None)
        });
        let sent = sent.inspect_err(|e| view::complain(e)).ok()?;
        if let (Sent::Queued(_), Some(postman)) = (&sent, &self.postman) {
            postman.wake();
        }
        Some(sent)
    }

    /// Talks to one person, line by line, until Ctrl-D.
    fn chat(&mut self, with: &Name) -> Result<(), MenuError> {
        view::show(&format!(
            "What you type goes to {with}, line by line. Ctrl-D leaves."
        ))?;
        loop {
            // What came by way of the server.
            let handed = self.prompt.screen().handed();
            let printer = Printer::paged(Form::Text);
            if let Err(e) = read(&self.link, &self.user, &handed, printer) {
                view::complain(&e);
            }
            let Typed::Text(text) = self.prompt.text(&format!("{}> ", self.user))? else {
                return Ok(());
            };
            let text = text.trim_end_matches('\n');
            if text.trim().is_empty() {
                continue;
            }
            match self.post(with, text) {
                Some(Sent::Gone(Delivery::Acknowledged)) => {}
                Some(sent) => view::show(&outcome(with, &sent))?,
                None => self.prompt.remember(text),
            }
        }
    }

    fn read(&self) -> Result<(), MenuError> {
        let screen = self.prompt.screen();
        let printer = Printer::paged(Form::Text);
        match read(&self.link, &self.user, &screen.handed(), printer) {
            Ok(Printed { count: 0, .. }) => {
                view::show(&format!("No messages for {}.", self.user))?;
            }
            Ok(Printed { last, .. }) => {
                if let Some(last) = last {
                    screen.shown_from(last);
                }
            }
            Err(e) => view::complain(&e),
        }
        Ok(())
    }

    fn history(&self) -> Result<(), MenuError> {
        let wanted = Wanted {
            from: None,
            words: Vec::new(),
            most: 20,
        };
        let printer = Printer::paged(Form::Dated);
        match history(&self.link, &self.user, &wanted, printer) {
            Ok(0) => {
                view::show("There are no messages that you have read and that are still kept.")?
            }
            Ok(_) => {}
            Err(e) => view::complain(&e),
        }
        Ok(())
    }

    fn status(&self) -> Result<(), MenuError> {
        let dialect = match self.link.dialect() {
            Dialect::Line => "line",
            Dialect::Framed => "framed",
            Dialect::Session | Dialect::Auto => "session",
        };
        let server = self.link.server();
        let mut text = format!("{} at {server}, in the {dialect} dialect", self.user);
        if let Some(here) = &self.here {
            let state = if here.presence.is_online() {
                "online"
            } else {
                "offline"
            };
            text.push_str(&format!(", {state} at {}", here.presence.address()));
        }
        view::show(&format!("{text}."))?;
        if let Some(here) = &self.here
            && !here.ear.ask_counts()
        {
            view::show("Nobody listens for instant messages.")?;
        }
        Ok(())
    }

    fn leave(&self) {
        self.prompt.screen().leave();
        if let Some(here) = &self.here {
            here.presence.end();
        }
        if self.verbose {
            view::say(&format!("{} is offline.", self.user));
        }
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
}
