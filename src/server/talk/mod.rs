//! Talking to a client: in its dialect, from its first byte to the one line in the log.

mod line;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::config::Config;
use super::connection::{Connection, Pace, Received};
use super::who_may::{self, Standing};
use crate::store::Mail;
use crate::sys::clock::Deadline;
use crate::wire::sniff::{Dialect, sniff};

/// All that a dialect needs to serve a client.
struct Talk<'a> {
    connection: Connection,
    /// What the client has said so far.
    received: Vec<u8>,
    /// By when it must have said its request.
    deadline: Deadline,
    standing: Standing,
    config: &'a Config,
    mail: &'a dyn Mail,
}

/// What became of a connection: its line in the log. Never holds what a client said, but for names
/// that are valid.
enum Outcome {
    /// What was asked was done.
    Done(String),
    /// The client was told why not.
    Refused(String),
    /// The store has failed, and the client was told so.
    Failed(String),
    /// The client went away, or was too slow.
    Broken(String),
    /// The client said nothing and left: somebody has looked whether we are there.
    Nothing,
}

/// Serves one connection and logs what became of it.
pub(super) fn talk(connection: Connection, peer: SocketAddr, config: &Config, mail: &dyn Mail) {
    let begun = Instant::now();
    let mut talk = Talk {
        connection,
        received: Vec::new(),
        deadline: Deadline::after(config.request_timeout),
        standing: who_may::standing(peer, config),
        config,
        mail,
    };
    let outcome = talk
        .serve()
        .unwrap_or_else(|e| Outcome::Broken(format!("the connection broke: {e}")));
    let took = Took(begun);
    match outcome {
        Outcome::Done(what) => log::info!("{peer} {what} ({took})"),
        Outcome::Refused(why) => log::info!("{peer} refused: {why} ({took})"),
        Outcome::Failed(why) => log::error!("{peer} {why} ({took})"),
        Outcome::Broken(how) => log::info!("{peer} {how} ({took})"),
        Outcome::Nothing => log::debug!("{peer} said nothing ({took})"),
    }
}

struct Took(Instant);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.elapsed().as_secs_f64() * 1000.0)
    }
}

impl Talk<'_> {
    fn serve(&mut self) -> io::Result<Outcome> {
        let first_byte = Deadline::after(self.config.first_byte_timeout);
        loop {
            match sniff(&self.received) {
                None => {}
                Some(Dialect::Line) => return self.line(),
                Some(Dialect::Session) => {
                    let reply =
                        b"ERR syntax this version of the server does not speak sessions yet\n";
                    self.reply(reply, true)?;
                    return Ok(Outcome::Refused(
                        "the session dialect is not spoken yet".into(),
                    ));
                }
                Some(Dialect::Framed) => {
                    self.connection.finish(true);
                    return Ok(Outcome::Refused(
                        "the framed dialect is not spoken yet".into(),
                    ));
                }
                Some(Dialect::Tls) => {
                    self.connection.finish(true);
                    return Ok(Outcome::Refused(
                        "the client wants TLS, which is not spoken".into(),
                    ));
                }
            }
            let limit = if self.received.is_empty() {
                first_byte.left()
            } else {
                line::silence(&self.received)
            };
            match self.connection.receive(&mut self.received, limit)? {
                Received::Bytes => {}
                Received::End | Received::Ending if self.received.is_empty() => {
                    return Ok(Outcome::Nothing);
                }
                Received::Silence if self.received.is_empty() => return self.too_slow(),
                // A beginning of `HELLO` is all that there is: some other verb.
                _ => return self.line(),
            }
        }
    }

    /// Sends a reply that is not long, and closes.
    fn reply(&mut self, reply: &[u8], more_comes: bool) -> io::Result<()> {
        let mut pace = Pace::new(self.config.request_timeout);
        self.connection.send(reply, &mut pace)?;
        self.connection.finish(more_comes);
        Ok(())
    }
}
