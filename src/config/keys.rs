//! The keys of droplined.toml: the one place that has their defaults, their ranges and their manual.
//!
//! An entry is `key: Kind = default, When;`. The kind has the range. `Restart` or `Reload` says when the daemon takes
//! over a change. The comment is the manual of the key; the shipped file has its first paragraph, droplined.toml(5)
//! all of it. After a change here, `DROPLINE_WRITE_REFERENCE=1 cargo test --lib config::` writes both anew.

use super::table::keys;
use super::values::{
    AbsolutePath, Account, Addresses, Amount, Count, LogTo, Network, Number, Sandbox, Seconds,
};
use crate::message::LARGEST_MAX_BODY;

/// The end of a range that has none: the largest integer of TOML.
pub(super) const NO_MAX: u64 = i64::MAX as u64;

keys! {
    /// The daemon uses neither key where a service manager hands it sockets.
    "Listening" {
        /// TCP port. With 0 the kernel chooses a free port, and the log names it.
        port: Number<u16, 0, 65_535> = 8282, Restart;

        /// Addresses to listen on. `::` takes IPv4 connections as well.
        bind: Addresses = &["::"], Restart;
    }

    "Access" {
        /// Networks, or single addresses, whose clients need no proof of who they are: they can take any name that
        /// belongs to no login. The daemon refuses TCP clients from elsewhere. `0.0.0.0/0` is all of IPv4, `::/0` all
        /// of IPv6, and `[]` no network.
        ///
        /// The key does not affect clients of the socket in the run directory.
        open_networks: Vec<Network> = LOOPBACK, Reload;
    }

    "Process" {
        /// Account that a daemon started by root becomes once it listens. Empty text means the account `dropline` if
        /// there is one; without it, the daemon stays root and logs a warning.
        ///
        /// An account that is named here must exist.
        user: Account = "", Restart;

        /// What the daemon gives up for good once it listens: new privileges, files elsewhere by `landlock(7)`, and
        /// dangerous system calls by `seccomp(2)`. With `try` it gives up as much as the kernel supports and logs what is
        /// missing. With `require` it gives up all of it or does not start. With `off` it gives up nothing.
        sandbox: Sandbox = Sandbox::Try, Restart;

        /// Where the log goes. `auto` is standard error in the foreground and syslog with `-d`. The other values are
        /// `stderr` and `syslog`.
        ///
        /// With `-d`, standard error is `/dev/null`.
        log: LogTo = LogTo::Auto, Restart;

        /// Socket of syslogd.
        syslog_socket: AbsolutePath = "/dev/log", Restart;
    }

    /// These are the defaults of a daemon that root starts. Without these lines, the daemon of any other user, and so
    /// the service of systemd, has directories of its own; see FILES in `droplined(8)`.
    "Directories" {
        /// Directory of the messages. The daemon creates it, with access for its own user alone.
        spool: AbsolutePath = "/var/spool/dropline", Restart;

        /// Directory of the pid file, the socket and the list of who is online. Its content can vanish at a reboot.
        ///
        /// It must belong to the daemon's user or to root, and no other user may have write access.
        run_dir: AbsolutePath = "/run/dropline", Restart;
    }

    "Messages" {
        /// Longest message, in bytes.
        max_body: Count<1, { LARGEST_MAX_BODY as u64 }> = 65_536, Reload;

        /// How many messages can wait in one mailbox. A sender to a full mailbox gets an error.
        quota_messages: Amount<1, NO_MAX> = 2_000_000, Reload;

        /// How many bytes on the disk the messages that wait in one mailbox can take. A sender to a full mailbox gets an
        /// error.
        quota_bytes: Amount<4_096, NO_MAX> = 4 << 30, Reload;

        /// For how many days the daemon keeps messages that were delivered.
        history_days: Amount<0, 36_500> = 7, Reload;

        /// How many bytes of delivered messages the daemon keeps in one mailbox. It keeps what both `history_days` and
        /// this key allow.
        history_bytes: Amount<0, NO_MAX> = 16 << 20, Reload;

        /// How many bytes the daemon leaves free on the disk that holds the spool. With less, it tells senders that the
        /// disk is full, and still serves readers.
        min_free_bytes: Amount<0, NO_MAX> = 16 << 20, Reload;

        /// How many inodes the daemon leaves free on that disk.
        ///
        /// Both limits hold for the file system of `run_dir` as well, but never as more than a 16th of its size. With
        /// less free there, no user can go online; users who are online stay online.
        min_free_inodes: Amount<0, NO_MAX> = 1_000, Reload;
    }

    "Limits" {
        /// How many connections the daemon serves at once. Further ones wait in the kernel, and the log says so. A 16th
        /// of this number, and at least 8 connections, are served in addition over the Unix socket alone.
        ///
        /// Each connection has a process of its own. The additional ones keep the socket open to users of this machine
        /// while TCP clients take all others; no user but root gets more than a quarter of them. Each address is a
        /// source of its own, those of 127.0.0.0/8 as well: one user of this machine can take all of `max_children` over
        /// TCP, but not the socket.
        max_children: Count<1, 30_000> = 512, Reload;

        /// How many connections one source can have; the daemon refuses further ones. A source is an IPv4 address, an
        /// IPv6 network of 64 bits, or a user of this machine.
        children_per_source: Count<1, 30_000> = 128, Reload;

        /// From how many connections without a complete request on the daemon refuses new ones at random: 30 of 100,
        /// rising to all at `max_children`. It does not refuse connections over the socket.
        early_drop: Count<1, 30_000> = 256, Reload;

        /// Networks whose clients get no penalty. The daemon refuses other sources that time out, speak no dialect or
        /// crash a child, for 1 to 600 seconds; each further offence doubles that time. Users of this machine get no
        /// penalty over the socket.
        penalty_exempt: Vec<Network> = LOOPBACK, Reload;

        /// How much memory a child can map, in bytes.
        child_memory: Amount<{ 64 << 20 }, NO_MAX> = 256 << 20, Reload;
    }

    /// All times are whole seconds. While half of `max_children` are served, new connections get a third of
    /// `first_byte_timeout`, `request_timeout`, `idle_timeout` and `delivery_timeout`.
    "Times" {
        /// How long a client can wait before its first byte. The kernel holds a silent client back for some seconds
        /// before that time begins; such a client costs nothing.
        first_byte_timeout: Seconds<1, 3_600> = 10, Reload;

        /// How long a client can take for a whole request, and how long a reader can take none of its messages. A whole
        /// fetch can take this time, and a second more for each 64 KiB that the reader has taken.
        ///
        /// The time of `delivery_timeout` follows. A reader that is slower is logged as `too slow:`, and its messages
        /// stay in the mailbox.
        request_timeout: Seconds<1, 3_600> = 30, Reload;

        /// How long a session can be silent between two requests. A session that watches its mailbox has no such limit.
        idle_timeout: Seconds<1, 86_400> = 300, Reload;

        /// How long a user is online without a renewal. A client that dies is offline after that.
        lease: Seconds<5, 86_400> = 90, Reload;

        /// How long a user of the framed dialect, which has no renewal, is online without `!quit`.
        framed_lease: Seconds<60, { 30 * 86_400 }> = 12 * 3_600, Reload;

        /// How long a reader can take to close the connection after its messages were written. Messages of a reader
        /// that does not close it stay in the mailbox.
        delivery_timeout: Seconds<1, 3_600> = 10, Reload;

        /// How long running requests have to finish when the daemon is told to end.
        ///
        /// systemd gives the service 90 seconds by `TimeoutStopSec` in any case.
        drain_timeout: Seconds<0, 3_600> = 5, Reload;
    }
}

/// The networks of this machine alone.
const LOOPBACK: &[&str] = &["127.0.0.0/8", "::1/128"];
