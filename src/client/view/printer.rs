//! Messages on standard output, in one form or another.

use std::io::{self, BufWriter, Stdout, StdoutLock, Write as _};

use super::{harmless, json, letter, moment, sender};
use crate::client::link::Piece;
use crate::client::note::Note;

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

impl Form {
    /// JSON if that was asked for, else text.
    pub(in crate::client) fn json_if(asked: bool) -> Self {
        if asked { Self::Json } else { Self::Text }
    }
}

/// Prints messages to standard output.
#[derive(Debug)]
pub(in crate::client) struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    form: Form,
    count: usize,
    /// A message whose lines come one by one, while they cannot be printed so.
    begun: Option<(Vec<u8>, Vec<u8>)>,
}

impl Printer {
    /// A printer to `stdout`.
    pub(in crate::client) fn new(stdout: &Stdout, form: Form) -> Self {
        Self {
            out: BufWriter::new(stdout.lock()),
            form,
            count: 0,
            begun: None,
        }
    }

    /// How many messages were printed.
    pub(in crate::client) fn count(&self) -> usize {
        self.count
    }

    /// Prints a piece of what was read from the server.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::client) fn piece(&mut self, piece: &Piece<'_>) -> io::Result<()> {
        match (piece, self.form) {
            (Piece::Whole(note), _) => self.note(note),
            (Piece::First { from, text }, Form::Json) => {
                self.end_begun()?;
                self.begun = Some((from.to_vec(), text.to_vec()));
                Ok(())
            }
            (Piece::Further(text), Form::Json) => {
                if let Some((_, body)) = &mut self.begun {
                    body.push(b'\n');
                    body.extend_from_slice(text);
                }
                Ok(())
            }
            (Piece::First { from, text }, _) => {
                self.count += 1;
                writeln!(self.out, "{}: {}", sender(from, None), harmless(text))
            }
            (Piece::Further(text), _) => writeln!(self.out, "\t{}", harmless(text)),
        }
    }

    fn end_begun(&mut self) -> io::Result<()> {
        let Some((from, body)) = self.begun.take() else {
            return Ok(());
        };
        self.note(&Note {
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
    pub(in crate::client) fn note(&mut self, note: &Note<'_>) -> io::Result<()> {
        self.count += 1;
        match (self.form, note.at) {
            (Form::Json, _) => writeln!(self.out, "{}", json::note(note)),
            (Form::Dated, Some(at)) => writeln!(self.out, "{}  {}", moment(at), letter(note)),
            _ => writeln!(self.out, "{}", letter(note)),
        }
    }

    /// Brings everything to where it is read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::client) fn flush(&mut self) -> io::Result<()> {
        self.end_begun()?;
        self.out.flush()
    }
}
