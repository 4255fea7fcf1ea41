//! Messages on standard output, in one form or another.

use std::io::{self, BufWriter, Stdout, StdoutLock, Write};

use super::{format_message, json, moment, must_be_open, page, sanitized, sender};
use crate::client::link::MessagePiece;
use crate::client::message_view::MessageView;
use crate::name::Name;

/// How messages are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Form {
    /// Sender and text.
    Text,
    /// The same, after a date.
    Dated,
    /// One JSON object a line.
    Json,
}

/// Where messages are printed.
#[derive(Debug)]
enum Out {
    /// Straight to standard output.
    Straight(BufWriter<StdoutLock<'static>>),
    /// To a terminal, through the pager if they need it.
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
    /// JSON if that was asked for, else text.
    pub(in crate::client) fn json_if(asked: bool) -> Self {
        if asked { Self::Json } else { Self::Text }
    }
}

/// Prints messages to standard output.
#[derive(Debug)]
pub(in crate::client) struct Printer {
    out: Out,
    form: Form,
    count: usize,
    /// A message whose lines come one by one, while they cannot be printed so.
    begun: Option<(Vec<u8>, Vec<u8>)>,
    last: Option<Name>,
}

impl Printer {
    /// A printer to `stdout`.
    pub(in crate::client) fn new(stdout: &Stdout, form: Form) -> Self {
        Self {
            out: Out::Straight(BufWriter::new(stdout.lock())),
            form,
            count: 0,
            begun: None,
            last: None,
        }
    }

    /// A printer to a terminal, which shows what is longer than the screen page by page.
    pub(in crate::client) fn paged(form: Form) -> Self {
        Self {
            out: Out::Paged(Vec::new()),
            form,
            count: 0,
            begun: None,
            last: None,
        }
    }

    /// Who has sent what was printed last.
    pub(in crate::client) fn last_sender(&self) -> Option<Name> {
        self.last.clone()
    }

    /// How many messages were printed.
    pub(in crate::client) fn count(&self) -> usize {
        self.count
    }

    /// Whether what is longer than the screen goes through the pager, as far as it is printed up to a
    /// [`flush`](Self::flush).
    pub(in crate::client) fn is_paged(&self) -> bool {
        matches!(self.out, Out::Paged(_))
    }

    /// Prints a piece of what was read from the server.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::client) fn piece(&mut self, piece: &MessagePiece<'_>) -> io::Result<()> {
        match (piece, self.form) {
            (MessagePiece::Whole(message), _) => self.print_message(message),
            (MessagePiece::First { from, text }, Form::Json) => {
                self.end_begun()?;
                self.begun = Some((from.to_vec(), text.to_vec()));
                Ok(())
            }
            (MessagePiece::Further(text), Form::Json) => {
                if let Some((_, body)) = &mut self.begun {
                    body.push(b'\n');
                    body.extend_from_slice(text);
                }
                Ok(())
            }
            (MessagePiece::First { from, text }, _) => {
                self.count += 1;
                self.last = Name::new(from).ok();
                writeln!(self.out, "{}: {}", sender(from, None), sanitized(text))
            }
            (MessagePiece::Further(text), _) => writeln!(self.out, "\t{}", sanitized(text)),
        }
    }

    fn end_begun(&mut self) -> io::Result<()> {
        let Some((from, body)) = self.begun.take() else {
            return Ok(());
        };
        self.print_message(&MessageView {
            seq: None,
            id: None,
            from: &from,
            trust: None,
            at: None,
            body: &body,
        })
    }

    /// Prints a message.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::client) fn print_message(&mut self, message: &MessageView<'_>) -> io::Result<()> {
        self.count += 1;
        self.last = Name::new(message.from).ok();
        match (self.form, message.at) {
            (Form::Json, _) => writeln!(self.out, "{}", json::message_line(message)),
            (Form::Dated, Some(at)) => {
                writeln!(self.out, "{}  {}", moment(at), format_message(message))
            }
            _ => writeln!(self.out, "{}", format_message(message)),
        }
    }

    /// Brings everything to where it is read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::client) fn flush(&mut self) -> io::Result<()> {
        must_be_open()?;
        self.end_begun()?;
        self.out.flush()
    }
}
