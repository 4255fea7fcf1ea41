//! The terminal, shared by the prompt and by threads that print while the user types.
//!
//! Output is printed above the prompt; the line being typed is kept. While a line is edited, output is handed to the
//! editor, which may return without having printed it. A message therefore counts as shown only after the editor has
//! stayed in the prompt for `GLANCE`. While the terminal is lent to a pager, notices and messages wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustyline::ExternalPrinter;

use super::line::DrawnLine;
use crate::client::message_view::MessageView;
use crate::client::view;
use crate::message::{MessageKey, Trust};
use crate::name::Name;

/// Longest time until the editor prints output handed to it.
const GLANCE: Duration = Duration::from_millis(300);
/// How long the exit waits for a message that is being sent.
const LAST_WORK: Duration = Duration::from_secs(5);

/// The terminal. Any thread can print on it at any time.
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
    /// Whether the editor is in use.
    prompting: bool,
    /// Whether a message is being sent.
    busy: bool,
    leaving: bool,
    /// Whether the terminal is lent, for instance to a pager.
    lent: bool,
    /// Output to print when the terminal is no longer lent.
    held: Vec<String>,
    /// Whether another prompt follows the last one.
    goes_on: bool,
    /// The text that the editor will print at the next prompt, and the value of `turns` when it was handed over.
    unseen: Option<(u64, String)>,
    /// Messages that were printed and are not recorded as shown yet.
    handed: Vec<MessageKey>,
    last_sender: Option<Name>,
    partner: Option<Name>,
    /// Whether a message of the chat partner was shown whose sender is verified.
    is_partner_verified: bool,
    /// Whether the user was told that the server does not answer.
    is_server_gone: bool,
}

impl Screen {
    /// Creates the screen. Without a printer of the editor, output is written directly.
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

    /// Notes that the editor is entered.
    pub(in crate::client::menu) fn begin_prompt(&self) {
        self.change(|state| {
            state.turns += 1;
            state.prompting = true;
        });
    }

    /// Notes that the editor is left.
    pub(in crate::client::menu) fn end_prompt(&self) {
        self.change(|state| {
            state.turns += 1;
            state.prompting = false;
            state.goes_on = false;
        });
    }

    /// Notes that another prompt will follow.
    pub(in crate::client::menu) fn go_on(&self) {
        self.change(|state| state.goes_on = true);
    }

    /// Runs `work`; the exit waits some seconds for it.
    pub(in crate::client::menu) fn busy<T>(&self, work: impl FnOnce() -> T) -> T {
        self.change(|state| state.busy = true);
        let done = work();
        self.change(|state| state.busy = false);
        done
    }

    /// Runs `work` while it alone may use the terminal.
    pub(in crate::client::menu) fn lend<T>(&self, work: impl FnOnce() -> T) -> T {
        {
            // Wait for output in progress.
            let _printer = self.printer();
            self.change(|state| state.lent = true);
        }
        let done = work();
        let _printer = self.printer();
        for text in std::mem::take(&mut self.state().held) {
            // No prompt is open here. If the terminal is gone, the menu detects it.
            let _ = view::print_line(&text);
        }
        self.change(|state| state.lent = false);
        done
    }

    /// Returns whether the terminal is lent.
    pub(in crate::client::menu) fn is_lent(&self) -> bool {
        self.state().lent
    }

    /// Waits while the terminal is lent. Returns `false` if the menu is closing.
    pub(in crate::client::menu) fn is_back(&self) -> bool {
        let lent = |state: &mut ScreenState| state.lent && !state.leaving;
        let waited = self.changed.wait_while(self.state(), lent);
        !waited.unwrap_or_else(PoisonError::into_inner).leaving
    }

    /// Starts closing the menu: no further message counts as shown. Waits up to `LAST_WORK` for a message being sent.
    /// Returns whether a line is being edited.
    pub(in crate::client::menu) fn leave(&self) -> bool {
        self.change(|state| state.leaving = true);
        if self.state().busy {
            // Continue after the ^C that the terminal echoes.
            let _ = view::print_line("\r\n");
            let _ = view::show_wrapped(
                "Exiting as soon as the message is sent, or after a few seconds.",
            );
        }
        let waited = self
            .changed
            .wait_timeout_while(self.state(), LAST_WORK, |state| state.busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let turns = state.turns;
        if let Some((_, text)) = state.unseen.take_if(|(turn, _)| *turn == turns) {
            // No prompt follows in which the editor would print it.
            let _ = view::print_line(&text);
        }
        state.prompting
    }

    /// Returns whether the menu is closing.
    pub(in crate::client::menu) fn is_leaving(&self) -> bool {
        self.state().leaving
    }

    fn printer(&self) -> MutexGuard<'_, Option<Box<dyn ExternalPrinter + Send>>> {
        self.printer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints a notice, broken into rows, as [`print`](Self::print).
    pub(in crate::client::menu) fn tell(&self, text: &str) {
        self.print(&view::in_rows(text));
    }

    /// Prints `text` above the prompt, if one is open. While the terminal is lent, the text waits.
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

    /// Prints messages, given as text with their keys. Waits until the editor has had time to print, or the user
    /// goes on or leaves. Returns the keys of those that count as shown; `None` if nothing is printed while the terminal is lent.
    pub(in crate::client::menu) fn show(
        &self,
        messages: &[(MessageKey, String)],
    ) -> Option<Vec<MessageKey>> {
        let mut keys: Vec<_> = messages.iter().map(|(key, _)| key.clone()).collect();
        let mut printer = self.printer();
        let (turns, was_prompting) = {
            let mut state = self.state();
            if state.lent {
                return None;
            }
            state.handed.extend(keys.iter().cloned());
            (state.turns, state.prompting)
        };
        for (_, text) in messages {
            self.put(&mut printer, text, was_prompting);
        }
        drop(printer);
        let mut state = self.state();
        if !was_prompting && state.turns == turns {
            // The messages were written directly.
            return Some(keys);
        }
        // The editor accepts a text only after it has taken the previous one, so only the last can still be pending.
        loop {
            if state.leaving {
                keys.pop();
                return Some(keys);
            }
            let turns = state.turns;
            let still = |state: &mut ScreenState| state.turns == turns && !state.leaving;
            if state.prompting {
                let waited = self.changed.wait_timeout_while(state, GLANCE, still);
                let (woken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if waited.timed_out() {
                    return Some(keys);
                }
            } else if state.goes_on {
                // The editor prints it at the next prompt.
                state.unseen = messages.last().map(|(_, text)| (turns, text.clone()));
                return Some(keys);
            } else {
                let undecided = |state: &mut ScreenState| still(state) && !state.goes_on;
                let waited = self.changed.wait_while(state, undecided);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Returns the messages that were printed here and are not recorded as shown yet.
    pub(in crate::client::menu) fn handed(&self) -> Vec<MessageKey> {
        self.state().handed.clone()
    }

    /// Returns the sender of the last message shown.
    pub(in crate::client::menu) fn last_sender(&self) -> Option<Name> {
        self.state().last_sender.clone()
    }

    /// Sets the sender of the last message shown.
    pub(in crate::client::menu) fn shown_from(&self, sender: Name) {
        self.state().last_sender = Some(sender);
    }

    /// Starts a chat with `partner`. Messages from other senders are marked.
    pub(in crate::client::menu) fn chat_with(&self, partner: &Name) {
        self.change(|state| {
            state.partner = Some(partner.clone());
            state.is_partner_verified = false;
        });
    }

    /// Returns whether a chat is open.
    pub(in crate::client::menu) fn is_chat(&self) -> bool {
        self.state().partner.is_some()
    }

    /// Records whether the user was told that the server does not answer.
    pub(in crate::client::menu) fn told_of_server(&self, is_gone: bool) {
        self.state().is_server_gone = is_gone;
    }

    /// Returns whether the user was told that the server does not answer.
    pub(in crate::client::menu) fn is_server_gone(&self) -> bool {
        self.state().is_server_gone
    }

    /// Formats a message for this screen.
    pub(in crate::client::menu) fn format_message(&self, message: &MessageView<'_>) -> String {
        let mut state = self.state();
        let Some(partner) = &state.partner else {
            return view::format_message(message);
        };
        let has_name = partner.as_bytes() == message.from;
        let is_verified = message.trust.is_some_and(|trust| trust != Trust::Open);
        state.is_partner_verified |= has_name && is_verified;
        // After a verified message of the partner, an unverified one of that name is from another sender.
        if has_name && (is_verified || !state.is_partner_verified) {
            view::format_message(message)
        } else {
            view::format_message_of_other(message)
        }
    }

    /// Forgets messages that have been recorded as shown.
    pub(in crate::client::menu) fn noted(&self, keys: &[MessageKey]) {
        self.state().handed.retain(|key| !keys.contains(key));
    }

    /// Hands `text` to the editor's printer. Without one, or if that fails, writes it directly.
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
            // If the terminal is gone, the menu detects it.
            let _ = view::print_line(text);
        }
    }
}
