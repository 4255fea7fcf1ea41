//! The store without a server: processes that append and read, compared with a loop of write and fdatasync.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dropline::internals::Store;

use crate::report::{Goal, median};
use crate::{Bench, ROUNDS, Result};

use crate::load::BODY;

/// The unit of these figures.
const RATE: &str = "messages a second";
/// A record of the size that a message of 100 bytes has in a mailbox.
const RECORD: [u8; 200] = [b'x'; 200];

/// The task of a worker process.
#[derive(Clone, Copy)]
enum Work {
    /// Appends to a mailbox through the store.
    Store,
    /// Appends to a file with write and fdatasync.
    Bare,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Bare => "bare",
        }
    }
}

/// Runs a worker process. The arguments are the task, a path, a name and a time in milliseconds.
pub(crate) fn work(args: &[String]) -> Result<()> {
    let [work, path, name, millis] = args else {
        return Err("a worker needs four arguments".into());
    };
    run_worker(
        work,
        Path::new(path),
        name,
        Duration::from_millis(millis.parse()?),
    )
}

impl Bench {
    fn spool(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir(name);
        Store::make(&path)?;
        Ok(path)
    }

    /// All measurements of the store.
    pub(crate) fn store(&mut self) -> Result<()> {
        let quick = self.quick;
        self.appends()?;
        self.reads()?;
        self.waiting(if quick { 100_000 } else { 1_000_000 })?;
        self.mailboxes(if quick { 20_000 } else { 1_000_000 })
    }

    /// Appends by 1, 8 and 64 processes, to own mailboxes and to one, compared with as many bare loops.
    fn appends(&mut self) -> Result<()> {
        let spool = self.spool("appends")?;
        let bare = self.dir("bare-appends");
        fs::create_dir(&bare)?;
        for processes in [1, 8, 64] {
            for own in [true, false] {
                let mut pairs = Vec::new();
                for _ in 0..ROUNDS {
                    let rate = workers(Work::Store, &spool, processes, own, self.time)?;
                    pairs.push((rate, workers(Work::Bare, &bare, processes, own, self.time)?));
                }
                let into = if own { "own mailboxes" } else { "one mailbox" };
                self.report.ratio(
                    &format!("append by {processes} processes, {into}"),
                    "write and fdatasync",
                    RATE,
                    &pairs,
                    Some(Goal::AtLeast(0.8, 0.95)),
                );
            }
        }
        Ok(())
    }

    /// Reads 100,000 waiting messages, compared with a plain read of as many bytes.
    fn reads(&mut self) -> Result<()> {
        let spool = self.spool("reads")?;
        let store = Store::open(&spool)?;
        for _ in 0..10 {
            store.append("bob", &BODY, 10_000)?;
        }
        let flat = self.dir("flat");
        fs::write(&flat, RECORD.repeat(100_000))?;
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            let rate = rate(100_000, || {
                store.read("bob").map(|_| ()).map_err(Into::into)
            })?;
            pairs.push((
                rate,
                self::rate(100_000, || fs::read(&flat).map(|_| ()).map_err(Into::into))?,
            ));
        }
        self.report.ratio(
            "read 100,000 waiting messages",
            "read(2) of such a file",
            RATE,
            &pairs,
            None,
        );
        Ok(())
    }

    /// Appends to a growing mailbox, compared with one that has 100 messages.
    fn waiting(&mut self, many: usize) -> Result<()> {
        let spool = self.spool("waiting")?;
        let store = Store::open(&spool)?;
        store.append("few", &BODY, 100)?;
        let (mut curve, mut there) = (Vec::new(), 0);
        for size in [100, 1_000, 10_000, 100_000, 1_000_000] {
            if size > many {
                break;
            }
            while there < size {
                let batch = 10_000.min(size - there);
                store.append("many", &BODY, batch)?;
                there += batch;
            }
            let mut pairs = Vec::new();
            for _ in 0..ROUNDS {
                let one = |to| appends(self.time, || Ok(store.append(to, &BODY, 1)?));
                pairs.push((one("many")?, one("few")?));
            }
            let ratios = pairs.iter().map(|pair| pair.1 / pair.0).collect();
            curve.push((size as f64, median(ratios)));
            if size == many {
                let goal = Some(Goal::AtLeast(0.8, 0.95));
                self.report.ratio(
                    &format!("append with {many} waiting messages"),
                    "with 100",
                    RATE,
                    &pairs,
                    goal,
                );
            }
        }
        let axes = ("waiting messages", "cost relative to 100 messages");
        self.plot(
            "size.svg",
            "Cost of a message as the mailbox grows",
            axes,
            &[("append", curve)],
        )
    }

    /// Appends to 100 mailboxes in turn, in a spool that has many, compared with a spool that has 100.
    fn mailboxes(&mut self, many: usize) -> Result<()> {
        let (full, empty) = (self.spool("full")?, self.spool("empty")?);
        populate(&full, many)?;
        populate(&empty, 100)?;
        let (full, empty) = (Store::open(&full)?, Store::open(&empty)?);
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            let mut turn = 0;
            let in_turn = |store: &Store, step: usize, turn: &mut usize| {
                *turn += 1;
                Ok(store.append(&format!("m{}", *turn % 100 * step), &BODY, 1)?)
            };
            let rate = appends(self.time, || in_turn(&full, many / 100, &mut turn))?;
            pairs.push((rate, appends(self.time, || in_turn(&empty, 1, &mut turn))?));
        }
        self.report.ratio(
            &format!("append into one of {many} mailboxes"),
            "of 100",
            RATE,
            &pairs,
            Some(Goal::AtLeast(0.8, 0.95)),
        );
        Ok(())
    }
}

/// Creates `many` mailboxes of one message. All are copies of the first: appending to each would wait for the disk a
/// million times.
fn populate(spool: &Path, many: usize) -> Result<()> {
    let store = Store::open(spool)?;
    store.append("m0", &BODY, 1)?;
    let mail = spool.join("mail");
    let folder = |name: &str| mail.join(format!("{:02x}", crc32fast::hash(name.as_bytes()) >> 24));
    let template = fs::read(folder("m0").join("m0"))?;
    for n in 1..many {
        let name = format!("m{n}");
        fs::create_dir_all(folder(&name))?;
        fs::write(folder(&name).join(&name), &template)?;
    }
    // Pending writes would disturb the measurements.
    let status = Command::new("sync").arg("-f").arg(spool).status()?;
    if status.success() {
        Ok(())
    } else {
        Err("sync failed".into())
    }
}

fn rate(messages: usize, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    work()?;
    Ok(messages as f64 / begun.elapsed().as_secs_f64())
}

/// Repeats `append` for `time`, and returns the rate per second.
fn appends(time: Duration, mut append: impl FnMut() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        append()?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// Returns how many appends per second the worker processes make together.
fn workers(work: Work, path: &Path, processes: usize, own: bool, time: Duration) -> Result<f64> {
    let mut workers: Vec<(Child, BufReader<_>)> = Vec::new();
    for n in 0..processes {
        let name = if own { format!("own{n}") } else { "one".into() };
        let mut child = Command::new(std::env::current_exe()?)
            .args(["worker", work.name()])
            .arg(path)
            .args([&name, &time.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        // Each worker reports that it is ready, so that all begin at once.
        out.read_line(&mut String::new())?;
        workers.push((child, out));
    }
    for (child, _) in &mut workers {
        drop(child.stdin.take());
    }
    let mut total = 0.0;
    for (mut child, mut out) in workers {
        let mut line = String::new();
        out.read_line(&mut line)?;
        total += line.trim().parse::<f64>()?;
        child.wait()?;
    }
    Ok(total)
}

fn run_worker(work: &str, path: &Path, name: &str, time: Duration) -> Result<()> {
    let store = if work == "store" {
        Some(Store::open(path)?)
    } else {
        None
    };
    let mut file = match store {
        Some(_) => None,
        None => Some(
            File::options()
                .create(true)
                .append(true)
                .open(path.join(name))?,
        ),
    };
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let rate = appends(time, || match (&store, &mut file) {
        (Some(store), _) => Ok(store.append(name, &BODY, 1)?),
        (None, Some(file)) => {
            file.write_all(&RECORD)?;
            Ok(file.sync_data()?)
        }
        (None, None) => Ok(()),
    })?;
    println!("{rate}");
    Ok(())
}
