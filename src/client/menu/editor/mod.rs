//! The line editor, and the screen that it shares with other threads. All prompts share one editor, so that input typed
//! ahead or pasted reaches the following prompts.

mod completion;
mod line;
pub(super) mod resizes;
mod rows;
mod screen;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{ColorMode, CompletionType, Config, Editor};

use self::completion::NameCompleter;
use self::line::LineHelper;
use self::resizes::ResizeLog;
pub(super) use self::screen::Screen;
use crate::client::link::Link;
use crate::client::view;
use crate::name::Name;

/// Input at a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Text: one line, or several if they were pasted together.
    Text(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, on an empty line.
    End,
}

/// The prompts of a menu.
pub(super) struct Prompt {
    editor: Editor<LineHelper, DefaultHistory>,
    screen: Arc<Screen>,
    /// Pasted lines that are not used yet.
    ahead: VecDeque<String>,
}

impl Prompt {
    /// Creates the editor on this terminal, and its screen.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub(super) fn new(link: &Link, resizes: &ResizeLog) -> io::Result<Self> {
        let config = Config::builder()
            .auto_add_history(true)
            .completion_type(CompletionType::List)
            // Without colours, the editor would not call the highlighter, which breaks the line into rows.
            .color_mode(ColorMode::Forced)
            .build();
        let mode = config.grapheme_cluster_mode();
        let mut editor = Editor::with_config(config).map_err(io::Error::other)?;
        let line = LineHelper::new(NameCompleter::of(link), mode, resizes.clone());
        let drawn = line.drawn();
        editor.set_helper(Some(line));
        let printer = editor.create_external_printer().ok();
        let screen = Screen::new(printer.map(|printer| Box::new(printer) as _), drawn);
        Ok(Self {
            editor,
            screen: Arc::new(screen),
            ahead: VecDeque::new(),
        })
    }

    /// Returns the screen, which is shared with other threads.
    pub(super) fn screen(&self) -> &Arc<Screen> {
        &self.screen
    }

    /// Prompts for text. Pasted text may have several lines.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn text(&mut self, what: &str) -> io::Result<Typed> {
        let typed = self.ask(what);
        self.screen.go_on();
        typed
    }

    /// As [`text`](Self::text), but Ctrl-C on a line with text moves it to the history and prompts again.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn chat_line(&mut self, what: &str) -> io::Result<Typed> {
        let typed = self.ask_again(what);
        self.screen.go_on();
        typed
    }

    /// As [`line`](Self::line), but the caller must call [`Screen::go_on`] unless it leaves the menu.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn choice(&mut self, what: &str) -> io::Result<Typed> {
        let typed = self.ask_again(what)?;
        Ok(self.first_line(typed))
    }

    /// Prompts until there is an answer. Ctrl-C is one on an empty line; otherwise it starts a new line, as in a shell.
    fn ask_again(&mut self, what: &str) -> io::Result<Typed> {
        loop {
            let typed = self.ask(what)?;
            let is_empty = self.editor.helper().is_none_or(LineHelper::is_empty);
            if typed != Typed::Interrupt || is_empty {
                return Ok(typed);
            }
            let text = self.last_text();
            self.remember(&text);
            self.screen.go_on();
        }
    }

    fn ask(&mut self, what: &str) -> io::Result<Typed> {
        if let Some(line) = self.ahead.pop_front() {
            view::print_line(&format!("{what}{}", view::sanitized(line.as_bytes())))?;
            return Ok(Typed::Text(line));
        }
        if let Some(line) = self.editor.helper() {
            line.begin(what);
        }
        self.screen.begin_prompt();
        let typed = self.editor.readline(what);
        self.screen.end_prompt();
        match typed {
            Ok(text) => Ok(Typed::Text(text)),
            Err(ReadlineError::Interrupted) => Ok(Typed::Interrupt),
            Err(ReadlineError::Eof) => Ok(Typed::End),
            Err(e) => Err(io::Error::other(e)),
        }
    }

    /// Prompts for one line. Further pasted lines answer the next prompts.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn line(&mut self, what: &str) -> io::Result<Typed> {
        let typed = self.chat_line(what)?;
        Ok(self.first_line(typed))
    }

    fn first_line(&mut self, typed: Typed) -> Typed {
        let Typed::Text(text) = typed else {
            self.forget_ahead();
            return typed;
        };
        let mut lines = text.lines().map(str::to_owned);
        let first = lines.next().unwrap_or_default();
        self.put_back(lines.collect());
        Typed::Text(first)
    }

    /// Makes these lines answer the next prompts.
    pub(super) fn put_back(&mut self, lines: Vec<String>) {
        for line in lines.into_iter().rev() {
            self.ahead.push_front(line);
        }
    }

    /// Discards pasted lines that are not used yet.
    pub(super) fn forget_ahead(&mut self) {
        self.ahead.clear();
    }

    /// Returns the text of the line when the last prompt ended.
    pub(super) fn last_text(&self) -> String {
        self.editor
            .helper()
            .map(LineHelper::text)
            .unwrap_or_default()
    }

    /// Adds `text` to the history of the prompt.
    pub(super) fn remember(&mut self, text: &str) {
        // This cannot fail: the history is in memory, and drops its oldest entry when it is full.
        let _ = self.editor.add_history_entry(text);
    }

    /// Sets the user for whom names are completed.
    pub(super) fn complete_for(&mut self, me: &Name) {
        if let Some(line) = self.editor.helper_mut() {
            line.names.complete_for(me);
        }
    }

    /// Adds the recipient `name` to the completions.
    pub(super) fn add_recipient(&self, name: &Name) {
        if let Some(line) = self.editor.helper() {
            line.names.add_recipient(name);
        }
    }

    fn is_name_asked(&mut self, is_asked: bool) {
        if let Some(line) = self.editor.helper_mut() {
            line.names.is_asked = is_asked;
        }
    }

    /// Prompts until a valid name is entered. Returns `None` on Ctrl-C or Ctrl-D.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn name(&mut self, what: &str) -> io::Result<Option<Name>> {
        loop {
            self.is_name_asked(true);
            let typed = self.line(what);
            self.is_name_asked(false);
            let Typed::Text(text) = typed? else {
                return Ok(None);
            };
            match text.trim().parse() {
                Ok(name) => return Ok(Some(name)),
                Err(e) => view::show_wrapped(&format!("Invalid name: {e}."))?,
            }
        }
    }
}
