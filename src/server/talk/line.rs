//! The line dialect: one request, one reply, close.

use std::io;
use std::time::Duration;

use super::conversation::{Conversation, GATHER};
use super::outcome::{Outcome, Stop, doing};
use crate::name::Name;
use crate::server::connection::{Pace, Received};
use crate::server::principal::{Act, Refused};
use crate::server::scoreboard::Counter;
use crate::store::Waiting;
use crate::wire::line::{self as wire, LineRequest, Refusal};

/// Returns how long the client must be silent to complete a request without a newline, which the old client never
/// sends.
///
/// A request of more than one packet gets more time, because the retransmission of a lost packet takes about 200 ms and
/// must not cut the message.
pub(super) fn silence(talk: &Conversation<'_>) -> Duration {
    const ONE_PACKET: usize = 1_200;
    if !talk.connection.silence_ends_request() {
        return talk.deadline.left();
    }
    let millis = if talk.received.len() <= ONE_PACKET {
        150
    } else {
        1_000
    };
    Duration::from_millis(millis)
}

/// A received request.
#[derive(Clone, Copy)]
struct RequestLine {
    /// Its length in bytes.
    len: usize,
    /// Whether the client may still be sending.
    more_comes: bool,
}

/// Serves a client of the line dialect that has sent something.
pub(super) fn serve(talk: &mut Conversation<'_>) -> io::Result<Outcome> {
    talk.status.count(Counter::Line, 1);
    let Some(line) = read_line(talk)? else {
        return say(talk, &Refusal::Timeout.into(), true).map(Outcome::HalfSaid);
    };
    let more = line.more_comes;
    match answer(talk, line) {
        Ok(outcome) | Err(Stop::Ended(outcome)) => Ok(outcome),
        Err(Stop::Broken(e)) => Err(e),
        Err(Stop::Refused(what, refused)) => refuse(talk, &what, &refused, more),
    }
}

/// Reads up to the end of the request. Returns `None` when that does not arrive in time.
fn read_line(talk: &mut Conversation<'_>) -> io::Result<Option<RequestLine>> {
    let most = talk.config.max_body + wire::MOST_OVERHEAD;
    loop {
        if let Some((line, next)) = wire::first_line(&talk.received) {
            let more_comes = next < talk.received.len();
            return Ok(Some(RequestLine {
                len: line.len(),
                more_comes,
            }));
        }
        if talk.received.len() > most {
            // It is too long. The refusal depends on its head.
            return Ok(Some(RequestLine {
                len: talk.received.len(),
                more_comes: true,
            }));
        }
        if talk.deadline.passed() {
            return Ok(None);
        }
        let limit = silence(talk).min(talk.deadline.left());
        match talk.connection.receive_rest(&mut talk.received, limit)? {
            Received::Bytes | Received::Bell => {}
            Received::Silence if talk.deadline.passed() => return Ok(None),
            Received::Evicted => return Ok(None),
            Received::End | Received::Silence | Received::Ending => {
                let len = wire::last_line(&talk.received).len();
                return Ok(Some(RequestLine {
                    len,
                    more_comes: false,
                }));
            }
        }
    }
}

fn answer(talk: &mut Conversation<'_>, line: RequestLine) -> Result<Outcome, Stop> {
    let more = line.more_comes;
    let received = std::mem::take(&mut talk.received);
    talk.may(Act::Ask).map_err(doing(|| "a request"))?;
    match wire::parse(&received[..line.len], talk.config.max_body) {
        Ok(LineRequest::Store { to, from, body }) => {
            talk.may(Act::As(&from))
                .map_err(doing(|| format!("store {to}")))?;
            store(talk, &to, &from, body, more)
        }
        Ok(LineRequest::Fetch { of }) => {
            drop(received);
            talk.may(Act::As(&of))
                .map_err(doing(|| format!("fetch {of}")))?;
            fetch(talk, &of, more)
        }
        Err(declined) => {
            let is_garbage = matches!(declined.why, Refusal::NoVerb | Refusal::BadVerb);
            let why = say(talk, &declined, more)?;
            Ok(if is_garbage {
                Outcome::Garbage(why)
            } else {
                Outcome::Refused(why)
            })
        }
    }
}

fn store(
    talk: &mut Conversation<'_>,
    to: &Name,
    from: &Name,
    body: &[u8],
    more: bool,
) -> Result<Outcome, Stop> {
    talk.doing("line store", &format!("store {to}"));
    talk.status.served();
    let receipt = talk
        .deliver(to, from, body)
        .map_err(doing(|| format!("store {to} from {}", talk.marked(from))))?;
    talk.reply(wire::ACCEPTED, more)?;
    let (bytes, seq) = (body.len(), receipt.seq);
    let from = talk.marked(from);
    Ok(Outcome::Done(format!(
        "store {to}/{seq} from {from}, {bytes} bytes: accepted"
    )))
}

fn fetch(talk: &mut Conversation<'_>, of: &Name, more: bool) -> Result<Outcome, Stop> {
    talk.doing("line fetch", &format!("fetch {}", talk.marked(of)));
    let what = || format!("fetch {of}");
    talk.status.works();
    let store = talk.store;
    let Some(mut waiting) = store.fetch(of).map_err(doing(what))? else {
        talk.reply(&[wire::RETRIEVING, wire::NO_SUCH_NAME].concat(), more)?;
        return Ok(Outcome::Done(format!("fetch {of}: no such name")));
    };
    // A login may have claimed the name while this process waited for another reader.
    talk.may(Act::StillAs(of)).map_err(doing(what))?;
    let Sent { count, last } =
        send_waiting(talk, of, waiting.as_mut()).map_err(|stop| match stop {
            Stop::Broken(e) => Stop::Ended(not_delivered(of, &e)),
            stop => stop,
        })?;
    let Some(last) = last else {
        talk.connection.finish(more);
        return Ok(Outcome::Done(format!("fetch {of}: 0 messages")));
    };
    if !talk.connection.delivered(talk.config.delivery_timeout) {
        let what = format!("fetch {of}: {count} messages not delivered, they stay waiting");
        return Ok(Outcome::Broken(what));
    }
    talk.status.served();
    // If a login has claimed the name by now, the claim has set the messages aside.
    if let Err(refused) = talk.may(Act::StillAs(of)) {
        let what = format!("fetch {of}: {count} messages are not acknowledged: {refused}");
        return Ok(match refused {
            Refused::Denied(_) => Outcome::Refused(what),
            _ => Outcome::Failed(what),
        });
    }
    Ok(match waiting.acknowledge(last) {
        Ok(()) => {
            talk.status.count(Counter::Delivered, count);
            Outcome::Done(format!("fetch {of}: {count} messages delivered"))
        }
        Err(e) => Outcome::Failed(format!("fetch {of}: delivered, but not acknowledged: {e}")),
    })
}

fn not_delivered(of: &Name, error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::TimedOut => Outcome::Slow(format!(
            "fetch {of}: not delivered: the client did not read in time"
        )),
        _ => Outcome::Broken(format!("fetch {of}: not delivered: {error}")),
    }
}

/// The messages that were sent in reply to a fetch.
struct Sent {
    count: u64,
    /// The number of the last one in the mailbox.
    last: Option<u64>,
}

/// Sends the whole reply to a fetch.
fn send_waiting(
    talk: &mut Conversation<'_>,
    of: &Name,
    waiting: &mut dyn Waiting,
) -> Result<Sent, Stop> {
    let mut pace = Pace::new(talk.config.request_timeout);
    let mut reply = wire::RETRIEVING.to_vec();
    let (mut count, mut last) = (0, None);
    while let Some(message) = waiting.next().map_err(doing(|| format!("fetch {of}")))? {
        wire::encode_message(&mut reply, of, &message.from, message.body);
        count += 1;
        last = Some(message.seq);
        if reply.len() >= GATHER {
            talk.connection.send(&reply, &mut pace)?;
            reply.clear();
        }
    }
    reply.extend_from_slice(wire::NO_MORE);
    talk.connection.send(&reply, &mut pace)?;
    Ok(Sent { count, last })
}

/// Sends a refusal, closes the connection, and returns the text of the refusal for the log.
fn say(talk: &mut Conversation<'_>, declined: &wire::Declined, more: bool) -> io::Result<String> {
    let reply = declined.reply();
    talk.reply(reply.as_bytes(), more)?;
    Ok(reply.trim_end().to_owned())
}

/// Refuses a request. The client receives the reason if it can act on it, and the log receives all others.
fn refuse(
    talk: &mut Conversation<'_>,
    what: &str,
    refused: &Refused,
    more: bool,
) -> io::Result<Outcome> {
    let Some(declined) = refused.declined() else {
        talk.reply(wire::INTERNAL_ERROR, more)?;
        return Ok(Outcome::Failed(format!("{what}: {refused}")));
    };
    let said = say(talk, &declined, more)?;
    Ok(Outcome::Refused(match refused {
        Refused::Denied(_) => said,
        refused => format!("{what}: {refused}"),
    }))
}

/// Ends the connection of a client that has sent nothing in time.
pub(super) fn too_slow(talk: &mut Conversation<'_>) -> io::Result<Outcome> {
    say(talk, &Refusal::Timeout.into(), true).map(Outcome::Slow)
}
