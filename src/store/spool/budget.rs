//! Limits of what clients use, beyond the quota of a mailbox: by rank, by source, and of all open clients together.
//!
//! What open clients use all together is counted in shared memory when they add something. A helper process counts it
//! anew from the disk (`recount.rs`), because nothing counts what readers, retention and operators remove, and because a
//! process can be killed between an addition and its count.
//!
//! What one source has added to one mailbox is counted only while the mailbox is at least a quarter full, in a table of
//! fixed size. Each acknowledgement begins a new count.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU64};

use super::format::header::Header;
use crate::name::Name;
use crate::store::{Client, Limits, OpenUsage, Rank, StoreError};
use crate::sys::shared;

/// A full mailbox, in the unit of [`Load`].
const FULL: u64 = 1 << 32;
/// Up to this load, nothing is counted for a source.
const UNCOUNTED: u64 = FULL / 4;
/// The counts per bucket of the table: a cache line.
const CELLS: usize = 8;
const BUCKETS: usize = 1_024;

/// What the limits count, of the use by open clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    Mailboxes,
    Bytes,
    Names,
    Leases,
}

impl Budget {
    pub(super) const ALL: [Self; 4] = [Self::Mailboxes, Self::Bytes, Self::Names, Self::Leases];

    /// Returns the key of the configuration that limits it.
    fn key(self) -> &'static str {
        match self {
            Self::Mailboxes => "open_mailboxes",
            Self::Bytes => "open_bytes",
            Self::Names => "open_names",
            Self::Leases => "open_leases",
        }
    }

    fn limit(self, limits: &Limits) -> u64 {
        match self {
            Self::Mailboxes => limits.open_mailboxes,
            Self::Bytes => limits.open_bytes,
            Self::Names => limits.open_names,
            Self::Leases => limits.open_leases,
        }
    }

    pub(super) fn of<T>(self, usage: &OpenUsage<T>) -> &T {
        match self {
            Self::Mailboxes => &usage.mailboxes,
            Self::Bytes => &usage.bytes,
            Self::Names => &usage.names,
            Self::Leases => &usage.leases,
        }
    }
}

/// How full something makes a mailbox: the larger of its parts of the two quotas, in units of 1/[`FULL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Load(u64);

impl Load {
    /// Returns the load of `count` messages of `bytes` bytes together.
    pub(super) fn new(limits: &Limits, count: u64, bytes: u64) -> Self {
        let part = |of: u64, quota: u64| {
            let parts = u128::from(of) * u128::from(FULL) / u128::from(quota.max(1));
            u64::try_from(parts).unwrap_or(u64::MAX)
        };
        Self(part(count, limits.quota_messages).max(part(bytes, limits.quota_bytes)))
    }
}

/// The client of this process, and the counts that all processes share.
#[derive(Debug)]
pub(super) struct Budgets {
    rank: AtomicU8,
    source: AtomicU64,
    usage: Option<OpenUsage<&'static AtomicU64>>,
    shares: Option<Shares>,
}

impl Default for Budgets {
    /// Returns the budgets of an operator's process, which shares no counts.
    fn default() -> Self {
        let budgets = Self {
            rank: AtomicU8::default(),
            source: AtomicU64::default(),
            usage: None,
            shares: None,
        };
        budgets.serve(Client::OPERATOR);
        budgets
    }
}

impl Budgets {
    /// Shares these counters, which must be 0, and a table of counts with all processes forked from now on.
    ///
    /// # Errors
    /// Errors from `mmap(2)`.
    pub(super) fn share(&mut self, usage: OpenUsage<&'static AtomicU64>) -> io::Result<()> {
        self.usage = Some(usage);
        self.shares = Some(Shares::new()?);
        Ok(())
    }

    /// Sets the client that this process serves.
    pub(super) fn serve(&self, client: Client) {
        self.rank.store(client.rank as u8, Relaxed);
        self.source.store(client.source, Relaxed);
    }

    pub(super) fn rank(&self) -> Rank {
        let rank = self.rank.load(Relaxed);
        let ranks = [Rank::Open, Rank::Verified];
        let mut same = ranks.into_iter().filter(|known| *known as u8 == rank);
        same.next().unwrap_or(Rank::Root)
    }

    fn client(&self) -> Client {
        Client {
            rank: self.rank(),
            source: self.source.load(Relaxed),
        }
    }

    /// Returns the counters of what open clients use.
    pub(super) fn usage(&self) -> Option<&OpenUsage<&'static AtomicU64>> {
        self.usage.as_ref()
    }

    /// Returns the counter of `budget` if its limits concern this process.
    fn counter(&self, budget: Budget) -> Option<&'static AtomicU64> {
        let usage = self.usage.as_ref().filter(|_| self.rank() == Rank::Open);
        usage.map(|usage| *budget.of(usage))
    }

    /// Returns whether this process may add nothing more to `budget`.
    pub(super) fn is_used_up(&self, budget: Budget, limits: &Limits) -> bool {
        let counter = self.counter(budget);
        counter.is_some_and(|counter| counter.load(Relaxed) >= budget.limit(limits))
    }

    /// Adds `n` to `budget` if there is room for it.
    ///
    /// # Errors
    /// [`StoreError::Budget`].
    pub(super) fn add(&self, budget: Budget, n: u64, limits: &Limits) -> Result<(), StoreError> {
        let Some(counter) = self.counter(budget) else {
            return Ok(());
        };
        // Add first: several processes cannot share the last room then.
        if counter.fetch_add(n, Relaxed).saturating_add(n) <= budget.limit(limits) {
            return Ok(());
        }
        take_off(counter, n);
        Err(self.refusal(budget))
    }

    /// Records that `n` of `budget` are free again.
    pub(super) fn give_back(&self, budget: Budget, n: u64) {
        if let Some(counter) = self.counter(budget) {
            take_off(counter, n);
        }
    }

    /// Returns the error of a request that `budget` has no room for, and counts it.
    pub(super) fn refusal(&self, budget: Budget) -> StoreError {
        if let Some(usage) = &self.usage {
            usage.refused.fetch_add(1, Relaxed);
        }
        StoreError::Budget(budget.key())
    }

    /// Checks that the client of this process may add a message to a mailbox that is then filled to `after`: what its
    /// source has added before must not be more than what is then free.
    ///
    /// # Errors
    /// [`StoreError::Quota`].
    pub(super) fn within_share(
        &self,
        name: &Name,
        header: &Header,
        after: Load,
    ) -> Result<(), StoreError> {
        let Some(shares) = self.counted(after) else {
            return Ok(());
        };
        if shares.get(self.key(shares, name, header)) <= FULL.saturating_sub(after.0) {
            return Ok(());
        }
        let why = "its sender has more unread messages there than there is room left for others";
        Err(StoreError::Quota(name.clone(), why))
    }

    /// Counts that the client of this process adds `more` to a mailbox that is then filled to `after`.
    pub(super) fn count_share(&self, name: &Name, header: &Header, after: Load, more: Load) {
        if let Some(shares) = self.counted(after) {
            shares.add(self.key(shares, name, header), more.0);
        }
    }

    /// Returns the table if this client is counted in a mailbox that is filled to `after`.
    fn counted(&self, after: Load) -> Option<&Shares> {
        let shares = self.shares.as_ref();
        shares.filter(|_| after.0 > UNCOUNTED && self.rank() != Rank::Root)
    }

    fn key(&self, shares: &Shares, name: &Name, header: &Header) -> u64 {
        let mailbox = (name.as_bytes(), header.epoch, header.acked_seq);
        shares.seed.hash_one((mailbox, self.client()))
    }
}

/// Subtracts `n`, but not below 0: a recount may have come in between.
fn take_off(counter: &AtomicU64, n: u64) {
    let _ = counter.fetch_update(Relaxed, Relaxed, |value| Some(value.saturating_sub(n)));
}

/// A table of counts in shared memory. A cell has the upper half of a key, and a count in its lower half. A bucket keeps
/// its largest counts. The seed is secret, so that no client can choose keys of one bucket.
#[derive(Debug)]
struct Shares {
    cells: &'static [AtomicU64],
    seed: RandomState,
}

impl Shares {
    fn new() -> io::Result<Self> {
        Ok(Self {
            cells: shared::words(BUCKETS * CELLS)?,
            seed: RandomState::new(),
        })
    }

    /// Returns the bucket of `key`, and the tag of its cell.
    fn place(&self, key: u64) -> (&[AtomicU64], u64) {
        let bucket = usize::try_from(key % BUCKETS as u64).unwrap_or_default() * CELLS;
        (&self.cells[bucket..bucket + CELLS], key >> 32)
    }

    fn get(&self, key: u64) -> u64 {
        let (bucket, tag) = self.place(key);
        let cells = bucket.iter().map(|cell| cell.load(Relaxed));
        let mut same = cells.filter(|cell| cell >> 32 == tag);
        same.next().map_or(0, |cell| cell & MOST)
    }

    /// Adds `n` to the count of `key`. Processes that add at the same time may lose a count: a share is no exact limit.
    fn add(&self, key: u64, n: u64) {
        let (bucket, tag) = self.place(key);
        let cell = bucket.iter().find(|cell| cell.load(Relaxed) >> 32 == tag);
        let smallest = || bucket.iter().min_by_key(|cell| cell.load(Relaxed) & MOST);
        let Some(cell) = cell.or_else(smallest) else {
            return;
        };
        let before = cell.load(Relaxed);
        let count = if before >> 32 == tag {
            before & MOST
        } else {
            0
        };
        cell.store(tag << 32 | count.saturating_add(n).min(MOST), Relaxed);
    }
}

/// The largest count of a cell.
const MOST: u64 = u32::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            quota_messages: 100,
            quota_bytes: 1 << 20,
            open_names: 3,
            ..Limits::default()
        }
    }

    /// Returns budgets that share counters with others, which are never freed.
    fn budgets(rank: Rank, source: u64) -> Budgets {
        let word = || -> &'static AtomicU64 { Box::leak(Box::default()) };
        let usage = OpenUsage {
            mailboxes: word(),
            bytes: word(),
            names: word(),
            leases: word(),
            refused: word(),
        };
        let mut budgets = Budgets::default();
        budgets.share(usage).expect("mapped");
        budgets.serve(Client { rank, source });
        budgets
    }

    #[test]
    fn open_clients_share_a_budget_and_others_have_none() {
        let budgets = budgets(Rank::Open, 1);
        let limits = limits();
        let add = |budgets: &Budgets, n| budgets.add(Budget::Names, n, &limits);
        add(&budgets, 2).expect("room");
        let error = add(&budgets, 2).expect_err("too many");
        assert!(matches!(error, StoreError::Budget("open_names")), "{error}");
        add(&budgets, 1).expect("the refused ones are not counted");
        assert!(budgets.is_used_up(Budget::Names, &limits));
        budgets.give_back(Budget::Names, 1);
        assert!(!budgets.is_used_up(Budget::Names, &limits));
        add(&budgets, 1).expect("room again");
        budgets.serve(Client {
            rank: Rank::Verified,
            source: 1,
        });
        add(&budgets, 1_000).expect("no limit");
        budgets.give_back(Budget::Names, 1_000);
        let usage = budgets.usage().expect("shared");
        assert_eq!(usage.names.load(Relaxed), 3);
        assert_eq!(usage.refused.load(Relaxed), 1);
    }

    /// Fills a mailbox of 100 messages from one source after the other, and returns how many each could add.
    fn fill(budgets: &Budgets, rank: Rank, sources: u64) -> Vec<u64> {
        let (limits, header) = (limits(), Header::new(7));
        let bob: Name = "bob".parse().expect("a name");
        let (mut there, mut counts) = (0, Vec::new());
        for source in 0..sources {
            budgets.serve(Client { rank, source });
            let before = there;
            while there < rank.share_of(100) {
                let (after, more) = (Load::new(&limits, there + 1, 0), Load::new(&limits, 1, 0));
                if budgets.within_share(&bob, &header, after).is_err() {
                    break;
                }
                budgets.count_share(&bob, &header, after, more);
                there += 1;
            }
            counts.push(there - before);
        }
        counts
    }

    #[test]
    fn one_source_leaves_room_for_the_others() {
        let all = budgets(Rank::Open, 0);
        // The first 25 are not counted.
        assert_eq!(fill(&all, Rank::Open, 4), [63, 19, 8, 0]);
        let all = budgets(Rank::Verified, 0);
        assert_eq!(fill(&all, Rank::Verified, 5), [63, 19, 9, 4, 0]);
        assert_eq!(fill(&all, Rank::Root, 1), [100]);
    }

    #[test]
    fn an_acknowledgement_begins_a_new_count() {
        let budgets = budgets(Rank::Open, 1);
        let limits = limits();
        let bob: Name = "bob".parse().expect("a name");
        let mut header = Header::new(7);
        let (after, more) = (Load::new(&limits, 60, 0), Load::new(&limits, 41, 0));
        budgets.count_share(&bob, &header, after, more);
        assert!(budgets.within_share(&bob, &header, after).is_err());
        header.acked_seq = 1;
        assert!(budgets.within_share(&bob, &header, after).is_ok());
    }

    #[test]
    fn a_bucket_keeps_its_largest_counts() {
        let shares = Shares::new().expect("mapped");
        let key = |tag: u64| tag << 32 | 5;
        shares.add(key(1), 1_000);
        for tag in 2..1_000 {
            shares.add(key(tag), tag % 50 + 1);
        }
        assert_eq!(shares.get(key(1)), 1_000);
        shares.add(key(1), u64::MAX);
        assert_eq!(shares.get(key(1)), MOST);
        assert_eq!(shares.get(key(0)), 0);
    }
}
