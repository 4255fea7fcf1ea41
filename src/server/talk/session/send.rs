//! `SEND` and `STATUS`: stores messages and reports the state of earlier ones.

use super::state::{Session, SessionError};
use crate::message::{Draft, Fields, MessageId};
use crate::name::Name;
use crate::server::owners::Holder;
use crate::server::principal::Act;
use crate::server::talk::conversation::new_id;
use crate::store::{Delivery, State, Trace};
use crate::sys::clock::unix_millis;
use crate::wire::code::Code;
use crate::wire::session::{AnswerLine, encode_stored};

/// The largest number of messages in a batch.
const MOST: usize = 256;

/// Messages that are stored together.
#[derive(Default)]
pub(super) struct Batch<'r>(Vec<Outgoing<'r>>);

struct Outgoing<'r> {
    to: Name,
    id: MessageId,
    once: bool,
    ttl: Option<u64>,
    body: &'r [u8],
    /// Whose name the recipient's is, if it is not open.
    holder: Option<Holder>,
}

impl Session<'_, '_> {
    /// Adds a message to the batch and stores the batch when it is full. Refuses the message in a session without a
    /// name, because it has no sender.
    pub(super) fn send<'r>(
        &mut self,
        batch: &mut Batch<'r>,
        to: Name,
        given: Option<MessageId>,
        ttl: Option<u64>,
        body: &'r [u8],
    ) {
        if self.name.is_none() {
            self.anonymous();
            return;
        }
        let once = given.is_some();
        let prepared = self.talk.owners.claim_recipient(&to).and_then(|holder| {
            let id = given.map_or_else(new_id, Ok)?;
            Ok((holder, id))
        });
        let (holder, id) = match prepared {
            Ok(prepared) => prepared,
            Err(e) => {
                // The answers must keep the order of the requests.
                self.deliver(batch);
                self.refuse(&format!("store {to}"), e);
                return;
            }
        };
        batch.0.push(Outgoing {
            to,
            id,
            once,
            ttl,
            body,
            holder,
        });
        if batch.0.len() >= MOST {
            self.deliver(batch);
        }
    }

    /// Stores the batch and answers.
    pub(super) fn deliver(&mut self, batch: &mut Batch<'_>) {
        let Some(from) = self.name.clone() else {
            return;
        };
        let messages = std::mem::take(&mut batch.0);
        if messages.is_empty() {
            return;
        }
        if let Err(refused) = self.talk.may(Act::StillAs(&from)) {
            for _ in messages {
                self.tell("authorize", &refused);
            }
            return;
        }
        let (at, trust) = (unix_millis(), self.talk.principal.trust());
        let deliveries: Vec<Delivery<'_>> = messages
            .iter()
            .map(|message| Delivery {
                to: &message.to,
                draft: Draft {
                    id: message.id,
                    from: &from,
                    trust,
                    at,
                    expires: message.ttl.map(|ttl| at.saturating_add(ttl * 1_000)),
                    once: message.once,
                    body: message.body,
                    fields: Fields::default(),
                },
            })
            .collect();
        // The store returns one outcome for each message.
        let outcomes = self.talk.store.deliver(&deliveries);
        let mut recipients: Vec<_> = messages.iter().map(|one| (&one.to, one.holder)).collect();
        recipients.sort_unstable();
        recipients.dedup();
        for (to, holder) in recipients {
            self.talk.owners.claim_recipient_again(to, holder);
        }
        for (Outgoing { to, id, body, .. }, outcome) in messages.iter().zip(outcomes) {
            match outcome {
                Ok(receipt) => {
                    self.tally.sent += 1;
                    self.talk.count_stored(body.len());
                    encode_stored(&mut self.out, *id, to, receipt.seq);
                }
                Err(e) => {
                    let what = format!("store {to} from {}", self.talk.marked(&from));
                    self.refuse(&what, e);
                }
            }
        }
    }

    /// Reports the state of a message to its sender. A message of another sender is answered like an unknown one.
    pub(super) fn status(&mut self, to: &Name, seq: u64) -> Result<(), SessionError> {
        let name = self.named()?;
        let trace = self.talk.store.trace(to, seq);
        let trace = trace.map_err(|e| self.refuse(&format!("status {to}/{seq}"), e))?;
        let trust = self.talk.principal.trust();
        let owner = self.talk.store.owner(&name);
        let owner = owner.map_err(|e| self.refuse(&format!("status {to}/{seq}"), e))?;
        // Earlier messages of the name are those of its former owner.
        let since = owner.map_or(0, |owner| owner.since);
        let is_ours =
            |trace: &Trace| trace.from == name && trace.trust == trust && trace.at >= since;
        let Some(trace) = trace.filter(is_ours) else {
            let text =
                format!("there is no message {to}/{seq} of yours, or it is not known any more");
            return Err(self.error(Code::Denied, text));
        };
        let over = trace.expires.filter(|at| *at <= unix_millis());
        let (state, at) = match (trace.state, over) {
            (_, Some(at)) => ("expired", at),
            (State::Read, None) => ("read", trace.at),
            (State::Waiting, None) => ("waiting", trace.at),
        };
        AnswerLine::begin(&mut self.out, "OK")
            .field("state", state)
            .field("at", at)
            .end();
        Ok(())
    }
}
