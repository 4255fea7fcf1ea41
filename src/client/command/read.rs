//! `dropline read`.

use std::io;

use crate::client::inbox::{COMMAND_WAIT, Inbox, InboxError};
use crate::client::link::{Link, LinkError, MessagePiece, MessageSink};
use crate::client::message_view::MessageView;
use crate::client::view::{self, Form, Printer};
use crate::message::MessageKey;
use crate::name::Name;

/// The command line of `read`.
#[derive(Debug, clap::Args)]
pub(in crate::client) struct Args {
    /// Leave the messages waiting
    #[arg(long)]
    peek: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Why messages were not read.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum ReadError {
    /// The request failed, or the messages could not be printed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Another client of this name holds the lock for printing messages.
    #[error("another client of {0} is printing messages; try again when it is done")]
    Busy(Name),
}

/// The messages that were printed.
#[derive(Debug)]
pub(in crate::client) struct Printed {
    pub(in crate::client) count: usize,
    /// The sender of the last message.
    pub(in crate::client) last: Option<Name>,
}

/// Prints the messages waiting for `of`.
///
/// # Errors
/// The messages stay waiting.
pub(super) fn command(link: &Link, of: &Name, args: &Args, verbose: bool) -> Result<(), ReadError> {
    let form = Form::json_if(args.json);
    if args.peek {
        return peek(link, of, form);
    }
    let printer = Printer::new(&io::stdout(), form);
    let count = read(link, of, &[], printer)?.count;
    if verbose {
        view::notice(&format!("{count} messages for {of}"));
    }
    Ok(())
}

/// Prints the messages waiting for `of` in the inbox and on the server, and acknowledges them afterwards. Skips the
/// messages in `shown`, which the caller has printed.
///
/// # Errors
/// The messages stay waiting.
pub(in crate::client) fn read(
    link: &Link,
    of: &Name,
    shown: &[MessageKey],
    printer: Printer,
) -> Result<Printed, ReadError> {
    must_have_output()?;
    // Without an inbox, messages are still printed, though some of them may have been printed before.
    let inbox = Inbox::open(of).inspect_err(warn).ok();
    let _turn = match inbox.as_ref().map(|inbox| inbox.showing(COMMAND_WAIT)) {
        Some(Ok(None)) => return Err(ReadError::Busy(of.clone())),
        Some(Ok(turn)) => turn,
        Some(Err(e)) => {
            warn(&e);
            None
        }
        None => None,
    };
    let mut reading = PrintingSink {
        printer,
        inbox,
        peeks: false,
        unfinished: Vec::new(),
    };
    reading.print_inbox(shown).map_err(LinkError::Output)?;
    let fetched = link.fetch(of, &mut reading);
    // The inbox messages must be finished even if the fetch has failed.
    reading.end().map_err(LinkError::Output)?;
    fetched?;
    Ok(Printed {
        count: reading.printer.count(),
        last: reading.printer.last_sender(),
    })
}

/// As [`read`], but leaves the messages waiting.
///
/// # Errors
/// As for [`read`].
fn peek(link: &Link, of: &Name, form: Form) -> Result<(), ReadError> {
    must_have_output()?;
    let mut reading = PrintingSink::new(of, form);
    reading.peeks = true;
    reading.print_inbox(&[]).map_err(LinkError::Output)?;
    link.peek(of, &mut reading)?;
    Ok(reading.end().map_err(LinkError::Output)?)
}

/// Checks that standard output is open.
///
/// # Errors
/// Standard output is closed.
pub(super) fn must_have_output() -> Result<(), LinkError> {
    view::must_be_open().map_err(LinkError::Output)
}

fn warn(error: &InboxError) {
    view::error(error);
}

/// A sink that prints messages, and records them in the inbox.
pub(in crate::client) struct PrintingSink {
    printer: Printer,
    inbox: Option<Inbox>,
    /// Whether to leave the messages waiting.
    peeks: bool,
    /// The inbox messages that share a pager with those of the server, and are not recorded yet.
    unfinished: Vec<MessageKey>,
}

impl PrintingSink {
    /// Creates a sink that prints messages for `of` on standard output.
    pub(in crate::client) fn new(of: &Name, form: Form) -> Self {
        Self {
            printer: Printer::new(&io::stdout(), form),
            inbox: Inbox::open(of).inspect_err(warn).ok(),
            peeks: false,
            unfinished: Vec::new(),
        }
    }

    fn print_inbox(&mut self, shown: &[MessageKey]) -> io::Result<()> {
        let Some(inbox) = &mut self.inbox else {
            return Ok(());
        };
        if let Some(damage) = inbox.damage() {
            view::notice(&format!("dropline: {damage}"));
        }
        let waiting = inbox.waiting().inspect_err(warn).unwrap_or_default();
        let mut keys = Vec::new();
        for message in waiting.iter().filter(|m| !shown.contains(&m.key)) {
            self.printer.print_message(&MessageView::from(message))?;
            keys.push(message.key.clone());
        }
        if self.printer.is_paged() {
            self.unfinished = keys;
            return Ok(());
        }
        self.finish(&keys)
    }

    /// Finishes the inbox messages that no call of `finish` has covered.
    fn end(&mut self) -> io::Result<()> {
        match self.unfinished.is_empty() {
            true => Ok(()),
            false => self.finish(&[]),
        }
    }
}

impl MessageSink for PrintingSink {
    fn knows(&mut self, key: &MessageKey) -> io::Result<bool> {
        let known = self.inbox.as_mut().map(|inbox| inbox.knows(key));
        // If the lookup fails, print the message.
        Ok(known.is_some_and(|known| known.unwrap_or(false)))
    }

    fn take(&mut self, piece: &MessagePiece<'_>) -> io::Result<()> {
        self.printer.piece(piece)
    }

    fn batch(&self) -> u64 {
        // A single pager shows all messages.
        if self.printer.is_paged() {
            u64::MAX
        } else {
            100
        }
    }

    fn finish(&mut self, keys: &[MessageKey]) -> io::Result<()> {
        self.printer.flush()?;
        let keys = &[&std::mem::take(&mut self.unfinished)[..], keys].concat();
        if keys.is_empty() || self.peeks {
            return Ok(());
        }
        if let Some(Err(e)) = self.inbox.as_mut().map(|inbox| inbox.note_shown(keys)) {
            warn(&e);
        }
        Ok(())
    }
}
