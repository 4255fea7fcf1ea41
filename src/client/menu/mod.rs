//! The menu: send, read, see who is there, exit. Each request is a connection of its own.

mod arrivals;
mod choice;
mod compose;
mod farewell;
mod identity;
mod presence;
mod prompt;
mod screen;

use std::io;
use std::sync::Arc;

use rustyline::error::ReadlineError;

use self::arrivals::Ear;
use self::choice::Choice;
use self::presence::Presence;
use self::prompt::{Prompt, Typed};
use super::command::read::read;
use super::command::send::{Way, outcome, send_body};
use super::command::who::who;
use super::inbox::Inbox;
use super::instant::{Listeners, Source, SourceError};
use super::link::{Dialect, Link};
use super::view;
use crate::name::Name;

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

/// Runs the menu until the person leaves it. Asks for the name when there is none.
///
/// # Errors
/// When the terminal cannot be used, or nobody can listen at `source`.
pub(super) fn run(
    link: Link,
    user: Option<Name>,
    source: Source,
    verbose: bool,
) -> Result<(), MenuError> {
    let mut prompt = Prompt::new()?;
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
        user,
        prompt,
        here: None,
        verbose,
    };
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
    menu.say_hello()?;
    match greeted {
        Ok(_) => menu.come_in()?,
        Err(e) => {
            view::complain(&e);
            menu.try_later();
        }
    }
    let done = menu.run();
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
    user: Name,
    prompt: Prompt,
    /// Where instant messages are possible.
    here: Option<Here>,
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

    fn say_hello(&self) -> io::Result<()> {
        let mut hello = format!(" dropline   {}@{}", self.user, self.link.server());
        if let Some(here) = &self.here {
            let address = here.presence.address();
            hello.push_str(&format!("   instant messages on {address}"));
        }
        view::show(&hello)
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
            let more = match self.here {
                Some(_) => "\n w  Who is there      ?  Help",
                None => "",
            };
            let menu = " 1  Send a message\n 2  Read messages\n 3  Exit";
            view::show(&format!("{menu}{more}"))?;
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
                    if let Err(e) = who(&self.link, Some(&self.user)) {
                        view::complain(&e);
                    }
                }
                Choice::Help => view::show(HELP)?,
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
        let sent = self
            .prompt
            .screen()
            .busy(|| send_body(&self.link, &self.user, to, message.as_bytes(), Way::Instant));
        match sent {
            Ok(delivery) => view::show(&outcome(to, delivery))?,
            Err(e) => {
                view::complain(&e);
                self.prompt.remember(&message);
                view::show("The arrow up brings back what you have written.")?;
            }
        }
        Ok(())
    }

    fn read(&self) -> Result<(), MenuError> {
        let handed = self.prompt.screen().handed();
        match read(&self.link, &self.user, &handed) {
            Ok(0) => view::show(&format!("No messages for {}.", self.user))?,
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

const HELP: &str =
    " 1               sends a message: at once if they are online, else to the server
 2               reads what waits for you
 3  !quit        leaves
 w  !who         shows who is known, and who is online
 !send NAME      sends a message of several lines
 !register NAME  makes you NAME; !deregister makes the server forget you
 !status         says how things are
 ~bob: ...       came straight from a client that says that it is bob's";
