//! Tracks the line being edited, so that a redraw after a resize never clears output above it.
//!
//! To redraw the line, the editor moves up by the number of rows that it has counted, and clears them. A resized
//! terminal may reflow or cut off rows before the editor learns of the new size. Therefore:
//! - Each row ends with a newline ([`rows`](super::rows)), so that the terminal never joins rows. It may have more
//!   rows than counted, some of which stay visible after a redraw, but never fewer.
//! - A terminal that loses height may cut off rows below the cursor, to which the editor moves before it moves up.
//!   Such rows are scrolled in first.
//! - Rows are broken at the width that the editor assumes; [`resizes`](super::resizes) forwards SIGWINCH to it.

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

/// Longest time until the editor has handled a signal.
const LOOKED: Duration = Duration::from_secs(1);

/// The callbacks of the editor.
#[derive(Completer, Helper, Validator)]
pub(super) struct LineHelper {
    #[rustyline(Completer)]
    pub(super) names: NameCompleter,
    drawn: Arc<DrawnLine>,
}

/// The line as last drawn.
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
    /// The cursor's position, in bytes of the text.
    at: usize,
    /// The width that the editor assumes, in columns.
    columns: usize,
    /// A smaller width that it may still assume, as it may not have handled the last signal yet; and since when.
    narrowest: Option<(usize, Instant)>,
    /// The number of forwarded resizes when `columns` was set.
    resizes: usize,
}

impl LineHelper {
    /// Creates the callbacks. `mode` is how the editor measures the width of characters.
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

    /// Returns the line as last drawn, for output above it.
    pub(super) fn drawn(&self) -> Arc<DrawnLine> {
        Arc::clone(&self.drawn)
    }

    /// Starts an empty line after this prompt.
    pub(super) fn begin(&self, prompt: &str) {
        let resizes = self.drawn.resizes.last().times;
        *self.drawn.state() = LineState {
            prompt: prompt.to_owned(),
            columns: terminal::size().columns,
            resizes,
            ..LineState::default()
        };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.drawn.state().text.is_empty()
    }

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

    /// Scrolls in the rows for a redraw: the editor moves down to the last row, then up by all rows it has counted.
    pub(super) fn make_room(&self) {
        let room = self.room(&self.state());
        // If the terminal is gone, the editor detects it.
        let _ = view::write_bytes(room.as_bytes());
    }

    fn room(&self, state: &LineState) -> String {
        /// IND: moves down one row, scrolling at the bottom, and keeps the column.
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

    /// Notes that the editor is about to draw `text` with the cursor at `at`.
    fn draws(&self, text: &str, at: usize) {
        let last = self.resizes.last();
        let mut state = self.state();
        // Make room for the line as last drawn, which is still on the screen.
        let room = self.room(&state);
        if last.times == state.resizes {
            let is_over = |since: &Instant| since.elapsed() > LOOKED;
            state.narrowest.take_if(|(_, since)| is_over(since));
        } else if text == state.text {
            // A redraw of the same text handles the signal: the editor has read the new size.
            state.columns = terminal::size().columns;
            state.narrowest = None;
            state.resizes = last.times;
        } else if self.is_low(&state, last.columns) {
            // The editor does not redraw a single row for a signal, or has not handled it yet: input is pending.
            let narrowest = last.columns.min(state.columns);
            state.narrowest = (last.columns != state.columns).then(|| (narrowest, Instant::now()));
            state.columns = last.columns;
            state.resizes = last.times;
        }
        text.clone_into(&mut state.text);
        state.at = at;
        drop(state);
        // If the terminal is gone, the editor detects it.
        let _ = view::write_bytes(room.as_bytes());
    }

    /// Notes that the editor is about to move the cursor to `at`.
    fn moves(&self, at: usize) {
        let mut state = self.state();
        let room = self.room(&state);
        let is_down = at > std::mem::replace(&mut state.at, at);
        drop(state);
        if is_down {
            let _ = view::write_bytes(room.as_bytes());
        }
    }

    /// Returns whether the line fits one row, at this width and at the assumed one.
    fn is_low(&self, state: &LineState, columns: usize) -> bool {
        [columns, state.columns].iter().all(|&columns| {
            let end = self.rows(columns).cursor(&state.prompt, &state.text);
            end.row == 0
        })
    }
}

impl Hinter for LineHelper {
    type Hint = String;

    /// Returns no hint. The editor calls this before it draws.
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

    /// Breaks the line into rows, without colours.
    fn highlight<'l>(&self, text: &'l str, _: usize) -> Cow<'l, str> {
        let state = self.drawn.state();
        let rows = self.drawn.rows(state.columns);
        let (_, behind) = rows.lay(&state.prompt, Position::default());
        rows.lay(text, behind).0.into()
    }

    /// Requests no redraw. The editor calls this when the cursor moves.
    fn highlight_char(&self, _: &str, at: usize, _: CmdKind) -> bool {
        self.drawn.moves(at);
        false
    }
}
