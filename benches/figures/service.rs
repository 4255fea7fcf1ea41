//! Request rates, compared with a minimal fork server, socat and Redis.

use crate::load::{self, Ask, BODY, HELLO, LINE, SEND, Seen};
use crate::report::Goal;
use crate::servers::{self, Server, TO_SOCAT, XADD};
use crate::{Bench, Result};

/// The numbers of clients in the plot.
const CLIENTS: [usize; 5] = [1, 4, 16, 64, 256];

impl Bench {
    /// One connection per message.
    pub(crate) fn one_shot(&mut self) -> Result<()> {
        let ours = servers::droplined(&self.dir("one-shot"), "")?;
        let bare = servers::bare(&self.dir("bare"))?;
        let socat = if servers::has("socat") {
            Some(servers::socat(&self.dir("socat"))?)
        } else {
            None
        };
        let shot = |server: &Server, clients, ask| {
            self.measure(|time| load::one_shot(server.port, clients, time, ask))
        };
        let mut curves = vec![
            ("droplined", Vec::new()),
            ("bare fork server, stores nothing", Vec::new()),
            ("socat, not durable", Vec::new()),
        ];
        let (mut to_bare, mut to_socat, mut slow) = (Vec::new(), Vec::new(), Vec::new());
        for clients in CLIENTS {
            let rounds = if clients == 16 { crate::ROUNDS } else { 1 };
            for round in 0..rounds {
                let rate = shot(&ours, clients, LINE)?;
                let beside = shot(&bare, clients, LINE)?;
                let beside_socat = socat
                    .as_ref()
                    .map(|socat| shot(socat, clients, TO_SOCAT))
                    .transpose()?;
                if clients == 16 {
                    to_bare.push((rate.rate, beside.rate));
                    to_socat.extend(beside_socat.as_ref().map(|socat| (rate.rate, socat.rate)));
                    slow.push((rate.slow, beside.slow));
                }
                if round == 0 {
                    let point = |seen: &Seen| (clients as f64, seen.rate);
                    curves[0].1.push(point(&rate));
                    curves[1].1.push(point(&beside));
                    curves[2].1.extend(beside_socat.as_ref().map(point));
                }
            }
        }
        drop((ours, bare, socat));
        self.report.ratio(
            "one-shot store, 16 clients, durable",
            "bare fork server",
            "messages a second",
            &to_bare,
            Some(Goal::AtLeast(0.5, 0.75)),
        );
        self.report.ratio(
            "the same: 99th percentile, ms",
            "bare fork server",
            "ms",
            &slow,
            None,
        );
        if to_socat.is_empty() {
            self.report
                .skip("one-shot store / socat", "socat is not installed");
        } else {
            self.report.ratio(
                "one-shot store, 16 clients, durable",
                "socat, appending, not durable",
                "messages a second",
                &to_socat,
                Some(Goal::AtLeast(1.5, 2.5)),
            );
        }
        self.plot(
            "requests.svg",
            "One connection per message",
            ("clients", "messages a second"),
            &curves,
        )
    }

    /// Many messages per connection.
    pub(crate) fn sessions(&mut self) -> Result<()> {
        let ours = servers::droplined(&self.dir("sessions"), "")?;
        let redis = if servers::has("redis-server") {
            Some(servers::redis(&self.dir("redis"))?)
        } else {
            None
        };
        let (mut open, mut deep, mut wide) = (Vec::new(), Vec::new(), Vec::new());
        type Work = fn(u16, std::time::Duration, &[u8], Ask) -> Result<Seen>;
        let works: [(&mut Vec<(f64, f64)>, Work); 3] = [
            (&mut open, |port, time, hello, ask| {
                load::sessions(port, 64, time, hello, ask)
            }),
            (&mut deep, |port, time, hello, ask| {
                load::pipelined(port, 1, 64, time, hello, ask)
            }),
            (&mut wide, |port, time, hello, ask| {
                load::pipelined(port, 64, 64, time, hello, ask)
            }),
        ];
        for (pairs, work) in works {
            for _ in 0..crate::ROUNDS {
                let rate = self
                    .measure(|time| work(ours.port, time, HELLO, SEND))?
                    .rate;
                let beside = redis
                    .as_ref()
                    .map(|redis| self.measure(|time| work(redis.port, time, b"", XADD)))
                    .transpose()?;
                pairs.push((rate, beside.map_or(f64::NAN, |seen| seen.rate)));
            }
        }
        if redis.is_none() {
            self.report
                .skip("sessions / Redis", "redis-server is not installed");
            return Ok(());
        }
        let unit = "messages a second";
        self.report.ratio(
            "SEND, 64 open sessions, durable",
            "Redis XADD, fsync always",
            unit,
            &open,
            Some(Goal::AtLeast(0.7, 1.2)),
        );
        self.report.ratio(
            "SEND, 1 session, 64 in flight, one mailbox",
            "Redis, pipelined, fsync always",
            unit,
            &deep,
            Some(Goal::AtLeast(0.5, 1.0)),
        );
        self.report.ratio(
            "SEND, 64 such sessions, a mailbox each",
            "Redis, pipelined, fsync always",
            unit,
            &wide,
            None,
        );
        Ok(())
    }

    /// A fetch of many waiting messages.
    pub(crate) fn fetch(&mut self) -> Result<()> {
        let count = if self.quick { 20_000 } else { 100_000 };
        let work = format!("FETCH of {count} waiting messages");
        if !servers::has("redis-server") {
            self.report.skip(&work, "redis-server is not installed");
            return Ok(());
        }
        let ours = servers::droplined(&self.dir("fetch"), "")?;
        load::fill(ours.port, HELLO, count, 1, |to, _| (SEND.request)(to, 0))?;
        let redis = servers::redis(&self.dir("redis-fetch"))?;
        load::fill(redis.port, b"", count - 1, 2, |to, _| (XADD.request)(to, 0))?;
        load::fill(redis.port, b"", 1, 2, |to, _| {
            (XADD.request)(to, 0);
            let end = to.len() - 2;
            to[end - LAST.len()..end].copy_from_slice(LAST);
        })?;
        let request = format!("FETCH max={count}\n");
        let range = b"*4\r\n$6\r\nXRANGE\r\n$5\r\nbob00\r\n$1\r\n-\r\n$1\r\n+\r\n";
        let mut pairs = Vec::new();
        for _ in 0..crate::ROUNDS {
            let all = load::bulk(
                ours.port,
                b"HELLO dropline/1 name=bob00\n",
                request.as_bytes(),
                &is_end,
            )?;
            let beside = load::bulk(redis.port, b"", range, &|tail| tail.ends_with(b"LAST\r\n"))?;
            if all.0.min(beside.0) < count * BODY.len() {
                return Err("an answer was incomplete".into());
            }
            pairs.push((count as f64 / all.1, count as f64 / beside.1));
        }
        self.report.ratio(
            &work,
            "Redis XRANGE",
            "messages a second",
            &pairs,
            Some(Goal::AtLeast(1.0, 3.0)),
        );
        Ok(())
    }
}

/// Ends the last message in Redis.
const LAST: &[u8] = b"LAST";

/// Returns whether `tail` is the end of a list from droplined.
pub(crate) fn is_end(tail: &[u8]) -> bool {
    tail.ends_with(b"\n") && memchr::memmem::find(tail, b"\nEND ").is_some()
}
