//! The keys of droplined.toml: the only place for their defaults, ranges and manual.
//!
//! An entry is `key: Kind = default, When;`. The kind defines the range; `Restart` or `Reload`, when a change takes
//! effect. The comment is the manual of the key: all of it goes to droplined.toml(5), and its first paragraph to the
//! shipped file. After a change, run `DROPLINE_WRITE_REFERENCE=1 cargo test --lib config::` to regenerate both.

use super::sockets::Sockets;
use super::table::keys;
use super::values::{
    AbsolutePath, Account, Addresses, Amount, Count, LogTo, Names, Network, Number, Sandbox,
    Seconds, Titles,
};
use crate::message::LARGEST_MAX_BODY;

/// The end of an open range: the largest integer in TOML.
pub(super) const NO_MAX: u64 = i64::MAX as u64;

keys! {
    /// The daemon ignores both keys if a service manager passes it sockets.
    "Listening" {
        /// TCP port to listen on. With 0, the kernel chooses a free port and the daemon logs it.
        port: Number<u16, 0, 65_535> = 8282, Restart;

        /// Addresses to listen on. `::` accepts IPv4 connections as well.
        bind: Addresses = &["::"], Restart;
    }

    "Access" {
        /// Networks or single addresses whose clients may use any name without proof, except names that belong to a
        /// login. The daemon refuses TCP clients from other addresses. `0.0.0.0/0` is all of IPv4, `::/0` all of IPv6,
        /// and `[]` no network.
        ///
        /// This key does not affect clients of Unix sockets.
        open_networks: Vec<Network> = LOOPBACK, Reload;

        /// Whether the names of all logins of this machine are closed to TCP clients. With `false`, a name is closed
        /// from the first use by its login over the Unix socket.
        reserve_logins: bool = true, Reload;

        /// Names of logins that TCP clients may use nevertheless, for example those of programs that send over TCP. The
        /// use over the Unix socket does not close these names.
        ///
        /// What a login and TCP clients have done under such a name cannot be told apart. If it is removed from this list
        /// after messages of it were read, its login therefore begins with an empty mailbox, like the owner of any name
        /// that TCP clients have used; the operator finds the earlier messages in the directory `released` of the spool.
        open_logins: Names = &[], Reload;
    }

    "Process" {
        /// Account that the daemon switches to after it has bound its sockets, if root started it. If this is empty, the daemon uses
        /// the account `dropline`; if that does not exist, the daemon stays root and logs a warning.
        ///
        /// An account that is set here must exist.
        user: Account = "", Restart;

        /// How the daemon confines itself before it listens. The sandbox blocks new privileges, unrelated files with
        /// `landlock(7)`, and unneeded system calls with `seccomp(2)`, until the daemon ends. `try` applies what the
        /// kernel supports and logs what is missing. `require` applies all of it, or the daemon does not start: it needs
        /// Linux 6.12. `off` applies nothing.
        sandbox: Sandbox = Sandbox::Try, Restart;

        /// What `ps(1)` shows of a connection: `requests` for the dialect and the request, `names` for the address of the
        /// client and the name in the request as well. All users of the machine can see it.
        ///
        /// With `names`, they see who receives messages from whom. Root, and the members of the daemon's group, see the
        /// same with `droplinectl status`.
        titles: Titles = Titles::Requests, Reload;

        /// Destination of the log: `stderr`, `syslog` or `auto`. `auto` is standard error in the foreground, and syslog
        /// with `-d`.
        ///
        /// With `-d`, standard error is `/dev/null`.
        log: LogTo = LogTo::Auto, Restart;

        /// Socket of the syslog daemon.
        syslog_socket: AbsolutePath = "/dev/log", Restart;
    }

    /// The defaults shown here apply to a daemon that root starts. A daemon that another user starts has its own
    /// defaults; see FILES in `droplined(8)`. The systemd service is such a daemon: do not remove these keys from its
    /// file.
    "Directories" {
        /// Directory of the messages. The daemon creates it, with access for its own user only.
        spool: AbsolutePath = "/var/spool/dropline", Restart;

        /// Directory of the pid file, the socket and the list of online users. Its content may be lost at a reboot.
        ///
        /// It must belong to the daemon's user or to root, and no other user may have write access.
        run_dir: AbsolutePath = "/run/dropline", Restart;
    }

    "Messages" {
        /// Maximum length of a message, in bytes.
        max_body: Count<1, { LARGEST_MAX_BODY as u64 }> = 65_536, Reload;

        /// Maximum number of waiting messages in a mailbox. A sender to a full mailbox gets an error.
        ///
        /// Of this and of `quota_bytes`, TCP clients may fill 90 percent, clients with a verified name 95 percent, and
        /// root all. While a mailbox is more than a quarter full, one sender may not have more there than is then free:
        /// no sender alone can close the mailbox to the others. A login is a sender, and so is an address.
        quota_messages: Amount<1, NO_MAX> = 2_000_000, Reload;

        /// Maximum disk space of the waiting messages in a mailbox, in bytes. A sender to a full mailbox gets an error.
        quota_bytes: Amount<4_096, NO_MAX> = 4 << 30, Reload;

        /// How long the daemon keeps delivered messages, in days.
        history_days: Amount<0, 36_500> = 7, Reload;

        /// Maximum size of the delivered messages that the daemon keeps in a mailbox, in bytes. It removes messages
        /// that exceed this limit or are older than `history_days`.
        history_bytes: Amount<0, NO_MAX> = 16 << 20, Reload;

        /// Free space that must remain on the file system of the spool, in bytes. With less, the daemon refuses new
        /// messages because the disk is full, and still delivers stored messages.
        ///
        /// TCP clients must leave 10 percent of the file system more, clients with a verified name 5 percent, and root
        /// none; of a file system beyond 10 GiB, 10 GiB count.
        min_free_bytes: Amount<0, NO_MAX> = 16 << 20, Reload;

        /// Number of free inodes that must remain on that file system.
        ///
        /// Both limits also apply to the file system of `run_dir`, but there never exceed a 16th of its size. With
        /// less, no further user can go online; users who are online stay online.
        min_free_inodes: Amount<0, NO_MAX> = 1_000, Reload;
    }

    /// What TCP clients may use, all together, under names that belong to nobody. Beyond it they get an error; clients
    /// with a verified name are not affected. `droplinectl status` shows what is in use.
    "Budgets" {
        /// Maximum number of mailboxes of names without an owner.
        ///
        /// This and the other limits hold to within a few seconds: what was removed is noticed by a count, in up to
        /// five minutes.
        open_mailboxes: Amount<0, NO_MAX> = 100_000, Reload;

        /// Maximum size of these mailboxes and of all messages of TCP clients that wait in other mailboxes, in bytes.
        open_bytes: Amount<0, NO_MAX> = 1 << 30, Reload;

        /// Maximum number of registered names without an owner.
        open_names: Amount<0, NO_MAX> = 10_000, Reload;

        /// Maximum number of names without an owner that are online at once.
        open_leases: Amount<0, NO_MAX> = 1_000, Reload;
    }

    "Limits" {
        /// Maximum number of connections that the daemon serves at once. Further connections wait in the kernel, and
        /// the daemon logs this. A reserve of a 16th of this number, but at least 8 connections, is for the Unix socket
        /// only.
        ///
        /// Each connection has its own process. The reserve keeps the socket available to users of this machine while
        /// TCP clients occupy all other connections. A user other than root gets at most a quarter of the reserve. Each
        /// address is a source of its own, including those in 127.0.0.0/8. A local user can therefore occupy all of
        /// `max_children` over TCP, but not the socket.
        max_children: Count<1, 30_000> = 512, Reload;

        /// Maximum number of connections from one source. The daemon refuses further ones. A source is an IPv4 address,
        /// an IPv6 network of 64 bits, a local user of the Unix socket, or a socket with a name.
        children_per_source: Count<1, 30_000> = 128, Reload;

        /// Number of connections without a complete request at which the daemon begins to refuse new ones at random. It
        /// refuses 30 percent at first, rising to all at `max_children`. Connections over the Unix socket are exempt.
        early_drop: Count<1, 30_000> = 256, Reload;

        /// Networks whose clients are never penalized. Other sources that time out, speak no dialect or crash a child
        /// are refused for 1 to 600 seconds; each further offence doubles that time. Users of the Unix socket are never
        /// penalized.
        penalty_exempt: Vec<Network> = LOOPBACK, Reload;

        /// Maximum address space of a child process, in bytes.
        child_memory: Amount<{ 64 << 20 }, NO_MAX> = 256 << 20, Reload;
    }

    /// All times are in whole seconds. While at least half of `max_children` are in use, new connections get a third of
    /// `first_byte_timeout`, `request_timeout`, `idle_timeout` and `delivery_timeout`.
    "Times" {
        /// How long a client may take to send its first byte. The kernel holds back a silent TCP connection for some
        /// seconds before this time begins; such a connection uses no process.
        first_byte_timeout: Seconds<1, 3_600> = 10, Reload;

        /// How long a client may take to send a complete request, and how long a reader may accept no data. A complete
        /// fetch may take this time, and one second more for each 64 KiB that the reader has accepted.
        ///
        /// After that, `delivery_timeout` begins. A slower reader is logged as `too slow:`, and its messages stay in
        /// the mailbox.
        request_timeout: Seconds<1, 3_600> = 30, Reload;

        /// How long a session may be silent between two requests. A session that watches its mailbox has no such limit.
        idle_timeout: Seconds<1, 86_400> = 300, Reload;

        /// How long a user stays online without a renewal. A user whose client has died goes offline after this time.
        lease: Seconds<5, 86_400> = 90, Reload;

        /// How long a user of the framed dialect, which has no renewal, stays online without `!quit`.
        framed_lease: Seconds<60, { 30 * 86_400 }> = 12 * 3_600, Reload;

        /// How long a reader may take to close the connection after its messages were sent. If it takes longer, the
        /// messages stay in the mailbox.
        delivery_timeout: Seconds<1, 3_600> = 10, Reload;

        /// How long the daemon waits for running requests when it shuts down.
        ///
        /// Under systemd, `TimeoutStopSec` limits this to 90 seconds by default.
        drain_timeout: Seconds<0, 3_600> = 5, Reload;
    }

    /// Entries of this kind must be at the end of the file.
    "Sockets with a name" {
        /// A further Unix socket, on which every client has one name, whatever its user is: for a container. The keys of an
        /// entry are `path`, the path of the socket, and `name`. There may be 16 entries.
        ///
        /// The clients of the socket are verified by the operator's word: their messages are shown without `~`, they act
        /// under this name only, and the name is closed to TCP clients. If the name is a login of this machine, this
        /// login has the same mailbox. If the name has an owner that is not the present login of that name, the clients
        /// are refused, until the operator releases the name. If an entry is removed, its name stays closed if it was used.
        ///
        /// The daemon makes the socket with mode 0666, also if a service manager passes it other sockets, and removes it
        /// when it ends. The directory must exist, its owner must be root or the account of the daemon, the account must
        /// be able to write to it, and no other user may. Under systemd, it must be among the `ReadWritePaths` of the service.
        /// Every process that can reach the socket has the name:
        /// choose a directory that only the container can enter, and give the container this directory or this socket, and
        /// not the one in the run directory, on which root of the container would be root.
        ///
        /// In the container, `dropline(1)` needs the path and the name: the options `-d` and `-u`, or both in its
        /// configuration.
        socket: Sockets = &[], Restart;
    }
}

/// The loopback networks.
const LOOPBACK: &[&str] = &["127.0.0.0/8", "::1/128"];
