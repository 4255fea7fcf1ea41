//! Who makes the requests of a process, for the limits that depend on it.

/// How much of what is shared a client may use up. The order is that of the trust in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rank {
    /// A client that states its own name.
    Open,
    /// A client whose name is verified.
    Verified,
    /// Root, or a tool of the operator.
    Root,
}

impl Rank {
    /// Returns the part of `quota` that such clients may fill. The rest is for those of higher rank.
    pub(crate) fn share_of(self, quota: u64) -> u64 {
        quota - self.left_of(quota)
    }

    /// Returns the part of `quota` that such clients must leave: 10 percent, 5 percent or nothing.
    pub(crate) fn left_of(self, quota: u64) -> u64 {
        match self {
            Self::Open => quota / 10,
            Self::Verified => quota / 20,
            Self::Root => 0,
        }
    }
}

/// The client that a process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) rank: Rank,
    /// A number of its source: clients with one number share what a single client may use.
    pub(crate) source: u64,
}

impl Client {
    /// The operator.
    pub(crate) const OPERATOR: Self = Self {
        rank: Rank::Root,
        source: 0,
    };
}

/// What clients of rank [`Rank::Open`] use, all together: numbers, or the counters of them in shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenUsage<T> {
    /// Mailboxes of names without an owner.
    pub(crate) mailboxes: T,
    /// Their size, and that of the messages of these clients that wait in other mailboxes, in bytes.
    pub(crate) bytes: T,
    /// Registered names without an owner.
    pub(crate) names: T,
    /// Names without an owner that are online.
    pub(crate) leases: T,
    /// Requests refused because of these limits.
    pub(crate) refused: T,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rank_leaves_room_for_the_next() {
        let shares = [Rank::Open, Rank::Verified, Rank::Root].map(|rank| rank.share_of(1_000));
        assert_eq!(shares, [900, 950, 1_000]);
        assert_eq!(Rank::Open.share_of(1), 1, "the smallest quota has no parts");
        assert_eq!(Rank::Root.share_of(u64::MAX), u64::MAX);
    }
}
