//! The terminal, which the prompt shares with whatever comes while somebody types.
//!
//! What comes is printed above the prompt, and the line that is being typed is kept. While a line is edited,
//! printing means handing over to the editor, which may return before it has looked: so a message counts as
//! shown only after the editor has stood still for a moment with it. While the terminal is lent, to a pager,
//! nothing is printed: notices wait until it is given back, and so do messages, which nobody has seen until then.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustyline::ExternalPrinter;

use super::line::DrawnLine;
use crate::client::message_view::MessageView;
use crate::client::view;
use crate::message::MessageId;
use crate::name::Name;
use crate::sys::terminal;

/// How long the editor takes to look at what was handed over, at most.
const GLANCE: Duration = Duration::from_millis(300);
/// How long somebody who wants to leave waits for a message to be sent.
const LAST_WORK: Duration = Duration::from_secs(5);

/// What can be printed on at any time, from any thread.
pub(in crate::client::menu) struct Screen {
    printer: Mutex<Option<Box<dyn ExternalPrinter + Send>>>,
    drawn: Arc<DrawnLine>,
    state: Mutex<ScreenState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ScreenState {
    /// How many times the editor was entered or left.
    turns: u64,
    /// Whether it is in use.
    prompting: bool,
    /// Whether a message is being sent.
    busy: bool,
    leaving: bool,
    /// Whether somebody else draws on the terminal.
    lent: bool,
    /// What was to be printed meanwhile.
    held: Vec<String>,
    /// Whether there will be another prompt after the last one.
    goes_on: bool,
    /// What the next prompt begins with, and the turn after which it does.
    unseen: Option<(u64, String)>,
    /// Messages that were printed and are not yet known to be seen.
    handed: Vec<MessageId>,
    /// Who has sent what was shown last.
    last_sender: Option<Name>,
    /// With whom one talks.
    partner: Option<Name>,
    /// Whether the person was told that the server does not answer.
    is_server_gone: bool,
}

impl Screen {
    /// The terminal; with no editor that can print, what comes is simply written.
    pub(super) fn new(
        printer: Option<Box<dyn ExternalPrinter + Send>>,
        drawn: Arc<DrawnLine>,
    ) -> Self {
        Self {
            printer: Mutex::new(printer),
            drawn,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, ScreenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut ScreenState)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// The editor is entered.
    pub(in crate::client::menu) fn begin_prompt(&self) {
        self.change(|state| {
            state.turns += 1;
            state.prompting = true;
        });
    }

    /// The editor is left.
    pub(in crate::client::menu) fn end_prompt(&self) {
        self.change(|state| {
            state.turns += 1;
            state.prompting = false;
            state.goes_on = false;
        });
    }

    /// There will be another prompt.
    pub(in crate::client::menu) fn go_on(&self) {
        self.change(|state| state.goes_on = true);
    }

    /// Does something that is better not interrupted.
    pub(in crate::client::menu) fn busy<T>(&self, work: impl FnOnce() -> T) -> T {
        self.change(|state| state.busy = true);
        let done = work();
        self.change(|state| state.busy = false);
        done
    }

    /// Does something during which nobody else may print.
    pub(in crate::client::menu) fn lend<T>(&self, work: impl FnOnce() -> T) -> T {
        {
            // What is being printed just now comes first.
            let _printer = self.printer();
            self.change(|state| state.lent = true);
        }
        let done = work();
        let _printer = self.printer();
        for text in std::mem::take(&mut self.state().held) {
            // There is no prompt while this goes on. Where the terminal is gone, the menu will find out.
            let _ = view::print_line(&text);
        }
        self.change(|state| state.lent = false);
        done
    }

    /// Whether somebody else draws on the terminal.
    pub(in crate::client::menu) fn is_lent(&self) -> bool {
        self.state().lent
    }

    /// Waits while the terminal is lent; `false` when the menu is being left.
    pub(in crate::client::menu) fn is_back(&self) -> bool {
        let lent = |state: &mut ScreenState| state.lent && !state.leaving;
        let waited = self.changed.wait_while(self.state(), lent);
        !waited.unwrap_or_else(PoisonError::into_inner).leaving
    }

    /// The menu is left: nothing more counts as shown. Waits some seconds for what is better not
    /// interrupted. Returns whether a line is being edited.
    pub(in crate::client::menu) fn leave(&self) -> bool {
        self.change(|state| state.leaving = true);
        if self.state().busy {
            // Behind the ^C that the terminal shows.
            let _ = view::print_line("\r\n");
            let _ = view::show_wrapped(
                "Leaving, as soon as what is on its way has arrived, or some seconds are over.",
            );
        }
        let waited = self
            .changed
            .wait_timeout_while(self.state(), LAST_WORK, |state| state.busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let turns = state.turns;
        if let Some((_, text)) = state.unseen.take_if(|(turn, _)| *turn == turns) {
            // There is no prompt any more to begin with it.
            let _ = view::print_line(&text);
        }
        state.prompting
    }

    /// Whether the menu is being left.
    pub(in crate::client::menu) fn is_leaving(&self) -> bool {
        self.state().leaving
    }

    fn printer(&self) -> MutexGuard<'_, Option<Box<dyn ExternalPrinter + Send>>> {
        self.printer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells something above the prompt, as [`print`](Self::print).
    pub(in crate::client::menu) fn tell(&self, text: &str) {
        self.print(&view::wrapped(text, terminal::size().columns));
    }

    /// Prints `text` above the prompt, if there is one; where the terminal is lent, after that.
    pub(in crate::client::menu) fn print(&self, text: &str) {
        let mut printer = self.printer();
        let mut state = self.state();
        if state.lent {
            state.held.push(text.to_owned());
            return;
        }
        let is_prompting = state.prompting;
        drop(state);
        self.put(&mut printer, text, is_prompting);
    }

    /// Prints an error above the prompt.
    pub(in crate::client::menu) fn complain(&self, error: &str) {
        self.tell(&format!("dropline: {}", view::sanitized(error.as_bytes())));
    }

    /// Prints messages, each as text with its id. Returns which of them count as shown, and waits for that
    /// no longer than it takes the editor to look, or the person to go on or to leave; `None` when the
    /// terminal is lent and nothing was printed.
    pub(in crate::client::menu) fn show(
        &self,
        messages: &[(MessageId, String)],
    ) -> Option<Vec<MessageId>> {
        let mut ids: Vec<_> = messages.iter().map(|(id, _)| *id).collect();
        let mut printer = self.printer();
        let (turns, was_prompting) = {
            let mut state = self.state();
            if state.lent {
                return None;
            }
            state.handed.extend(&ids);
            (state.turns, state.prompting)
        };
        for (_, text) in messages {
            self.put(&mut printer, text, was_prompting);
        }
        drop(printer);
        let mut state = self.state();
        if !was_prompting && state.turns == turns {
            // It was written at once.
            return Some(ids);
        }
        // The editor takes one after the other. Before the last was handed over, it had seen all others.
        loop {
            if state.leaving {
                ids.pop();
                return Some(ids);
            }
            let turns = state.turns;
            let still = |state: &mut ScreenState| state.turns == turns && !state.leaving;
            if state.prompting {
                let waited = self.changed.wait_timeout_while(state, GLANCE, still);
                let (woken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if waited.timed_out() {
                    return Some(ids);
                }
            } else if state.goes_on {
                // The next prompt begins with it.
                state.unseen = messages.last().map(|(_, text)| (turns, text.clone()));
                return Some(ids);
            } else {
                let undecided = |state: &mut ScreenState| still(state) && !state.goes_on;
                let waited = self.changed.wait_while(state, undecided);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// The messages that were printed here and are not yet noted as shown.
    pub(in crate::client::menu) fn handed(&self) -> Vec<MessageId> {
        self.state().handed.clone()
    }

    /// Who has sent the message that was shown last.
    pub(in crate::client::menu) fn last_sender(&self) -> Option<Name> {
        self.state().last_sender.clone()
    }

    /// The message that was shown last is from `sender`.
    pub(in crate::client::menu) fn shown_from(&self, sender: Name) {
        self.state().last_sender = Some(sender);
    }

    /// What is typed goes to `partner` from now on, and messages from others stand out.
    pub(in crate::client::menu) fn chat_with(&self, partner: &Name) {
        self.change(|state| state.partner = Some(partner.clone()));
    }

    /// Whether one talks to somebody.
    pub(in crate::client::menu) fn is_chat(&self) -> bool {
        self.state().partner.is_some()
    }

    /// The person was told whether the server answers.
    pub(in crate::client::menu) fn told_of_server(&self, is_gone: bool) {
        self.state().is_server_gone = is_gone;
    }

    /// Whether the person was told that the server does not answer.
    pub(in crate::client::menu) fn is_server_gone(&self) -> bool {
        self.state().is_server_gone
    }

    /// A message as it is shown here.
    pub(in crate::client::menu) fn format_message(&self, message: &MessageView<'_>) -> String {
        match &self.state().partner {
            Some(partner) if partner.as_bytes() != message.from => {
                view::format_message_of_other(message)
            }
            _ => view::format_message(message),
        }
    }

    /// These are noted as shown.
    pub(in crate::client::menu) fn noted(&self, ids: &[MessageId]) {
        self.state().handed.retain(|id| !ids.contains(id));
    }

    /// Hands `text` to the editor, or writes it where there is none, or it does not edit.
    fn put(
        &self,
        printer: &mut Option<Box<dyn ExternalPrinter + Send>>,
        text: &str,
        is_prompting: bool,
    ) {
        if is_prompting {
            self.drawn.make_room();
        }
        let printed = printer
            .as_mut()
            .map(|printer| printer.print(format!("{text}\n")));
        if !matches!(printed, Some(Ok(()))) {
            // Where the terminal is gone, the menu will find out.
            let _ = view::print_line(text);
        }
    }
}
