//! Prints messages to standard output, as text or JSON.

use std::io::{self, BufWriter, Stdout, StdoutLock, Write};

use super::rows::Rows;
use super::{Heading, format_in, json, moment, must_be_open, page, sanitized};
use crate::client::link::MessagePiece;
use crate::client::message_view::MessageView;
use crate::message::Trust;
use crate::name::Name;

/// The format of printed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Form {
    /// Sender and text.
    Text,
    /// Date, sender and text.
    Dated,
    /// One JSON object a line.
    Json,
}

/// The destination of messages.
#[derive(Debug)]
enum Out {
    /// Standard output.
    Straight(BufWriter<StdoutLock<'static>>),
    /// A terminal, through the pager if necessary.
    Paged(Vec<u8>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Straight(out) => out.write(bytes),
            Self::Paged(text) => text.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Straight(out) => out.flush(),
            Self::Paged(text) if text.is_empty() => Ok(()),
            Self::Paged(text) => page(&std::mem::take(text)),
        }
    }
}

impl Form {
    /// Returns `Json` if `asked`, else `Text`.
    pub(in crate::client) fn json_if(asked: bool) -> Self {
        if asked { Self::Json } else { Self::Text }
    }
}

#[derive(Debug)]
pub(in crate::client) struct Printer {
    out: Out,
    rows: Rows,
    form: Form,
    count: usize,
    /// A message whose lines arrive one by one, until it is complete and can be printed as JSON: its sender, the trust
    /// in the sender, and its text so far.
    begun: Option<(Vec<u8>, Option<Trust>, Vec<u8>)>,
    last: Option<Name>,
}

impl Printer {
    /// Creates a printer to standard output.
    pub(in crate::client) fn new(stdout: &Stdout, form: Form) -> Self {
        Self {
            out: Out::Straight(BufWriter::new(stdout.lock())),
            rows: Rows::of_output(),
            form,
            count: 0,
            begun: None,
            last: None,
        }
    }

    /// Creates a printer to a terminal, which uses the pager for long output.
    pub(in crate::client) fn paged(form: Form) -> Self {
        Self {
            out: Out::Paged(Vec::new()),
            rows: Rows::of_terminal(),
            form,
            count: 0,
            begun: None,
            last: None,
        }
    }

    /// Returns the sender of the last message printed.
    pub(in crate::client) fn last_sender(&self) -> Option<Name> {
        self.last.clone()
    }

    pub(in crate::client) fn count(&self) -> usize {
        self.count
    }

    /// Returns whether output is collected up to a [`flush`](Self::flush), which may use the pager.
    pub(in crate::client) fn is_paged(&self) -> bool {
        matches!(self.out, Out::Paged(_))
    }

    /// Prints a piece of a message read from the server.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(in crate::client) fn piece(&mut self, piece: &MessagePiece<'_>) -> io::Result<()> {
        match (piece, self.form) {
            (MessagePiece::Whole(message), _) => self.print_message(message),
            (MessagePiece::First { from, trust, text }, Form::Json) => {
                self.end_begun()?;
                self.begun = Some((from.to_vec(), *trust, text.to_vec()));
                Ok(())
            }
            (MessagePiece::Further(text), Form::Json) => {
                if let Some((_, _, body)) = &mut self.begun {
                    body.push(b'\n');
                    body.extend_from_slice(text);
                }
                Ok(())
            }
            (MessagePiece::First { from, trust, text }, _) => {
                self.count += 1;
                self.last = Name::new(from).ok();
                let heading = Heading::new("", from, *trust, ":");
                writeln!(self.out, "{}", heading.above(text, self.rows))
            }
            (MessagePiece::Further(text), _) => {
                writeln!(self.out, "{}", self.rows.lay(&sanitized(text), true))
            }
        }
    }

    fn end_begun(&mut self) -> io::Result<()> {
        let Some((from, trust, body)) = self.begun.take() else {
            return Ok(());
        };
        self.print_message(&MessageView {
            seq: None,
            id: None,
            from: &from,
            trust,
            at: None,
            body: &body,
        })
    }

    /// Prints a message.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(in crate::client) fn print_message(&mut self, message: &MessageView<'_>) -> io::Result<()> {
        self.count += 1;
        self.last = Name::new(message.from).ok();
        match (self.form, message.at) {
            (Form::Json, _) => writeln!(self.out, "{}", json::message_line(message)),
            (Form::Dated, Some(at)) => {
                let before = format!("{}  ", moment(at));
                writeln!(self.out, "{}", format_in(self.rows, &before, message))
            }
            _ => writeln!(self.out, "{}", format_in(self.rows, "", message)),
        }
    }

    /// Writes out all buffered output.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(in crate::client) fn flush(&mut self) -> io::Result<()> {
        must_be_open()?;
        self.end_begun()?;
        self.out.flush()
    }
}
