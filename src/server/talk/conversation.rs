//! One client, as every dialect sees it: the connection, who the client is, and what is asked of the store for it.

use std::io;
use std::net::SocketAddr;

use crate::message::{Draft, Fields, MessageId, Trust};
use crate::name::Name;
use crate::server::config::Config;
use crate::server::connection::{Connection, Pace};
use crate::server::principal::{Act, Principal, Refused};
use crate::server::scoreboard::{ChildStatus, Counter};
use crate::store::{Delivery, Lease, Receipt, Store};
use crate::sys::clock::{Deadline, unix_millis};

/// How many bytes of an answer are gathered before they are sent.
pub(super) const GATHER: usize = 32 * 1024;

/// All that a dialect needs to serve a client.
pub(super) struct Conversation<'a> {
    pub(super) connection: Connection<'a>,
    /// What the client has said so far.
    pub(super) received: Vec<u8>,
    /// By when it must have said its request.
    pub(super) deadline: Deadline,
    pub(super) principal: Principal,
    /// The address that it comes from; loopback for a process of this machine.
    pub(super) peer: SocketAddr,
    /// Where it comes from, for people.
    pub(super) origin: String,
    pub(super) status: ChildStatus,
    pub(super) config: &'a Config,
    pub(super) store: &'a dyn Store,
}

impl Conversation<'_> {
    /// Sends a reply that is not long, and closes. With `more_comes`, the client is known to be still talking.
    pub(super) fn reply(&mut self, reply: &[u8], more_comes: bool) -> io::Result<()> {
        let mut pace = Pace::new(self.config.request_timeout);
        self.connection.send_last(reply, &mut pace)?;
        self.connection.finish(more_comes);
        Ok(())
    }

    /// Shows what is done on the scoreboard and in `ps`.
    pub(super) fn doing(&self, what: &str) {
        #[cfg(debug_assertions)]
        break_as_asked(what);
        self.status.doing(&self.origin, what);
    }

    /// Whether the client may do this.
    ///
    /// # Errors
    /// When it may not, and those of the store.
    pub(super) fn may(&self, act: Act<'_>) -> Result<(), Refused> {
        self.principal.may(act, self.store)
    }

    /// Takes the lease of `name`, as [`Presence::take`](crate::store::Presence::take), and keeps it only if the name
    /// was not claimed meanwhile: a claim ends the leases that were there before it, and this one sees the claim
    /// if it came later.
    ///
    /// # Errors
    /// When the client may not act as `name` any more, and those of the store.
    pub(super) fn take_lease(
        &self,
        name: &Name,
        lease: &Lease,
        may_replace: &dyn Fn(&Lease) -> bool,
    ) -> Result<bool, Refused> {
        let may = || self.may(Act::StillAs(name));
        let taken = self
            .store
            .take(name, lease, &|other| may_replace(other) && may().is_ok())?;
        let may = may();
        if taken && may.is_err() {
            self.store
                .give_back(name, &|other| other.token == lease.token)?;
        }
        may.map(|()| taken)
    }

    /// A name with the mark of one that is only claimed.
    pub(super) fn marked(&self, name: &Name) -> String {
        match self.principal.trust() {
            Trust::Open => format!("~{name}"),
            Trust::Local => name.to_string(),
        }
    }

    /// Stores a message of a dialect whose clients do not name their messages.
    ///
    /// # Errors
    /// Then it is not accepted.
    pub(super) fn deliver(&self, to: &Name, from: &Name, body: &[u8]) -> Result<Receipt, Refused> {
        let draft = Draft {
            id: new_id()?,
            from,
            trust: self.principal.trust(),
            at: unix_millis(),
            expires: None,
            // The id is new: the message cannot have been sent before.
            once: false,
            body,
            fields: Fields::default(),
        };
        let receipt = self.store.deliver_one(Delivery { to, draft })?;
        self.count_stored(body.len());
        Ok(receipt)
    }

    /// Counts a message of `len` bytes that was stored.
    pub(super) fn count_stored(&self, len: usize) {
        self.status.count(Counter::Stored, 1);
        self.status.count(Counter::StoredBytes, len as u64);
    }
}

/// In a test build, breaks the child that does what the environment says: it panics, or takes all the memory that
/// it can get, up to a bound that is kind to the machine of the test.
#[cfg(debug_assertions)]
fn break_as_asked(what: &str) {
    let asked = |name| std::env::var_os(name).is_some_and(|asked| asked == what);
    assert!(!asked("DROPLINED_PANIC"), "as asked");
    if asked("DROPLINED_HOARD") {
        let hoard: Vec<_> = (0..512).map(|_| vec![1_u8; 1 << 20]).collect();
        std::hint::black_box(hoard);
    }
}

/// A new id for a message.
///
/// # Errors
/// When the kernel has no random number.
pub(super) fn new_id() -> Result<MessageId, Refused> {
    MessageId::random().map_err(Refused::Random)
}
