//! Load generators: clients that send the next request as soon as they have an answer.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, sockopt};

use crate::Result;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The body of a message.
pub(crate) const BODY: [u8; 100] = [b'x'; 100];

/// The request that stores one message, and its answer.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    /// Appends the request, for one of 100 recipients.
    pub(crate) request: fn(&mut Vec<u8>, usize),
    /// The beginning of the answer; empty if there is none.
    pub(crate) answer: &'static [u8],
    /// The number of lines in an answer on an open session.
    pub(crate) lines: usize,
}

/// A store in the line dialect.
pub(crate) const LINE: Ask = Ask {
    request: |to, which| {
        to.extend_from_slice(format!("store;bob{which:02};alice;").as_bytes());
        to.extend_from_slice(&BODY);
        to.push(b'\n');
    },
    answer: b"Message accepted and stored:\n",
    lines: 1,
};

/// A `SEND` in the session dialect.
pub(crate) const SEND: Ask = Ask {
    request: |to, which| {
        to.extend_from_slice(format!("SEND bob{which:02} 100\n").as_bytes());
        to.extend_from_slice(&BODY);
        to.push(b'\n');
    },
    answer: b"OK id=",
    lines: 1,
};

/// Begins a session.
pub(crate) const HELLO: &[u8] = b"HELLO dropline/1 name=alice\n";

/// The results of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Successful requests per second.
    pub(crate) rate: f64,
    pub(crate) count: usize,
    /// The 99th percentile of the response times, in milliseconds.
    pub(crate) slow: f64,
    pub(crate) failed: usize,
}

/// Connects to `port` of this machine. Each client has a source address of its own, so that clients do not collide on
/// ports that were just in use.
pub(crate) fn connect(port: u16, client: usize) -> io::Result<TcpStream> {
    let [_, _, high, low] = u32::try_from(client + 2).unwrap_or(2).to_be_bytes();
    let from = SockaddrIn::new(127, 0, high, low, 0);
    let to = SockaddrIn::from(SocketAddrV4::new([127, 0, 0, 1].into(), port));
    let socket = socket::socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    socket::setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    socket::bind(socket.as_raw_fd(), &from)?;
    socket::connect(socket.as_raw_fd(), &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Runs `clients` clients at once for `time`. Each repeats `work`, which returns how many requests it made.
fn run<S>(
    clients: usize,
    time: Duration,
    begin: impl Fn(usize) -> io::Result<S> + Sync,
    work: impl Fn(&mut S, usize, usize) -> io::Result<usize> + Sync,
) -> Result<Seen> {
    let ready = Barrier::new(clients);
    let (begin, work, ready) = (&begin, &work, &ready);
    let one = |client: usize| -> io::Result<(usize, usize, Vec<f64>, f64)> {
        let state = begin(client);
        ready.wait();
        let mut state = state?;
        let (mut count, mut failed, mut times) = (0, 0, Vec::new());
        let begun = Instant::now();
        let mut round = client;
        while begun.elapsed() < time {
            let asked = Instant::now();
            match work(&mut state, client, round) {
                Ok(n) => count += n,
                Err(_) if failed < 1_000 => failed += 1,
                Err(e) => return Err(e),
            }
            times.push(asked.elapsed().as_secs_f64() * 1_000.0);
            round += 1;
        }
        Ok((count, failed, times, begun.elapsed().as_secs_f64()))
    };
    let seen: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..clients)
            .map(|client| scope.spawn(move || one(client)))
            .collect();
        running
            .into_iter()
            .map(|client| client.join().map_err(|_| "a client panicked"))
            .collect::<std::result::Result<_, _>>()
    })?;
    let mut all = Seen::default();
    let mut times = Vec::new();
    for client in seen {
        let (count, failed, of_it, seconds) = client?;
        all.count += count;
        all.failed += failed;
        all.rate += count as f64 / seconds;
        times.extend(of_it);
    }
    times.sort_by(f64::total_cmp);
    all.slow = times
        .get(times.len() * 99 / 100)
        .copied()
        .unwrap_or_default();
    Ok(all)
}

/// Sends each message over a new connection.
pub(crate) fn one_shot(port: u16, clients: usize, time: Duration, ask: Ask) -> Result<Seen> {
    run(
        clients,
        time,
        |_| Ok(Vec::new()),
        |answer: &mut Vec<u8>, client, round| {
            let mut stream = connect(port, client)?;
            let mut request = Vec::with_capacity(256);
            (ask.request)(&mut request, round % 100);
            stream.write_all(&request)?;
            if ask.answer.is_empty() {
                stream.shutdown(Shutdown::Write)?;
            }
            answer.clear();
            stream.read_to_end(answer)?;
            if answer.starts_with(ask.answer) {
                Ok(1)
            } else {
                Err(io::ErrorKind::InvalidData.into())
            }
        },
    )
}

/// An open session with its read buffer.
struct Session {
    stream: TcpStream,
    room: Box<[u8; 64 * 1024]>,
}

impl Session {
    fn open(port: u16, client: usize, hello: &[u8]) -> io::Result<Self> {
        let stream = connect(port, client)?;
        stream.set_nodelay(true)?;
        let mut session = Self {
            stream,
            room: Box::new([0; 64 * 1024]),
        };
        if !hello.is_empty() {
            session.stream.write_all(hello)?;
            session.lines(1, b"OK")?;
        }
        Ok(session)
    }

    /// Reads at least `lines` lines and returns how many. The first must begin with `answer`.
    fn lines(&mut self, lines: usize, answer: &[u8]) -> io::Result<usize> {
        let mut seen = 0;
        while seen < lines {
            let n = self.stream.read(&mut self.room[..])?;
            if n == 0 || seen == 0 && !self.room[..n].starts_with(&answer[..answer.len().min(n)]) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            seen += memchr::memchr_iter(b'\n', &self.room[..n]).count();
        }
        Ok(seen)
    }
}

/// Uses open sessions, each with one outstanding request.
pub(crate) fn sessions(
    port: u16,
    clients: usize,
    time: Duration,
    hello: &[u8],
    ask: Ask,
) -> Result<Seen> {
    run(
        clients,
        time,
        |client| Session::open(port, client, hello),
        |session, _, round| {
            let mut request = Vec::with_capacity(256);
            (ask.request)(&mut request, round % 100);
            session.stream.write_all(&request)?;
            session.lines(ask.lines, ask.answer)?;
            Ok(1)
        },
    )
}

/// Uses open sessions, each with up to `depth` outstanding requests for one mailbox. When answers arrive, a session
/// sends as many further requests with one write.
pub(crate) fn pipelined(
    port: u16,
    clients: usize,
    depth: usize,
    time: Duration,
    hello: &[u8],
    ask: Ask,
) -> Result<Seen> {
    struct Pipe {
        session: Session,
        on_their_way: usize,
        /// Lines of an answer that has not arrived completely.
        lines: usize,
    }
    let begin = |client| {
        Ok(Pipe {
            session: Session::open(port, client, hello)?,
            on_their_way: 0,
            lines: 0,
        })
    };
    run(clients, time, begin, |pipe, client, _| {
        let mut requests = Vec::with_capacity(256 * depth);
        for _ in pipe.on_their_way..depth {
            (ask.request)(&mut requests, client % 100);
        }
        pipe.session.stream.write_all(&requests)?;
        // A read may begin inside an answer, so the content is checked only where one request is outstanding.
        let lines = pipe.lines + pipe.session.lines(1, b"")?;
        let answers = lines / ask.lines;
        pipe.lines = lines % ask.lines;
        pipe.on_their_way = depth - answers;
        Ok(answers)
    })
}

/// Makes `count` requests on one connection without waiting for their answers, which have `lines` lines each. Fails if
/// a request is refused.
pub(crate) fn fill(
    port: u16,
    hello: &[u8],
    count: usize,
    lines: usize,
    request: impl Fn(&mut Vec<u8>, usize) + Send + 'static,
) -> Result<()> {
    let mut session = Session::open(port, 0, hello)?;
    let mut reader = session.stream.try_clone()?;
    let sent = std::thread::spawn(move || -> io::Result<()> {
        let mut requests = Vec::new();
        for n in 0..count {
            request(&mut requests, n);
            if requests.len() > 1 << 18 || n + 1 == count {
                session.stream.write_all(&requests)?;
                requests.clear();
            }
        }
        Ok(())
    });
    let (mut seen, mut answer, mut room) = (0, Vec::new(), vec![0; 64 * 1024]);
    while seen < count * lines {
        let n = reader.read(&mut room)?;
        seen += memchr::memchr_iter(b'\n', &room[..n]).count();
        answer.extend_from_slice(&room[..n]);
        if n == 0 || memchr::memmem::find(&answer, b"ERR").is_some() {
            return Err(format!("refused: {}", String::from_utf8_lossy(&answer)).into());
        }
        answer.drain(..answer.len().saturating_sub(4));
    }
    sent.join().map_err(|_| "the sender panicked")??;
    Ok(())
}

/// Makes one request on a new connection and reads until `is_end` accepts the last bytes. Returns how many bytes were
/// read, and the time in seconds.
pub(crate) fn bulk(
    port: u16,
    hello: &[u8],
    request: &[u8],
    is_end: &dyn Fn(&[u8]) -> bool,
) -> Result<(usize, f64)> {
    let mut session = Session::open(port, 0, hello)?;
    let begun = Instant::now();
    session.stream.write_all(request)?;
    let mut room = vec![0; 1 << 20];
    let (mut total, mut tail) = (0, Vec::new());
    loop {
        let n = session.stream.read(&mut room)?;
        total += n;
        tail.extend_from_slice(&room[n.saturating_sub(64)..n]);
        tail.drain(..tail.len().saturating_sub(64));
        if is_end(&tail) {
            return Ok((total, begun.elapsed().as_secs_f64()));
        }
        if n == 0 {
            return Err("the connection ended before the answer".into());
        }
    }
}
