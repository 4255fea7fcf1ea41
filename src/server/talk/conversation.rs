//! A client as every dialect sees it: its connection, who it is, and its requests to the store.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::message::{Draft, Fields, MessageId, Trust};
use crate::name::Name;
use crate::server::config::Config;
use crate::server::connection::{Connection, Pace};
use crate::server::phase::Phase;
use crate::server::principal::{Act, Owners, Principal, Refused};
use crate::server::scoreboard::{ChildStatus, Counter};
use crate::store::{Delivery, Lease, Receipt, Store};
use crate::sys::clock::{Deadline, unix_millis};

/// The number of bytes of an answer that are collected before they are sent.
pub(super) const GATHER: usize = 32 * 1024;

/// Everything that a dialect needs to serve a client.
pub(super) struct Conversation<'a> {
    pub(super) connection: Connection<'a>,
    /// The received bytes that are not processed yet.
    pub(super) received: Vec<u8>,
    /// When the client must have sent the request that it has begun.
    pub(super) deadline: Deadline,
    pub(super) principal: Principal,
    /// The client's address; loopback for a client of the Unix socket.
    pub(super) peer: SocketAddr,
    /// The client's address or uid, as text for people.
    pub(super) origin: String,
    pub(super) status: ChildStatus,
    pub(super) config: &'a Config,
    pub(super) store: &'a dyn Store,
    /// What decides about names.
    pub(super) owners: Owners<'a>,
}

impl Conversation<'_> {
    /// Returns how long the client may take to begin a request.
    pub(super) fn first_byte_timeout(&self) -> Duration {
        self.within_its_rights(self.config.first_byte_timeout)
    }

    /// Starts the time for the request whose first bytes have arrived.
    pub(super) fn request_begins(&mut self) {
        let limit = self.within_its_rights(self.config.request_timeout);
        self.deadline = Deadline::after(limit);
        self.connection.expect(Phase::Request);
        self.status.works();
    }

    /// Returns `limit`, but less for a client that may make no request.
    fn within_its_rights(&self, limit: Duration) -> Duration {
        match self.principal {
            Principal::Stranger => limit.min(self.config.stranger_timeout),
            _ => limit,
        }
    }

    /// Sends a short reply and closes the connection. With `more_comes`, the client is known to be still sending.
    pub(super) fn reply(&mut self, reply: &[u8], more_comes: bool) -> io::Result<()> {
        let mut pace = Pace::new(self.config.request_timeout);
        self.connection.send_last(reply, &mut pace)?;
        self.connection.finish(more_comes);
        Ok(())
    }

    /// Shows the current activity, `what`, on the scoreboard, and in the process title at least `request`: the dialect and
    /// the request, without names.
    pub(super) fn doing(&self, request: &str, what: &str) {
        #[cfg(debug_assertions)]
        break_as_asked(what);
        self.status.doing(&self.origin, request, what);
    }

    /// Decides whether the client may do this.
    ///
    /// # Errors
    /// When it may not, and those of the store.
    pub(super) fn may(&self, act: Act<'_>) -> Result<(), Refused> {
        self.principal.may(act, &self.owners)
    }

    /// Takes the lease of `name` like [`Presence::take`](crate::store::Presence::take), and gives it back if the name
    /// was claimed before that. A claim ends the leases taken before it, and a lease taken after it sees it here.
    ///
    /// # Errors
    /// When the client may not act as `name` any more, and those of the store.
    pub(super) fn take_lease(
        &self,
        name: &Name,
        lease: &Lease,
        may_replace: &dyn Fn(&Lease) -> bool,
    ) -> Result<bool, Refused> {
        let taken = self.store.take(name, lease, &|other| {
            other.is_none_or(may_replace) && !self.is_barred(name)
        })?;
        let may = self.may(Act::StillAs(name));
        if taken && may.is_err() {
            self.store
                .give_back(name, &|other| other.token == lease.token)?;
        }
        may.map(|()| taken)
    }

    /// Registers `name` at the present time, unless it was claimed before that. Returns whether it is new.
    ///
    /// # Errors
    /// When the client may not act as `name` any more, and those of the store.
    pub(super) fn register(&self, name: &Name) -> Result<bool, Refused> {
        let may = || !self.is_barred(name);
        let is_new = self.store.register(name, unix_millis(), &may)?;
        self.may(Act::StillAs(name)).map(|()| is_new)
    }

    /// Returns whether the owner record of `name` keeps the client out.
    fn is_barred(&self, name: &Name) -> bool {
        self.principal.is_barred(name, &self.owners)
    }

    /// Returns the name, prefixed with `~` if the kernel has not verified it.
    pub(super) fn marked(&self, name: &Name) -> String {
        match self.principal.trust() {
            Trust::Open => format!("~{name}"),
            Trust::Local => name.to_string(),
        }
    }

    /// Stores a message of a dialect whose clients do not choose message ids.
    ///
    /// # Errors
    /// The message is then not accepted.
    pub(super) fn deliver(&self, to: &Name, from: &Name, body: &[u8]) -> Result<Receipt, Refused> {
        let draft = Draft {
            id: new_id()?,
            from,
            trust: self.principal.trust(),
            at: unix_millis(),
            expires: None,
            // The id is new, so the message cannot be a repetition.
            once: false,
            body,
            fields: Fields::default(),
        };
        let holder = self.owners.claim_recipient(to)?;
        let receipt = self.store.deliver_one(Delivery { to, draft })?;
        self.owners.claim_recipient_again(to, holder);
        self.count_stored(body.len());
        Ok(receipt)
    }

    pub(super) fn count_stored(&self, len: usize) {
        self.status.count(Counter::Stored, 1);
        self.status.count(Counter::StoredBytes, len as u64);
    }
}

/// For tests: if the environment names the activity `what`, panics or allocates up to 512 MiB.
#[cfg(debug_assertions)]
fn break_as_asked(what: &str) {
    let asked = |name| std::env::var_os(name).is_some_and(|asked| asked == what);
    assert!(!asked("DROPLINED_PANIC"), "as asked");
    if asked("DROPLINED_HOARD") {
        let hoard: Vec<_> = (0..512).map(|_| vec![1_u8; 1 << 20]).collect();
        std::hint::black_box(hoard);
    }
}

/// Returns a new message id.
///
/// # Errors
/// When the kernel provides no random number.
pub(super) fn new_id() -> Result<MessageId, Refused> {
    MessageId::random().map_err(Refused::Random)
}
