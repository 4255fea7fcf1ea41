//! What a child does, in one word of its slot on the scoreboard: the child writes it, and the master reads it to decide
//! which connections have waited too long.

use std::time::Duration;

use super::config::Config;

/// What a child waits for, or that it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first byte of its client. The initial phase.
    Silent,
    /// The rest of a request, or of a frame.
    Request,
    /// The next frame of a conversation in the framed dialect.
    Step,
    /// That the client takes a reply.
    Reply,
    /// The next request of a session.
    Idle,
    /// A message or a request, in a session that watches its mailbox.
    Watch,
    /// It does not wait for its client.
    Work,
}

const ALL: [Phase; 7] = [
    Phase::Silent,
    Phase::Request,
    Phase::Step,
    Phase::Reply,
    Phase::Idle,
    Phase::Watch,
    Phase::Work,
];
const PHASE: u64 = 0b0111;
const SERVED: u64 = 0b1000;
const SINCE: u32 = 4;

impl Phase {
    /// Returns how long a child may be in this phase without pressure; `None` for any time.
    pub(super) fn patience(self, config: &Config) -> Option<Duration> {
        match self {
            Self::Silent | Self::Step => Some(config.first_byte_timeout),
            Self::Request | Self::Reply => Some(config.request_timeout),
            Self::Idle => Some(config.idle_timeout),
            Self::Watch | Self::Work => None,
        }
    }

    /// Returns whether a session waits, with no request begun.
    pub(super) fn is_waiting_session(self) -> bool {
        matches!(self, Self::Idle | Self::Watch)
    }
}

/// The content of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Whether the client has completed a request, or has read the reply.
    pub(super) is_served: bool,
    /// When the phase began, in milliseconds of the monotonic clock; 0 in the initial phase.
    pub(super) since: u64,
}

impl State {
    pub(super) fn of_word(word: u64) -> Self {
        let index = usize::try_from(word & PHASE).unwrap_or_default();
        Self {
            phase: ALL.get(index).copied().unwrap_or(Phase::Work),
            is_served: word & SERVED != 0,
            since: word >> SINCE,
        }
    }

    pub(super) fn word(self) -> u64 {
        let served = if self.is_served { SERVED } else { 0 };
        self.since << SINCE | served | self.phase as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_word() {
        for (index, phase) in ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
            for (is_served, since) in [(false, 0), (true, 1 << 50)] {
                let state = State {
                    phase,
                    is_served,
                    since,
                };
                assert_eq!(State::of_word(state.word()), state);
            }
        }
        let initial = State::of_word(0);
        assert_eq!((initial.phase, initial.is_served), (Phase::Silent, false));
        assert_eq!(State::of_word(7).phase, Phase::Work);
    }
}
