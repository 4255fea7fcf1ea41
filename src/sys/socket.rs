//! Sockets, TCP and Unix: listening, accepting, and finding out what has become of what was written.

use std::io::{self, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, UnixAddr,
    sockopt,
};

use super::peer::Peer;

/// How many connections the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 4096;
/// For how many seconds the kernel holds back a connection whose client has not said anything.
const DEFER_SECONDS: libc::c_int = 5;

/// Something that is listened on.
#[derive(Debug)]
pub(crate) enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A socket in the file system.
    Unix(UnixListener),
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A connection, of either kind.
#[derive(Debug)]
pub(crate) enum Stream {
    /// From a network, or from this machine.
    Tcp(TcpStream),
    /// From this machine.
    Unix(UnixStream),
}

impl Stream {
    /// Ends our side.
    ///
    /// # Errors
    /// Those of `shutdown(2)`.
    pub(crate) fn end_writing(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Writes what the end of our side follows at once, and leaves with it, in one packet; how much was taken.
    ///
    /// # Errors
    /// Those of `send(2)`.
    pub(crate) fn write_last(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = MsgFlags::from_bits_retain(libc::MSG_MORE) | MsgFlags::MSG_NOSIGNAL;
        Ok(nix::sys::socket::send(
            self.as_fd().as_raw_fd(),
            bytes,
            flags,
        )?)
    }

    /// Appends what has come to `buffer`, at most `room` bytes; how many that were. Memory that nothing is read to is
    /// not touched.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    pub(crate) fn read_onto(&self, buffer: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        buffer.reserve(room);
        let spare = buffer.spare_capacity_mut();
        let room = room.min(spare.len());
        // SAFETY: the pointer is to `room` bytes that are ours to write.
        let n = unsafe { libc::recv(self.as_fd().as_raw_fd(), spare.as_mut_ptr().cast(), room, 0) };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: so many of them were written.
        unsafe { buffer.set_len(buffer.len() + n) };
        Ok(n)
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buffer),
            Stream::Unix(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(bytes),
            Stream::Unix(stream) => (&*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Binds a socket to `path`, which every user of this machine may connect to once it listens. What an earlier process
/// has left there is removed: the caller makes sure that no other uses it.
///
/// # Errors
/// Those of `unlink(2)`, `bind(2)` (a path of more than 107 bytes is `InvalidInput`) and `chmod(2)`.
pub(crate) fn bind_at(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "its path is too long");
    let address = UnixAddr::new(path).map_err(too_long)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    nix::sys::socket::bind(fd.as_raw_fd(), &address)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(UnixListener::from(fd))
}

/// The sockets that whoever started this process has handed over (sd_listen_fds(3)), ready to be accepted from.
///
/// # Errors
/// When the variables are not as they should be, or one is no listening stream socket.
pub(crate) fn inherited_listeners() -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for fd in sd_notify::listen_fds()? {
        // SAFETY: whoever started us has left this descriptor for us, says the protocol, and we take each once.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let listens = nix::sys::socket::getsockopt(&fd, sockopt::AcceptConn)?;
        let kind = nix::sys::socket::getsockopt(&fd, sockopt::SockType)?;
        if !listens || kind != SockType::Stream {
            let what =
                "a descriptor is no listening stream socket (Accept=yes is not for this daemon)";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let address: SockaddrStorage = nix::sys::socket::getsockname(fd.as_raw_fd())?;
        let listener = if address.as_unix_addr().is_some() {
            let listener = UnixListener::from(fd);
            listener.set_nonblocking(true)?;
            Listener::Unix(listener)
        } else {
            let listener = TcpListener::from(fd);
            listener.set_nonblocking(true)?;
            set_tcp_option(listener.as_fd(), libc::TCP_DEFER_ACCEPT, DEFER_SECONDS)?;
            Listener::Tcp(listener)
        };
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Binds a socket to `address`. `[::]` takes IPv4 connections as well.
///
/// Clients that say nothing are held back by the kernel for some seconds (TCP_DEFER_ACCEPT, see
/// tcp(7)): most of them never cost a process.
///
/// # Errors
/// Those of `socket(2)` and `bind(2)`.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = nix::sys::socket::socket(family, SockType::Stream, flags, SockProtocol::Tcp)?;
    nix::sys::socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if let SocketAddr::V6(v6) = address {
        let only = *v6.ip() != Ipv6Addr::UNSPECIFIED;
        nix::sys::socket::setsockopt(&fd, sockopt::Ipv6V6Only, &only)?;
    }
    nix::sys::socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    set_tcp_option(fd.as_fd(), libc::TCP_DEFER_ACCEPT, DEFER_SECONDS)?;
    Ok(TcpListener::from(fd))
}

/// Listens on a bound socket, without blocking in [`accept`]. Before that, the kernel refuses connections to it.
///
/// # Errors
/// Those of `listen(2)`: `AddrInUse` when another socket that is bound to the same port listens already.
pub(crate) fn listen(listener: &Listener) -> io::Result<()> {
    Ok(nix::sys::socket::listen(
        &listener.as_fd(),
        Backlog::new(BACKLOG)?,
    )?)
}

/// The next waiting connection, non-blocking, and where it comes from. An IPv4 address that came in
/// on an IPv6 socket is given as what it is.
///
/// # Errors
/// Those of `accept(2)`; `WouldBlock` when none is waiting.
pub(crate) fn accept(listener: &Listener) -> io::Result<(Stream, Peer)> {
    match listener {
        Listener::Tcp(listener) => {
            let (fd, storage) = accept_from(listener.as_fd())?;
            Ok((Stream::Tcp(fd.into()), Peer::Inet(address_of(&storage))))
        }
        Listener::Unix(listener) => {
            let (fd, _) = accept_from(listener.as_fd())?;
            let who = nix::sys::socket::getsockopt(&fd, sockopt::PeerCredentials)?;
            let (uid, pid) = (who.uid(), who.pid());
            Ok((Stream::Unix(fd.into()), Peer::Local { uid, pid }))
        }
    }
}

fn accept_from(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, libc::sockaddr_storage)> {
    // SAFETY: a socket address of any family is valid when all its bytes are zero.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut len = size_of_u32::<libc::sockaddr_storage>();
    // SAFETY: the pointers are to live values, and `len` is the size of the first.
    let fd: RawFd = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            (&raw mut storage).cast(),
            &raw mut len,
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows of it.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, storage))
}

fn address_of(storage: &libc::sockaddr_storage) -> SocketAddr {
    let (ip, port) = match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is what the kernel wrote.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            (IpAddr::V4(ip), v4.sin_port)
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            (IpAddr::V6(ip).to_canonical(), v6.sin6_port)
        }
        _ => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    };
    SocketAddr::new(ip, u16::from_be(port))
}

/// What is known of the bytes, and of the end, that were written to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The other kernel has acknowledged all of it, our end of the stream included, and has ended its
    /// own side: nothing more will happen. On this machine, the other process has read all of it.
    Acknowledged,
    /// Not yet known.
    Pending,
    /// The connection was reset, or timed out.
    Lost,
}

/// What has become of everything written to `stream`, whose writing side was shut down.
///
/// # Errors
/// When the kernel cannot tell.
pub(crate) fn fate(stream: &Stream) -> io::Result<Fate> {
    let error = match stream {
        Stream::Tcp(stream) => stream.take_error(),
        Stream::Unix(stream) => stream.take_error(),
    };
    if error?.is_some() {
        return Ok(Fate::Lost);
    }
    let mut unacknowledged: libc::c_int = 0;
    // SAFETY: this request writes one int to the pointer (tcp(7), SIOCOUTQ, which is TIOCOUTQ).
    let done = unsafe {
        libc::ioctl(
            stream.as_fd().as_raw_fd(),
            libc::TIOCOUTQ,
            &raw mut unacknowledged,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let is_over = match stream {
        Stream::Tcp(stream) => state(stream)? == TCP_CLOSE,
        // What is not in the socket any more was read.
        Stream::Unix(_) => true,
    };
    if unacknowledged == 0 && is_over {
        return Ok(Fate::Acknowledged);
    }
    Ok(Fate::Pending)
}

/// The kernel's number for a connection that has ended (`TCP_CLOSE` in its `tcp_states.h`).
const TCP_CLOSE: u8 = 7;

fn state(stream: &TcpStream) -> io::Result<u8> {
    // SAFETY: all fields are integers, for which zero is valid.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut len = size_of_u32::<libc::tcp_info>();
    // SAFETY: the pointers are to live values, and `len` is the size of the first.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(info.tcpi_state)
}

/// Sends each write at once, and not together with the next (TCP_NODELAY): for conversations.
///
/// # Errors
/// Those of `setsockopt(2)`.
pub(crate) fn send_at_once(stream: &Stream) -> io::Result<()> {
    match stream {
        Stream::Tcp(stream) => stream.set_nodelay(true),
        Stream::Unix(_) => Ok(()),
    }
}

/// Gives up `stream` when the other kernel has not acknowledged something for as long as `limit` (TCP_USER_TIMEOUT
/// of tcp(7)): whoever vanished without a word is not waited for.
///
/// # Errors
/// Those of `setsockopt(2)`.
pub(crate) fn give_up_after(stream: &Stream, limit: Duration) -> io::Result<()> {
    let Stream::Tcp(stream) = stream else {
        // The end of a process of this machine is seen at once.
        return Ok(());
    };
    let millis = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    set_tcp_option(stream.as_fd(), libc::TCP_USER_TIMEOUT, millis)
}

fn set_tcp_option(fd: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer is to a live int, and the length is its size.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of_u32::<libc::c_int>(),
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "a few hundred bytes")]
const fn size_of_u32<T>() -> libc::socklen_t {
    mem::size_of::<T>() as libc::socklen_t
}
