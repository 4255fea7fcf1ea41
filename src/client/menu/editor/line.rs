//! The line that is being typed, as the editor tells of it, so that nothing above it is ever cleared.
//!
//! To draw the line anew, the editor goes up by as many rows as it has counted, and clears them. What a terminal
//! that changes its size does meanwhile, it does not know, and some do it before they tell. So
//! - each row ends with a line's end ([`rows`](super::rows)), and is joined with no other: there may be more rows
//!   than the editor has counted, of which some stay visible, but there are never fewer;
//! - a terminal that becomes lower may cut off rows below the cursor, down to which the editor would go, now or
//!   before it goes up: where there are such, room is made for them first;
//! - the rows are broken at the width that the editor knows. It learns of another one by a signal, which
//!   [`resizes`](super::resizes) hands on.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustyline::GraphemeClusterMode;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::{Completer, Context, Helper, Validator};

use super::completion::NameCompleter;
use super::resizes::ResizeLog;
use super::rows::{Position, Rows};
use crate::client::view;
use crate::sys::terminal;

/// By when the editor has looked at a signal, whatever else there was to do.
const LOOKED: Duration = Duration::from_secs(1);

/// What the editor asks, and tells.
#[derive(Completer, Helper, Validator)]
pub(super) struct LineHelper {
    /// Completes names.
    #[rustyline(Completer)]
    pub(super) names: NameCompleter,
    drawn: Arc<DrawnLine>,
}

/// The line as it was drawn.
#[derive(Debug)]
pub(super) struct DrawnLine {
    mode: GraphemeClusterMode,
    resizes: ResizeLog,
    state: Mutex<LineState>,
}

#[derive(Clone, Debug, Default)]
struct LineState {
    prompt: String,
    text: String,
    /// Where the cursor is, in bytes of the text.
    at: usize,
    /// How wide the editor takes the terminal to be.
    columns: usize,
    /// How narrow it may take it to be instead, as it has perhaps not looked yet, and since when.
    narrowest: Option<(usize, Instant)>,
    /// The number of resizes that it knew of, when we knew how wide.
    resizes: usize,
}

impl LineHelper {
    /// A line in which these names are completed, in an editor that takes characters to be as wide as that.
    pub(super) fn new(names: NameCompleter, mode: GraphemeClusterMode, resizes: ResizeLog) -> Self {
        let drawn = DrawnLine {
            mode,
            resizes,
            state: Mutex::default(),
        };
        Self {
            names,
            drawn: Arc::new(drawn),
        }
    }

    /// The line as it was drawn, for whoever prints above it.
    pub(super) fn drawn(&self) -> Arc<DrawnLine> {
        Arc::clone(&self.drawn)
    }

    /// An empty line behind this prompt.
    pub(super) fn begin(&self, prompt: &str) {
        let resizes = self.drawn.resizes.last().times;
        *self.drawn.state() = LineState {
            prompt: prompt.to_owned(),
            columns: terminal::size().columns,
            resizes,
            ..LineState::default()
        };
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.drawn.state().text.is_empty()
    }

    /// What is in it.
    pub(super) fn text(&self) -> String {
        self.drawn.state().text.clone()
    }
}

impl DrawnLine {
    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self, columns: usize) -> Rows {
        Rows {
            columns,
            mode: self.mode,
        }
    }

    /// Makes room for what the editor does before it clears the line: it goes down to the last row, and from there
    /// up by all rows that it has counted.
    pub(super) fn make_room(&self) {
        let room = self.room(&self.state());
        // Where the terminal is gone, the editor finds out.
        let _ = view::write_bytes(room.as_bytes());
    }

    fn room(&self, state: &LineState) -> String {
        /// Down by a row, which there is after that (IND); the column stays.
        const DOWN: &str = "\x1bD";
        let counted = state
            .narrowest
            .map_or(state.columns, |(columns, _)| columns);
        let row = |columns, end| {
            let text = state.text.get(..end).unwrap_or(&state.text);
            self.rows(columns).cursor(&state.prompt, text).row
        };
        let below = row(counted, state.text.len()).saturating_sub(row(counted, state.at));
        let missing = row(counted, state.at).saturating_sub(row(state.columns, state.at));
        let mut room = DOWN.repeat(missing + below);
        if below > 0 {
            room.push_str(&format!("\x1b[{below}A"));
        }
        room
    }

    /// The editor is about to draw `text`, with the cursor at `at`.
    fn draws(&self, text: &str, at: usize) {
        let last = self.resizes.last();
        let mut state = self.state();
        // Room for what is there now, and was drawn before.
        let room = self.room(&state);
        if last.times == state.resizes {
            let is_over = |since: &Instant| since.elapsed() > LOOKED;
            state.narrowest.take_if(|(_, since)| is_over(since));
        } else if text == state.text {
            // This is what it does when it is told: it asks the terminal, and draws.
            state.columns = terminal::size().columns;
            state.narrowest = None;
            state.resizes = last.times;
        } else if self.is_low(&state, last.columns) {
            // It has drawn nothing then; or it has not looked yet, as there is much to read.
            let narrowest = last.columns.min(state.columns);
            state.narrowest = (last.columns != state.columns).then(|| (narrowest, Instant::now()));
            state.columns = last.columns;
            state.resizes = last.times;
        }
        text.clone_into(&mut state.text);
        state.at = at;
        drop(state);
        // Where the terminal is gone, the editor finds out.
        let _ = view::write_bytes(room.as_bytes());
    }

    /// The editor is about to move the cursor to `at`.
    fn moves(&self, at: usize) {
        let mut state = self.state();
        let room = self.room(&state);
        let is_down = at > std::mem::replace(&mut state.at, at);
        drop(state);
        if is_down {
            let _ = view::write_bytes(room.as_bytes());
        }
    }

    /// Whether the line has one row, with this many columns as well.
    fn is_low(&self, state: &LineState, columns: usize) -> bool {
        [columns, state.columns].iter().all(|&columns| {
            let end = self.rows(columns).cursor(&state.prompt, &state.text);
            end.row == 0
        })
    }
}

impl Hinter for LineHelper {
    type Hint = String;

    /// Hints at nothing. The editor calls this before it draws.
    fn hint(&self, text: &str, at: usize, _: &Context<'_>) -> Option<String> {
        self.drawn.draws(text, at);
        None
    }
}

impl Highlighter for LineHelper {
    /// Breaks the prompt into rows.
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        let mut state = self.drawn.state();
        prompt.clone_into(&mut state.prompt);
        let (laid, _) = self
            .drawn
            .rows(state.columns)
            .lay(prompt, Position::default());
        laid.into()
    }

    /// Breaks the line into rows; it has no colours.
    fn highlight<'l>(&self, text: &'l str, _: usize) -> Cow<'l, str> {
        let state = self.drawn.state();
        let rows = self.drawn.rows(state.columns);
        let (_, behind) = rows.lay(&state.prompt, Position::default());
        rows.lay(text, behind).0.into()
    }

    /// Nothing changes. The editor calls this when the cursor moves.
    fn highlight_char(&self, _: &str, at: usize, _: CmdKind) -> bool {
        self.drawn.moves(at);
        false
    }
}
