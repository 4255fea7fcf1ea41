//! A minimal client of the session dialect.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::{Daemon, default_of};

/// An open session.
pub(crate) struct Session {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Session {
    /// Opens a session and sends HELLO with this name.
    pub(crate) fn of(daemon: &Daemon, name: &str) -> Self {
        let mut session = Self::over(daemon.connect());
        let reply = session.ask(&format!("HELLO dropline/1 name={name}"));
        let (body, lease) = (default_of("max_body"), default_of("lease"));
        let expected =
            format!("OK dropline/1 name={name} trust=open max-body={body} lease={lease}");
        assert_eq!(reply, expected);
        session
    }

    /// Wraps a connection on which nothing was sent yet.
    pub(crate) fn over(stream: TcpStream) -> Self {
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        Self { stream, reader }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sent");
    }

    /// Reads the next line. Empty at end of file.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).expect("a line");
        let line = String::from_utf8(line).expect("text");
        line.strip_suffix('\n').unwrap_or(&line).to_owned()
    }

    /// Sends a line and reads a line.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.line()
    }

    /// Sends a message and returns the answer.
    pub(crate) fn store(&mut self, to: &str, options: &str, body: &[u8]) -> String {
        let line = format!("SEND {to} {}{options}\n", body.len());
        self.send([line.as_bytes(), body, b"\n"].concat());
        self.line()
    }

    /// Like [`store`](Self::store), but tolerates a dying server. Returns whether the message was acknowledged.
    pub(crate) fn try_store(&mut self, to: &str, body: &[u8]) -> bool {
        let line = format!("SEND {to} {}\n", body.len());
        let request = [line.as_bytes(), body, b"\n"].concat();
        let mut answer = Vec::new();
        self.stream.write_all(&request).is_ok()
            && self.reader.read_until(b'\n', &mut answer).is_ok()
            && answer.starts_with(b"OK id=")
            && answer.ends_with(b"\n")
    }

    /// Reads a message: its line and its body.
    pub(crate) fn message(&mut self) -> (String, Vec<u8>) {
        let line = self.line();
        assert!(line.starts_with("MSG "), "no message: {line}");
        let mut body = vec![0; number(&line, "len") + 1];
        self.reader.read_exact(&mut body).expect("a body");
        assert_eq!(body.pop(), Some(b'\n'));
        (line, body)
    }

    /// Reads the answer to FETCH or HISTORY: number, sender and body of each message, and the END line.
    pub(crate) fn messages(&mut self) -> (Vec<(usize, String, Vec<u8>)>, String) {
        let mut all = Vec::new();
        loop {
            if self.peek() != b'M' {
                return (all, self.line());
            }
            let (line, body) = self.message();
            let from = field(&line, "from").expect("a sender").to_owned();
            all.push((number(&line, "seq"), from, body));
        }
    }

    /// Fetches and acknowledges all messages. Returns the sender and body of each.
    pub(crate) fn read_all(&mut self) -> Vec<(String, String)> {
        self.send("FETCH\n");
        let (messages, _) = self.messages();
        if let Some((last, ..)) = messages.last() {
            assert_eq!(self.ask(&format!("ACK {last}")), "OK");
        }
        let text = |body| String::from_utf8(body).expect("text");
        messages
            .into_iter()
            .map(|(_, from, body)| (from, text(body)))
            .collect()
    }

    fn peek(&mut self) -> u8 {
        let buffer = self.reader.fill_buf().expect("readable");
        buffer.first().copied().unwrap_or(0)
    }

    /// Returns whether the server closed the connection without sending anything more.
    pub(crate) fn is_over(&mut self) -> bool {
        matches!(self.reader.read_to_end(&mut Vec::new()), Ok(0))
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// Returns the answer to ONLINE under the default configuration. `new` is 1 if the name was not registered before.
pub(crate) fn online(new: u8) -> String {
    format!("OK lease={} new={new}", default_of("lease"))
}

pub(crate) fn field<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    let mut fields = line.split(' ').filter_map(|field| field.split_once('='));
    fields
        .find(|(this, _)| *this == key)
        .map(|(_, value)| value)
}

pub(crate) fn number(line: &str, key: &str) -> usize {
    let value = field(line, key).unwrap_or_else(|| panic!("no {key}= in {line}"));
    value.parse().expect("a number")
}
