//! Scale: many sessions, many users, a large mailbox.

use std::fs;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use crate::load::{self, HELLO};
use crate::report::Goal;
use crate::servers;
use crate::service::is_end;
use crate::weight::{private, settle};
use crate::{Bench, Result};

impl Bench {
    /// Idle sessions, and the response time of one more client.
    pub(crate) fn idle(&mut self) -> Result<()> {
        let many: usize = if self.quick { 1_000 } else { 10_000 };
        let need = many as u64 + 200;
        let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
        if nix::sys::resource::setrlimit(
            nix::sys::resource::Resource::RLIMIT_NOFILE,
            need.min(hard),
            hard,
        )
        .is_err()
            || hard < need
        {
            self.report.skip(
                "idle sessions",
                &format!("{need} descriptors are needed: ulimit -n"),
            );
            return Ok(());
        }
        let ours = servers::droplined(
            &self.dir("idle"),
            "max_children = 20000\nearly_drop = 20000\nidle_timeout = 3600\nwaiting_percent = 100\n\
             waiting_source_percent = 100\n",
        )?;
        let free = memory_in_use()?;
        let mut sessions = Vec::new();
        for n in 0..many {
            let mut session = load::connect(ours.port, n % 1_000)?;
            session.write_all(HELLO)?;
            sessions.push(session);
        }
        for session in &mut sessions {
            session.read_exact(&mut [0; 2])?;
        }
        let used = memory_in_use()? - free;
        let children = ours.children()?;
        if children.len() != many {
            return Err(format!("only {} of {many} sessions are open", children.len()).into());
        }
        let mut slowest: f64 = 0.0;
        for n in 0..20 {
            let begun = Instant::now();
            let mut stream = load::connect(ours.port, n)?;
            stream.write_all(b"store;bob;alice;one more\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            if answer != load::LINE.answer {
                return Err("a further client is not served".into());
            }
            slowest = slowest.max(begun.elapsed().as_secs_f64() * 1_000.0);
        }
        self.report.value(
            &format!("{many} idle sessions: the slowest of 20 further requests"),
            "ms",
            slowest,
            None,
            Some(Goal::AtMost(100.0, 20.0)),
        );
        self.report.value(
            "memory of the machine per idle session",
            "KiB",
            used / many as f64,
            None,
            None,
        );
        self.report.value(
            "the master's private memory with these sessions",
            "KiB",
            private(ours.pid())?,
            None,
            Some(Goal::AtMost(3072.0, 2048.0)),
        );
        drop(sessions);
        settle(|| Ok(ours.children()?.len() < 10))
    }

    /// The list of many registered users.
    pub(crate) fn users(&mut self) -> Result<()> {
        let many = if self.quick { 10_000 } else { 100_000 };
        let dir = self.dir("users");
        let ours = servers::droplined(&dir, "")?;
        let mut first = load::connect(ours.port, 0)?;
        first.write_all(b"HELLO dropline/1 name=u0\nONLINE port=9\nQUIT\n")?;
        first.read_to_end(&mut Vec::new())?;
        // Copy the first user's file: registering each user would wait for the disk a hundred thousand times.
        let folder = |name: &str| {
            dir.join(format!(
                "spool/user/{:02x}",
                crc32fast::hash(name.as_bytes()) >> 24
            ))
        };
        let template = fs::read(folder("u0").join("u0"))?;
        for n in 1..many {
            let name = format!("u{n}");
            fs::create_dir_all(folder(&name))?;
            fs::write(folder(&name).join(&name), &template)?;
        }
        let mut rates = Vec::new();
        for _ in 0..crate::ROUNDS {
            let (bytes, seconds) = load::bulk(
                ours.port,
                HELLO,
                format!("WHO max={many}\n").as_bytes(),
                &is_end,
            )?;
            if bytes < many * "USER name=u0 online=0\n".len() {
                return Err("the list was incomplete".into());
            }
            rates.push(many as f64 / seconds);
        }
        self.report.value(
            &format!("WHO of {many} registered users"),
            "names a second",
            crate::report::median(rates),
            None,
            None,
        );
        Ok(())
    }

    /// A fetch of one GiB.
    pub(crate) fn gibibyte(&mut self) -> Result<()> {
        let total: usize = if self.quick { 128 << 20 } else { 1 << 30 };
        const LONG: usize = 1 << 16;
        let ours = servers::droplined(&self.dir("gibibyte"), "")?;
        load::fill(ours.port, HELLO, total / LONG, 1, |to, _| {
            to.extend_from_slice(format!("SEND big {LONG}\n").as_bytes());
            to.resize(to.len() + LONG, b'x');
            to.push(b'\n');
        })?;
        let request = format!("FETCH max={}\n", total / LONG);
        let port = ours.port;
        let reader = std::thread::spawn(move || {
            load::bulk(
                port,
                b"HELLO dropline/1 name=big\n",
                request.as_bytes(),
                &is_end,
            )
            .map_err(|e| e.to_string())
        });
        let mut peak: f64 = 0.0;
        while !reader.is_finished() {
            for child in ours.children()? {
                // The child may have ended.
                peak = peak.max(private(child).unwrap_or(0.0));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let (bytes, seconds) = reader.join().map_err(|_| "the reader panicked")??;
        if bytes < total {
            return Err("the fetch was incomplete".into());
        }
        self.report.value(
            &format!("FETCH of {} MiB in messages of 64 KiB", total >> 20),
            "MiB a second",
            (bytes >> 20) as f64 / seconds,
            None,
            None,
        );
        self.report.value(
            "peak private memory of its child",
            "KiB",
            peak,
            None,
            Some(Goal::AtMost(8192.0, 4096.0)),
        );
        Ok(())
    }
}

/// Returns the memory of this machine that is in use and cannot be reclaimed, in KiB.
fn memory_in_use() -> Result<f64> {
    let all = fs::read_to_string("/proc/meminfo")?;
    let of = |what: &str| -> Result<f64> {
        let line = all
            .lines()
            .find(|line| line.starts_with(what))
            .ok_or("no such line in /proc/meminfo")?;
        Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
    };
    Ok(of("MemTotal:")? - of("MemAvailable:")?)
}
