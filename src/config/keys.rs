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
        /// the daemon logs this. Beyond this number, `socket_children` and `root_children` are for the Unix socket only.
        ///
        /// Each connection has its own process.
        max_children: Count<1, 30_000> = 512, Reload;

        /// Number of connections beyond `max_children` for clients of Unix sockets, so that users of this machine are
        /// served while TCP clients occupy all other connections. One user gets at most a quarter of them. When all are
        /// taken, the user who has most of them loses one to a user who has fewer.
        socket_children: Count<1, 1_000> = 32, Reload;

        /// Number of connections beyond that for root, over the Unix socket. What other users do does not keep root
        /// out.
        root_children: Count<1, 100> = 8, Reload;

        /// Maximum number of connections from one source. A source is an IPv4 address, an IPv6 network of 64 bits, a
        /// user of this machine, or a socket with a name. When the limit is reached, a new connection takes the place
        /// of a connection of its source on which the client has sent nothing yet, the one that has waited longest. If
        /// there is none, the new one is refused.
        ///
        /// A TCP client of this machine counts for its user, as the kernel reports it, whatever its address is. The
        /// user IDs that a login has in `subuid(5)` count for the login. If the kernel does not tell the user, all
        /// loopback addresses together are one source. For TCP clients, the connections of their user over the Unix
        /// socket count as well; for clients of the Unix socket, those over TCP do not. The source decides about limits
        /// only, and never who a client is.
        children_per_source: Count<1, 30_000> = 128, Reload;

        /// How many connections of one source may lose their place to a new one of it in a second. Also how many of a
        /// user may lose it to other users of the Unix socket.
        evictions_per_second: Amount<0, 1_000> = 8, Reload;

        /// Number of connections without a complete request at which the daemon begins to refuse new ones at random. It
        /// refuses 30 percent at first, rising to all at `max_children`. Connections over the Unix socket are exempt,
        /// and so are sources that have fewer such connections than the mean of all sources.
        early_drop: Count<1, 30_000> = 256, Reload;

        /// Maximum number of sessions of TCP clients that only wait, in percent of `max_children`. These are sessions
        /// that watch their mailbox, or whose last request is done. If there are more, one of the source that has most
        /// of them is closed: the one that has waited longest.
        waiting_percent: Count<1, 100> = 25, Reload;

        /// The same for one source, in percent of `children_per_source`.
        waiting_source_percent: Count<1, 100> = 50, Reload;

        /// Maximum number of connections of clients that are in none of `open_networks` and may make no request, in
        /// percent of `max_children`.
        stranger_percent: Count<1, 100> = 12, Reload;

        /// Networks whose clients are never penalized. Another source that speaks no dialect is refused for 1 second,
        /// one that keeps requests half said while half of the connections are in use for 5 seconds, and one that
        /// crashes a child for 30 seconds. Each further offence doubles that time, up to 600 seconds. Every 10 seconds,
        /// one offence is forgotten. Clients that are slow, or whose connection breaks, commit no offence. Clients of
        /// Unix sockets are never penalized.
        penalty_exempt: Vec<Network> = LOOPBACK, Reload;

        /// Maximum address space of a child process, in bytes.
        child_memory: Amount<{ 64 << 20 }, NO_MAX> = 256 << 20, Reload;
    }

    /// All times are in whole seconds. `first_byte_timeout`, `request_timeout` and `idle_timeout` hold while there is room.
    /// While at least half of `max_children`, or of the `children_per_source` of a source, are in use, a third of them
    /// holds, also for connections that wait already. `crowd_timeout` and `full_timeout` are shorter still.
    "Times" {
        /// How long a client may take to send its first byte, and to begin the next step of a conversation in the framed
        /// dialect. The kernel holds back a silent TCP connection for some seconds before this time begins; such a
        /// connection uses no process.
        ///
        /// A client of the framed dialect that was asked for the text of a message may take as long as a user of this
        /// dialect stays online (`framed_lease`).
        first_byte_timeout: Seconds<1, 3_600> = 300, Reload;

        /// Longest wait for a TCP client while `early_drop` clients have not completed a request.
        crowd_timeout: Seconds<1, 3_600> = 10, Reload;

        /// Longest wait for a TCP client while all `max_children` are in use, and for a client of a Unix socket while
        /// `socket_children` are in use as well.
        full_timeout: Seconds<1, 3_600> = 1, Reload;

        /// Longest wait for a client that is in none of `open_networks`.
        stranger_timeout: Seconds<1, 3_600> = 10, Reload;

        /// How long a client may take to send a request once it has begun it, and how long a reader may accept no data. A
        /// complete fetch may take this time, and one second more for each 64 KiB that the reader has accepted.
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
