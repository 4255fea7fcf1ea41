//! Completing names from who is there.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustyline::Context;
use rustyline::completion::Completer;

use crate::client::link::Link;
use crate::name::Name;

/// How long the names are good that the server has told.
const FRESH: Duration = Duration::from_secs(10);

/// The names that the server knows, asked for when somebody wants one completed.
pub(super) struct Names {
    link: Link,
    /// Whether the whole line is to be a name; else it is one behind `!send`.
    pub(super) is_asked: bool,
    known: Mutex<Option<(Instant, Vec<Name>)>>,
}

impl Names {
    /// Those that this server knows.
    pub(super) fn of(link: &Link) -> Self {
        Self {
            link: link.hasty(),
            is_asked: false,
            known: Mutex::default(),
        }
    }

    /// The names that begin so; none where the server does not answer soon.
    fn beginning(&self, head: &str) -> Vec<String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = known.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH);
        if !is_fresh {
            let people = self.link.who(None).unwrap_or_default();
            let names = people.into_iter().map(|person| person.name);
            *known = Some((Instant::now(), names.collect()));
        }
        let names = known.iter().flat_map(|(_, names)| names);
        names
            .map(Name::to_string)
            .filter(|name| name.starts_with(head))
            .collect()
    }
}

/// Where in `line` a name begins that ends at `at`; `None` where no name is meant.
fn name_at(line: &str, at: usize, is_asked: bool) -> Option<usize> {
    let before = line.get(..at)?;
    if is_asked {
        return Some(before.rfind(',').map_or(0, |comma| comma + 1));
    }
    let rest = before.trim_start().strip_prefix("!send ")?;
    Some(at - rest.trim_start().len())
}

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(match name_at(line, at, self.is_asked) {
            Some(begin) => (begin, self.beginning(&line[begin..at])),
            None => (at, Vec::new()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_completed_where_one_is_meant() {
        assert_eq!(name_at("bo", 2, true), Some(0));
        assert_eq!(name_at("bo", 2, false), None);
        assert_eq!(name_at("!send bo", 8, false), Some(6));
        assert_eq!(name_at("!send", 5, false), None);
        assert_eq!(name_at("é", 1, true), None);
    }
}
