//! The interactive menu: reads choices and runs them. Each request opens its own connection to the server.

mod active_listener;
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

/// Why the menu cannot start or ends with an error.
#[derive(Debug, thiserror::Error)]
pub(super) enum MenuError {
    /// The terminal is gone, or standard input is not a terminal.
    #[error("cannot use the terminal: {0}")]
    Terminal(#[from] io::Error),
    /// The socket for instant messages cannot be bound.
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("cannot start the listener for instant messages: {0}")]
    Listener(io::Error),
}

/// The settings of a menu.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) link: Link,
    /// The server given by the user, if any.
    pub(super) named: Option<Server>,
    /// The user's name; if `None`, the menu prompts for it.
    pub(super) user: Option<Name>,
    /// The local address for instant messages.
    pub(super) source: SourceAddress,
    /// Whether to print additional notices.
    pub(super) verbose: bool,
    /// The chat partner; if set, a chat runs in place of the menu.
    pub(super) partner: Option<Name>,
}

/// Runs the menu or a chat until the user exits. Prompts for the user's name if it is not set.
///
/// # Errors
/// The terminal cannot be used, the source address cannot be bound, or a listener or thread cannot be started.
pub(super) fn run(start: Start) -> Result<(), MenuError> {
    let Start {
        link,
        named,
        user,
        source,
        verbose,
        partner,
    } = start;
    // Without the guard, a killed menu leaves the terminal in raw mode.
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
    let sentence = format!(
        "Connecting to {} as {user} ... Ctrl-C exits.",
        link.server()
    );
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
    // The mailbox watcher announces messages that arrive after this count.
    let waiting = greeted.as_ref().ok().and_then(|_| menu.count());
    let listeners = if menu.link.dialect() != DialectChoice::Line && menu.has_inbox() {
        let side = greeted.as_ref().ok().copied().flatten();
        let socket = source.bind(side.or_else(|| menu.link.our_side()))?;
        // The listeners must be forked before the first thread starts.
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
    // The error is printed below; the watcher must not report it again.
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
    /// Returns whether the inbox can be opened. Instant messages need it. Prints an error or damage.
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
                    "dropline: instant messages are off; messages for you are stored on the server",
                );
                false
            }
        }
    }

    /// Starts the threads that show instant messages and renew the presence lease.
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

    /// Goes online when the menu opens.
    fn come_in(&mut self) -> io::Result<()> {
        let Some(reception) = &self.reception else {
            return Ok(());
        };
        if self.link.dialect() == DialectChoice::Framed {
            let name = self.user.clone();
            return self.register(&name);
        }
        let at = reception.presence.address();
        let earlier = self.link.is_elsewhere(&self.user, at);
        match (reception.presence.go_online(&self.user), earlier) {
            (Err(e), _) => view::error(&e),
            (Ok(()), Ok(true)) => view::show_wrapped(&format!(
                "{} was online in another client; instant messages now arrive here.",
                self.user
            ))?,
            // A failed lookup of the earlier client does not matter once the name is online.
            (Ok(()), _) => {}
        }
        Ok(())
    }

    /// Goes online as soon as the server can be reached.
    fn try_later(&self) {
        if let Some(reception) = &self.reception {
            reception.presence.renew_for(&self.user, false, None);
        }
    }

    fn run(&mut self) -> io::Result<()> {
        // Whether the help, which includes the choices, fills the screen.
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

    /// Shows the help. Returns whether the list of choices, if printed next, would scroll the help off the screen.
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
