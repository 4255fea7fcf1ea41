//! A minimal client of the framed dialect.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::Daemon;

/// A connection of a legacy chat client.
pub(crate) struct Frames {
    stream: TcpStream,
    big_endian: bool,
}

impl Frames {
    /// Connects as a little-endian client and sends these frames.
    pub(crate) fn say(daemon: &Daemon, frames: &[&str]) -> Self {
        Self::on(daemon, frames, false)
    }

    /// Like [`say`](Self::say), with either byte order.
    pub(crate) fn on(daemon: &Daemon, frames: &[&str], big_endian: bool) -> Self {
        let mut client = Self {
            stream: daemon.connect(),
            big_endian,
        };
        for frame in frames {
            client.send(frame.as_bytes());
        }
        client
    }

    pub(crate) fn send(&mut self, text: &[u8]) {
        let [hi, lo] = u16::try_from(text.len() + 1).expect("short").to_be_bytes();
        let length = if self.big_endian {
            [0, 0, hi, lo]
        } else {
            [hi, lo, 0, 0]
        };
        let frame = [&length, text, b"\0"].concat();
        self.stream.write_all(&frame).expect("sent");
    }

    /// Reads the next frame. Returns its text without the NUL.
    pub(crate) fn frame(&mut self) -> String {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).expect("a length");
        let [a, b, c, d] = length;
        let len = if self.big_endian {
            assert_eq!([a, b], [0, 0]);
            u16::from_be_bytes([c, d])
        } else {
            assert_eq!([c, d], [0, 0]);
            u16::from_be_bytes([a, b])
        };
        let mut text = vec![0; usize::from(len)];
        self.stream.read_exact(&mut text).expect("a frame");
        assert_eq!(text.pop(), Some(0));
        String::from_utf8(text).expect("text")
    }

    /// Expects the end of the connection, without further bytes.
    pub(crate) fn end(mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the end");
        assert_eq!(rest, b"", "unexpected bytes before the end");
        // The client has read everything, so this closes cleanly, without a reset.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Closes the connection without reading, like a killed client.
    pub(crate) fn kill(self) {
        drop(self.stream);
    }
}

/// Registers `name` at this address. Returns the answers up to the end of the connection.
pub(crate) fn register(daemon: &Daemon, name: &str, address: &str) -> Vec<String> {
    let mut client = Frames::say(daemon, &["!register", name]);
    let mut answers = vec![client.frame()];
    if answers[0] != "401" {
        client.send(address.as_bytes());
        answers.push(client.frame());
        if answers[1] == "406" {
            answers.push(client.frame());
        }
    }
    client.end();
    answers
}
