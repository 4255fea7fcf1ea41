//! Verification of the store's promises on a spool after a crash.

use std::collections::HashSet;

use super::super::handle::Spool;
use super::super::journal::recovery::{self, RecoveryLock};
use super::{Seen, n};
use crate::message::{Draft, Fields, MessageId, Trust};
use crate::name::Name;
use crate::store::{Delivery, Mail, Survey};

type Fetched = Vec<(u64, MessageId, Vec<u8>)>;

fn fetch(spool: &Spool, of: &Name) -> Result<Fetched, String> {
    let Some(mut lease) = spool.fetch(of).map_err(|e| format!("fetch {of}: {e}"))? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    while let Some(message) = lease.next().map_err(|e| format!("fetch {of}: {e}"))? {
        all.push((message.seq, message.id, message.body.to_vec()));
    }
    Ok(all)
}

/// Verifies that the promises hold for the spool in its present state, after the events `seen`.
pub(super) fn verify(spool: &Spool, seen: &[Seen]) -> Result<(), String> {
    RecoveryLock::take(spool.journal.dir().expect("there"))
        .and_then(|right| recovery::recover(spool, &right))
        .map_err(|e| format!("recover: {e}"))?;
    for name in ["bob", "carol"].map(n) {
        let found = fetch(spool, &name)?;
        is_consistent(&found, &name, seen)?;
        // The spool must remain usable: the next message comes last, with a number that no client has seen.
        let (from, id) = (n("al"), MessageId([0xee; 16]));
        let draft = Draft {
            id,
            from: &from,
            trust: Trust::Open,
            at: 1,
            expires: None,
            once: true,
            body: b"next",
            fields: Fields::default(),
        };
        let outcome = spool.deliver(&[Delivery { to: &name, draft }]).pop();
        let next = outcome
            .expect("an outcome")
            .map_err(|e| format!("store to {name}: {e}"))?;
        let known = |event: &Seen| match event {
            Seen::Accepted(of, _, seq) | Seen::Shown(of, _, seq) | Seen::Acked(of, seq)
                if *of == name =>
            {
                *seq
            }
            _ => 0,
        };
        let highest = seen.iter().map(known).max().unwrap_or(0);
        if next.duplicate || next.seq <= highest {
            return Err(format!(
                "{name}: the next message got number {}, {highest} was known",
                next.seq
            ));
        }
        let mut expected = found;
        expected.push((next.seq, id, b"next".to_vec()));
        if fetch(spool, &name)? != expected {
            return Err(format!("{name}: the next message changed the earlier ones"));
        }
        spool
            .check(&name)
            .map_err(|e| format!("check {name}: {e}"))?;
    }
    Ok(())
}

fn is_consistent(found: &Fetched, name: &Name, seen: &[Seen]) -> Result<(), String> {
    if !found.is_sorted_by(|(a, ..), (b, ..)| a < b) {
        return Err(format!("{name}: not in order"));
    }
    let ids: HashSet<_> = found.iter().map(|(_, id, _)| *id).collect();
    if ids.len() != found.len() {
        return Err(format!("{name}: a message twice"));
    }
    for (seq, id, body) in found {
        let same =
            |s: &Seen| matches!(s, Seen::Submitted(of, i, b) if of == name && i == id && b == body);
        if !seen.iter().any(same) {
            return Err(format!("{name}: message {seq} was never sent"));
        }
    }
    let begun = seen.iter().filter_map(|s| match s {
        Seen::AckBegun(of, seq) if of == name => Some(*seq),
        _ => None,
    });
    let begun = begun.max().unwrap_or(0);
    for event in seen {
        match event {
            Seen::Accepted(of, id, seq)
                if of == name
                    && *seq > begun
                    && !found.iter().any(|(s, i, _)| s == seq && i == id) =>
            {
                return Err(format!("{name}: message {seq} was accepted and is lost"));
            }
            Seen::Acked(of, acked) if of == name && found.iter().any(|(seq, ..)| seq <= acked) => {
                return Err(format!(
                    "{name}: acknowledged up to {acked}, but shown again"
                ));
            }
            Seen::Shown(of, id, seq)
                if of == name && found.iter().any(|(s, i, _)| s == seq && i != id) =>
            {
                return Err(format!(
                    "{name}: number {seq} was shown before, with another message"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
