//! What a listener has done with the datagrams that came.

use std::fmt;

/// Datagrams, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::client) struct Counts {
    /// Messages that were taken in.
    pub(super) taken: u64,
    /// Messages that had been taken in before, and were acknowledged again.
    pub(super) again: u64,
    /// Dropped: neither form, or not whole.
    pub(super) junk: u64,
    /// Dropped: longer than a datagram may be.
    pub(super) oversized: u64,
    /// Dropped: for somebody else.
    pub(super) foreign: u64,
    /// Dropped, and not acknowledged: the inbox did not take them.
    pub(super) refused: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            taken,
            again,
            junk,
            oversized,
            foreign,
            refused,
        } = self;
        write!(
            f,
            "{taken} new, {again} again; dropped: {junk} junk, {oversized} oversized, \
             {foreign} foreign, {refused} refused"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_a_sentence() {
        let counts = Counts {
            taken: 1,
            foreign: 2,
            ..Counts::default()
        };
        assert_eq!(
            counts.to_string(),
            "1 new, 0 again; dropped: 0 junk, 0 oversized, 2 foreign, 0 refused"
        );
    }
}
