//! Reaps children that have ended.

use std::time::Instant;

use ipnet::IpNet;

use super::child::{GARBAGE, HALF_SAID, TIMED_OUT};
use super::children::{Child, Children};
use super::config::Config;
use super::penalties::{Offence, Penalties};
use super::scoreboard::Counter;
use crate::sys::process::{self, End, Pid};

impl Children {
    /// Reaps all children that have ended, logs abnormal ends, and penalizes the sources that caused them. Ignores a
    /// process that was forked before this program was executed.
    pub(super) fn reap(&mut self, penalties: &mut Penalties, config: &Config) {
        while let Some((pid, end)) = process::reap() {
            let Some((child, _)) = self.remove(pid) else {
                self.supervisor
                    .take_if(|supervisor| supervisor.has_ended(pid, end));
                continue;
            };
            if end == End::Status(0) {
                continue;
            }
            let (offence, counter) = self.judge(pid, &child, end, config);
            self.board.count(counter, 1);
            if let Some(supervisor) = &self.supervisor {
                supervisor.forget(child.slot);
            }
            if let Some(offence) = offence {
                penalize(penalties, &child, offence, &config.penalty_exempt);
            }
        }
    }

    /// Returns the offence of a client whose child did not end well, and the counter for it.
    fn judge(
        &self,
        pid: Pid,
        child: &Child,
        end: End,
        config: &Config,
    ) -> (Option<Offence>, Counter) {
        let told = child.told.filter(|told| told.half_said);
        let half_said = told.map(|_| Offence::HalfSaid);
        match end {
            End::Signal(_) if child.told.is_some() => (half_said, Counter::Timeouts),
            End::Status(TIMED_OUT) => (None, Counter::Timeouts),
            End::Status(HALF_SAID) => {
                let is_offence = half_said.is_some() || self.is_pressed(&child.client, config);
                (is_offence.then_some(Offence::HalfSaid), Counter::Timeouts)
            }
            End::Status(GARBAGE) => (Some(Offence::Garbage), Counter::Garbage),
            end => {
                log::error!("the child {pid} that served {} {end}", child.client.peer);
                (Some(Offence::Crash), Counter::Crashes)
            }
        }
    }
}

fn penalize(penalties: &mut Penalties, child: &Child, offence: Offence, exempt: &[IpNet]) {
    if !child.client.is_exempt(exempt) {
        let span = penalties.add(child.client.source, offence, Instant::now());
        let peer = child.client.peer;
        log::debug!("{peer}: refused for {} s", span.as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigFile;
    use crate::server::scoreboard::Scoreboard;
    use crate::server::sources::{Newcomer, Source};
    use crate::sys::dir::Dir;
    use crate::sys::peer::Peer;

    #[test]
    fn slow_clients_and_broken_connections_commit_no_offence() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(dir.path()).expect("opened");
        let board = Scoreboard::create(&dir).expect("made");
        let mut children = Children::new(board, 1, None);
        let (pid, mut config) = (Pid::own(), ConfigFile::default().settings());
        let client = Newcomer {
            peer: Peer::Inet("192.0.2.1:9".parse().expect("an address")),
            source: Source::V4(1),
        };
        children.add(pid, client, &config);
        let child = children.running[&pid];
        let offence = |end, config: &Config| children.judge(pid, &child, end, config).0;
        for (end, expected) in [
            (End::Status(TIMED_OUT), None),
            (End::Status(HALF_SAID), None),
            (End::Status(GARBAGE), Some(Offence::Garbage)),
            (End::Status(70), Some(Offence::Crash)),
            (End::Signal(9), Some(Offence::Crash)),
        ] {
            assert_eq!(offence(end, &config), expected, "{end:?}");
        }
        config.children_per_source = 2;
        assert_eq!(offence(End::Status(TIMED_OUT), &config), None);
        let half_said = offence(End::Status(HALF_SAID), &config);
        assert_eq!(half_said, Some(Offence::HalfSaid));
    }
}
