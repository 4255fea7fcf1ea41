//! Each dialect over a transport without a socket.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};

use clap::Parser as _;
use tempfile::TempDir;

use super::*;
use crate::message::Speaks;
use crate::name::Name;
use crate::server::access::Access;
use crate::server::cli::Cli;
use crate::server::config::Config;
use crate::server::scoreboard::Scoreboard;
use crate::server::sources::Source;
use crate::server::transport::{Fate, Transport};
use crate::store::{self, Engine, Limits, StoreConfig};
use crate::sys::dir::Dir;
use crate::sys::login::LoginDirectory;
use crate::sys::peer::Peer;
use crate::sys::shared;
use crate::sys::signal::Inbox;

/// A transport without a socket. All of the client's input is available at once, and the output is kept.
#[derive(Debug)]
struct Memory {
    /// Always ready.
    ready: File,
    said: VecDeque<u8>,
    /// The output to the client.
    told: Vec<u8>,
    has_ended: bool,
    /// The result of [`fate`](Transport::fate).
    fate: Fate,
}

impl Memory {
    /// Returns a client that sends `said`, ends its side, and receives everything.
    fn saying(said: &[u8]) -> Self {
        Self {
            ready: File::open("/dev/null").expect("opened"),
            said: said.iter().copied().collect(),
            told: Vec::new(),
            has_ended: false,
            fate: Fate::Acknowledged,
        }
    }
}

impl Transport for Memory {
    fn fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    fn read_onto(&mut self, buffer: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        let n = room.min(self.said.len());
        buffer.extend(self.said.drain(..n));
        Ok(n)
    }

    fn write(&mut self, bytes: &[u8], _: bool) -> io::Result<usize> {
        // Small pieces, as on a slow network.
        let n = bytes.len().min(7);
        self.told.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.has_ended = true;
        Ok(())
    }

    fn fate(&mut self) -> io::Result<Fate> {
        Ok(self.fate)
    }

    fn silence_ends_request(&self) -> bool {
        true
    }
}

struct Server {
    dir: TempDir,
    config: Config,
    store: Box<dyn Engine>,
}

impl Server {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("droplined.toml");
        // The names in these tests may be logins of this machine.
        std::fs::write(&path, "reserve_logins = false\n").expect("written");
        let paths = ["config", "spool", "run-dir"].map(|key| match key {
            "config" => format!("--config={}", path.display()),
            key => format!("--{key}={}/{key}", dir.path().display()),
        });
        let flags = std::iter::once("droplined".to_owned()).chain(paths);
        let cli = Cli::try_parse_from(flags).expect("flags");
        let config = Config::load(&cli, None, std::time::Duration::ZERO).expect("valid");
        let run = dir.path().join("run");
        std::fs::create_dir(&run).expect("made");
        let store = store::open(&StoreConfig {
            spool: &config.spool,
            run_dir: Some(&run),
            limits: Limits::default(),
            reserves: &|_| true,
        });
        let store = store.expect("opened");
        Self { dir, config, store }
    }

    /// Serves a TCP client of this machine.
    fn serve(&self, client: &mut Memory) -> Ended {
        self.serve_peer(
            client,
            Peer::Inet("127.0.0.1:9".parse().expect("an address")),
        )
    }

    fn serve_peer(&self, client: &mut Memory, peer: Peer) -> Ended {
        let run = Dir::open(self.dir.path()).expect("opened");
        let board = Scoreboard::create(&run).expect("made");
        let status = board.child(0, self.config.titles);
        let connection = Connection::new(client, Inbox::of(&[]), status);
        let owners = Owners {
            store: &*self.store,
            logins: &LoginDirectory::open().expect("opened"),
            config: &self.config,
            access: Access::new(shared::words(Access::SHARED_WORDS).expect("shared")),
        };
        let source = Source::Machine;
        let client = Newcomer { peer, source };
        serve(connection, client, "test".into(), status, owners)
    }

    /// Returns the output to a client that sends `said`.
    fn told(&self, said: &[u8]) -> String {
        let mut client = Memory::saying(said);
        assert_eq!(self.serve(&mut client), Ended::Well);
        assert!(client.has_ended, "{client:?}");
        String::from_utf8_lossy(&client.told).into_owned()
    }
}

#[test]
fn the_line_dialect_runs_over_any_transport() {
    let server = Server::new();
    assert_eq!(
        server.told(b"store;bob;al;hello\n"),
        "Message accepted and stored:\n"
    );
    let waiting = "Retrieving messages...\nbob;al;hello\nNO MORE MESSAGES";
    let mut lost = Memory::saying(b"fetch;bob\n");
    lost.fate = Fate::Lost;
    assert_eq!(server.serve(&mut lost), Ended::Well);
    assert_eq!(lost.told, waiting.as_bytes());
    assert_eq!(server.told(b"fetch;bob\n"), waiting, "it was not delivered");
    assert_eq!(
        server.told(b"fetch;bob\n"),
        "Retrieving messages...\nNO MORE MESSAGES"
    );
    let mut garbage = Memory::saying(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(server.serve(&mut garbage), Ended::Garbage);
    assert_eq!(garbage.told, b"Message declined. Bad verb\n");
}

#[test]
fn the_session_dialect_runs_over_any_transport() {
    let server = Server::new();
    let told = server.told(b"HELLO dropline/1 name=al\nSEND bob 5\nhello\nQUIT\n");
    assert!(
        told.starts_with("OK dropline/1 name=al trust=open "),
        "{told}"
    );
    assert!(told.ends_with(" to=bob seq=1\nOK\n"), "{told}");
    let told = server.told(b"HELLO dropline/1 name=bob\nFETCH\nACK 1\nFETCH\n");
    assert!(
        told.contains(" len=5\nhello\nEND n=1 more=0 waiting=1\nOK\nEND n=0"),
        "{told}"
    );
}

#[test]
fn the_framed_dialect_runs_over_any_transport() {
    let server = Server::new();
    let said = b"\0\x0a\0\0!register\0\0\x04\0\0bob\0\0\x0f\0\x00127.0.0.1 8283\0";
    assert_eq!(server.told(said), "\0\x04\0\x00400\0\0\x04\0\x00400\0");
    let list = "Client Status List:\nbob (online)\n";
    assert_eq!(
        server.told(b"\0\x05\0\0!who\0"),
        format!("\0\x22\0\0{list}\0")
    );
}

/// Another client with the same IP address may be the same one, restarted. An owner is known in another way.
#[test]
fn the_owner_of_a_name_takes_it_over_from_a_client_at_another_address() {
    let server = Server::new();
    let uid = nix::unistd::geteuid().as_raw();
    let logins = LoginDirectory::open().expect("opened");
    let Some(owner) = logins.login_of(uid).expect("read") else {
        // Without a login, this process owns no name.
        return;
    };
    let owner: Name = owner.parse().expect("a name");
    let elsewhere = "10.0.0.1".parse().expect("an address");
    let span = std::time::Duration::from_secs(60);
    for name in [&owner, &"open".parse().expect("a name")] {
        let address = Some("10.0.0.1:9".parse().expect("an address"));
        let lease = lease::new(address, Speaks::Sealed, elsewhere, span).expect("a lease");
        assert!(server.store.take(name, &lease, &|_| true).expect("taken"));
    }
    let mut client = Memory::saying(b"HELLO dropline/1\nONLINE port=9\nQUIT\n");
    let peer = Peer::Local { uid, pid: 1 };
    assert_eq!(server.serve_peer(&mut client, peer), Ended::Well);
    let told = String::from_utf8_lossy(&client.told).into_owned();
    assert!(told.contains("\nOK lease=90 new=1\n"), "{told}");
    let lease = server.store.lease(&owner).expect("readable");
    assert_ne!(lease.expect("online").by, elsewhere);
    let told = server.told(b"HELLO dropline/1 name=open\nONLINE port=9\nQUIT\n");
    assert!(
        told.contains("\nERR busy open is online at another address"),
        "{told}"
    );
}
