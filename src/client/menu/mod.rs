//! The menu: send, read, see who is there, exit. Each request is a connection of its own.

mod chat_reader;
mod choice;
mod compose;
mod context;
mod editor;
mod exit_signals;
mod inbox_watcher;
mod mailbox;
mod mailbox_watcher;
mod outbox_worker;
mod presence;
mod progress_notice;
mod registration;
mod sending;
mod terminal_guard;
mod texts;

use std::io;
use std::sync::Arc;

use self::choice::Choice;
use self::context::{Menu, Reception};
use self::editor::{Prompt, Typed, resizes};
use self::mailbox_watcher::MailboxWatcher;
use self::outbox_worker::OutboxWorker;
use self::terminal_guard::TerminalGuard;
use super::command::outbox;
use super::command::who::{self, who};
use super::inbox::Inbox;
use super::instant::{ListenerPool, SourceAddress, SourceError};
use super::link::{DialectChoice, Link, Server};
use super::{thread, view};
use crate::name::Name;
use crate::sys::terminal;

/// Why the menu was left otherwise than by its Exit.
#[derive(Debug, thiserror::Error)]
pub(super) enum MenuError {
    /// The terminal is gone, or is none.
    #[error("cannot use the terminal: {0}")]
    Terminal(#[from] io::Error),
    /// Instant messages cannot come in where that was asked for.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There can be no listeners.
    #[error("cannot start the listener for instant messages: {0}")]
    Listener(io::Error),
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
    pub(super) source: SourceAddress,
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
    // Without it, a menu that is killed leaves the terminal as it is.
    let _guard = TerminalGuard::fork().ok();
    let resize_log = resizes::ResizeLog::default();
    let held = resizes::hold()?;
    let mut prompt = Prompt::new(&link, &resize_log)?;
    let user = match user {
        Some(user) => user,
        None => match prompt.name("Your name: ")? {
            Some(user) => user,
            None => return Ok(()),
        },
    };
    prompt.complete_for(&user);
    let sentence = format!("Asking {user}@{} ... Ctrl-C leaves.", link.server());
    let greeted = progress_notice::while_doing(&sentence, || link.greet(&user));
    let mut menu = Menu {
        link,
        named,
        user,
        prompt,
        reception: None,
        outbox_worker: None,
        mailbox_watcher: None,
        verbose,
    };
    // What arrives from here on is shown below the first line.
    let waiting = greeted.as_ref().ok().and_then(|_| menu.count());
    let listeners = if menu.link.dialect() != DialectChoice::Line && menu.has_inbox() {
        let side = greeted.as_ref().ok().copied().flatten();
        let socket = source.bind(side.or_else(|| menu.link.our_side()))?;
        // From here to the fork there must be no thread.
        let listeners = ListenerPool::fork(&socket).map_err(MenuError::Listener)?;
        let reception = Reception::at(listeners.address(), &menu.user, &menu.link);
        menu.reception = Some(reception);
        Some(listeners)
    } else {
        None
    };
    let presence = menu.reception.as_ref();
    let presence = presence.map(|reception| Arc::clone(&reception.presence));
    exit_signals::handle(Arc::clone(menu.prompt.screen()), presence)?;
    resizes::forward(held, &resize_log)?;
    menu.outbox_worker = Some(OutboxWorker::start(menu.prompt.screen())?);
    let screen = menu.prompt.screen();
    // What has happened is told of below.
    screen.told_of_server(greeted.is_err());
    let watcher = MailboxWatcher::start(&menu.link, &menu.user, waiting, screen)?;
    menu.mailbox_watcher = Some(watcher);
    menu.say_hello(waiting)?;
    if let Some(listeners) = listeners {
        menu.begin_listening(listeners)?;
    }
    match greeted {
        Ok(_) => menu.come_in()?,
        Err(e) => {
            view::error(&e);
            menu.try_later();
        }
    }
    let done = match partner {
        Some(partner) => menu.chat(&partner),
        None => menu.run(),
    };
    menu.leave();
    Ok(done?)
}

impl Menu {
    /// Whether there is an inbox, without which nobody can be sent anything at once.
    fn has_inbox(&self) -> bool {
        match Inbox::open(&self.user) {
            Ok(mut inbox) => {
                if let Some(damage) = inbox.damage() {
                    view::notice(&format!("dropline: {damage}"));
                }
                true
            }
            Err(e) => {
                view::error(&e);
                view::notice(
                    "dropline: there are no instant messages; those for you go to the server",
                );
                false
            }
        }
    }

    /// Shows from now on what comes, and stays online.
    fn begin_listening(&self, listeners: ListenerPool) -> io::Result<()> {
        let Some(reception) = &self.reception else {
            return Ok(());
        };
        let listener = Arc::clone(&reception.listener);
        let presence = Arc::clone(&reception.presence);
        let on = Arc::clone(self.prompt.screen());
        thread::spawn("arrivals", move || {
            inbox_watcher::follow(&listener, listeners, &on, &presence);
        })?;
        let (presence, on) = (
            Arc::clone(&reception.presence),
            Arc::clone(self.prompt.screen()),
        );
        thread::spawn("presence", move || presence.run(&on)).map(drop)
    }

    fn say_hello(&self, waiting: Option<u64>) -> io::Result<()> {
        let mut parts = vec![
            "dropline".into(),
            format!("{}@{}", self.user, self.link.server()),
        ];
        if let Some(waiting) = waiting {
            parts.push(format!("{waiting} waiting"));
        }
        if let Some(reception) = &self.reception {
            let address = reception.presence.address();
            parts.push(format!("instant messages on {address}"));
        }
        view::print_line(&texts::head(&parts, terminal::size().columns))
    }

    /// Goes online for the first time.
    fn come_in(&mut self) -> io::Result<()> {
        let Some(reception) = &self.reception else {
            return Ok(());
        };
        if self.link.dialect() == DialectChoice::Framed {
            let name = self.user.clone();
            return self.register(&name);
        }
        let at = reception.presence.address();
        let earlier = self.link.elsewhere(&self.user, at);
        match (reception.presence.go_online(&self.user), earlier) {
            (Err(e), _) => view::error(&e),
            (Ok(()), Ok(Some(address))) => view::show_wrapped(&format!(
                "{} was online elsewhere (at {address}); instant messages come here now.",
                self.user
            ))?,
            // What the server knew of us before is of no more interest.
            (Ok(()), _) => {}
        }
        Ok(())
    }

    /// Goes online when the server is there.
    fn try_later(&self) {
        if let Some(reception) = &self.reception {
            reception.presence.renew_for(&self.user, false, None);
        }
    }

    fn run(&mut self) -> io::Result<()> {
        // Whether what can be chosen is on the screen already.
        let mut is_shown = false;
        loop {
            let columns = terminal::size().columns;
            let has_presence = self.reception.is_some();
            let waiting = self.waiting();
            if let (Some(watcher), Some(waiting)) = (&self.mailbox_watcher, waiting) {
                watcher.note_known(waiting);
            }
            if !std::mem::take(&mut is_shown) {
                view::print_line(&texts::choices(waiting, has_presence, columns))?;
            }
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
                    if let Err(e) = who(
                        &self.link.with_notice(view::notice),
                        Some(&self.user),
                        &who::Args::default(),
                    ) {
                        view::error(&e);
                    }
                }
                Choice::Reply => match self.prompt.screen().last_sender() {
                    Some(to) => {
                        view::show_wrapped(&format!("To {to}:"))?;
                        let message = compose::message(&mut self.prompt)?;
                        self.send(&to, message)?;
                    }
                    None => view::show_wrapped("There is no message to reply to yet.")?,
                },
                Choice::History => self.history()?,
                Choice::Outbox => {
                    if let Err(e) = outbox::list(false) {
                        view::error(&e);
                    }
                }
                Choice::Help => is_shown = self.help()?,
                Choice::Status => self.status()?,
                Choice::Register(name) => self.register(&name)?,
                Choice::Deregister => self.deregister()?,
                Choice::Wrong(why) => view::show_wrapped(&why)?,
            }
        }
    }

    /// Explains what can be typed. Returns whether it has filled the screen, so that the choices, which it has as
    /// well, would push it away.
    fn help(&self) -> io::Result<bool> {
        let size = terminal::size();
        let text = format!("{}\n", texts::help(size.columns));
        let has_presence = self.reception.is_some();
        let choices = texts::choices(None, has_presence, size.columns);
        let screen = self.prompt.screen();
        screen.lend(|| view::page(text.as_bytes()))?;
        let needed = text.lines().count() + choices.lines().count();
        Ok(needed >= size.rows)
    }

    fn leave(&self) {
        self.prompt.screen().leave();
        if let Some(watcher) = &self.mailbox_watcher {
            watcher.end();
        }
        if let Some(reception) = &self.reception {
            reception.presence.end();
        }
        if self.verbose {
            view::notice(&format!("{} is offline.", self.user));
        }
    }
}
