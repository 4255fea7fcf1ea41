//! `SEND`: messages on their way into mailboxes, and what became of earlier ones.

use super::Session;
use crate::message::{Draft, Fields, MessageId};
use crate::name::Name;
use crate::server::scoreboard::Counter;
use crate::server::talk::new_id;
use crate::store::{Delivery, State, StoreError};
use crate::sys::clock::unix_millis;
use crate::wire::session::{Code, Line, encode_stored};

/// How many messages are stored at once at most.
const MOST: usize = 256;

/// Messages that are stored together.
#[derive(Default)]
pub(super) struct Batch<'r>(Vec<Letter<'r>>);

struct Letter<'r> {
    to: Name,
    id: Result<MessageId, StoreError>,
    once: bool,
    ttl: Option<u64>,
    body: &'r [u8],
}

impl Session<'_, '_> {
    /// Adds a message to the batch; `false` in a session without a name, which has no sender.
    pub(super) fn add<'r>(
        &mut self,
        batch: &mut Batch<'r>,
        to: Name,
        id: Option<MessageId>,
        ttl: Option<u64>,
        body: &'r [u8],
    ) -> bool {
        if self.name.is_none() {
            return false;
        }
        batch.0.push(Letter {
            to,
            once: id.is_some(),
            id: id.map_or_else(new_id, Ok),
            ttl,
            body,
        });
        if batch.0.len() >= MOST {
            self.deliver(batch);
        }
        true
    }

    /// Stores what is in the batch, and answers.
    pub(super) fn deliver(&mut self, batch: &mut Batch<'_>) {
        let Some(from) = self.name.clone() else {
            return;
        };
        let letters = std::mem::take(&mut batch.0);
        if letters.is_empty() {
            return;
        }
        match self.talk.may_still_be(&from) {
            Ok(Ok(())) => {}
            Ok(Err(denied)) => return letters.iter().for_each(|_| self.deny(&denied)),
            Err(e) => return letters.iter().for_each(|_| self.fail("who may", &e)),
        }
        let (at, trust) = (unix_millis(), self.talk.standing.trust());
        let deliveries: Vec<Delivery<'_>> = letters
            .iter()
            .filter_map(|letter| {
                let draft = Draft {
                    id: *letter.id.as_ref().ok()?,
                    from: &from,
                    trust,
                    at,
                    expires: letter.ttl.map(|ttl| at.saturating_add(ttl * 1_000)),
                    once: letter.once,
                    body: letter.body,
                    fields: Fields::default(),
                };
                Some(Delivery {
                    to: &letter.to,
                    draft,
                })
            })
            .collect();
        let mut outcomes = self.talk.store.deliver(&deliveries).into_iter();
        for Letter { to, id, body, .. } in &letters {
            let outcome = match id {
                Ok(id) => outcomes
                    .next()
                    .map(|outcome| outcome.map(|receipt| (id, receipt))),
                Err(e) => Some(Err(e.clone())),
            };
            match outcome {
                Some(Ok((id, receipt))) => {
                    self.tally.sent += 1;
                    self.talk.ticket.count(Counter::Stored, 1);
                    self.talk
                        .ticket
                        .count(Counter::StoredBytes, body.len() as u64);
                    encode_stored(&mut self.out, *id, to, receipt.seq);
                }
                Some(Err(e)) => {
                    self.fail(&format!("store {to} from {}", self.talk.marked(&from)), &e)
                }
                // The store has an outcome for each.
                None => self.error(Code::Internal, "the server has failed; its log says why"),
            }
        }
    }

    /// What became of a message. Only its sender is told, and of one that is not known any more nothing.
    pub(super) fn status(&mut self, to: &Name, seq: u64) {
        let Some(name) = self.named() else { return };
        match self.talk.store.trace(to, seq) {
            Ok(Some(trace)) if trace.from == name => {
                let over = trace.expires.filter(|at| *at <= unix_millis());
                let (state, at) = match (trace.state, over) {
                    (_, Some(at)) => ("expired", at),
                    (State::Read, None) => ("read", trace.at),
                    (State::Waiting, None) => ("waiting", trace.at),
                };
                Line::begin(&mut self.out, "OK")
                    .field("state", state)
                    .field("at", at)
                    .end();
            }
            Ok(_) => self.error(
                Code::Denied,
                format!("there is no message {to}/{seq} of yours, or it is not known any more"),
            ),
            Err(e) => self.fail(&format!("status {to}/{seq}"), &e),
        }
    }
}
