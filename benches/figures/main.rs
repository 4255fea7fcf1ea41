//! The benchmark that `scripts/bench` runs: dropline compared with other programs.
//!
//! Both sides of a row are measured alternately in one run, at least three times; the figure is the median of the
//! ratios. With `--quick` it takes two minutes instead of eight. `--json FILE` writes the figures and `--plots DIR` draws
//! them.
#![expect(clippy::print_stdout, reason = "the table is what this is for")]

mod load;
mod plot;
mod report;
mod scale;
mod servers;
mod service;
mod store;
mod weight;
mod worst;

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::plot::Curve;
use self::report::Report;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A part of the benchmark.
type Work = fn(&mut Bench) -> Result<()>;

/// How often both sides of a row are measured.
const ROUNDS: usize = 3;

/// A run of the benchmark.
struct Bench {
    quick: bool,
    /// How long a rate is measured.
    time: Duration,
    temporary: tempfile::TempDir,
    plots: Option<PathBuf>,
    report: Report,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [worker, rest @ ..] = args.as_slice()
        && worker == "worker"
    {
        return store::work(rest);
    }
    if let [attacker, rest @ ..] = args.as_slice()
        && attacker == "attacker"
    {
        return worst::attack(rest);
    }
    let value = |flag: &str| {
        args.iter()
            .position(|arg| arg == flag)
            .and_then(|at| args.get(at + 1))
            .map(PathBuf::from)
    };
    let quick = args.iter().any(|arg| arg == "--quick");
    let place =
        std::env::var_os("DROPLINE_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let mut bench = Bench {
        quick,
        time: Duration::from_millis(if quick { 400 } else { 1_500 }),
        temporary: tempfile::tempdir_in(&place)?,
        plots: value("--plots"),
        report: Report::default(),
    };
    if let Some(plots) = &bench.plots {
        fs::create_dir_all(plots)?;
    }
    bench.report.machine = machine(bench.temporary.path())?;
    bench.report.head();
    let only = value("--only");
    let works: [(&str, Work); 13] = [
        ("one-shot", Bench::one_shot),
        ("sessions", Bench::sessions),
        ("fetch", Bench::fetch),
        ("store", Bench::store),
        ("flushes", Bench::flushes),
        ("memory", Bench::memory),
        ("idle", Bench::idle),
        ("users", Bench::users),
        ("gibibyte", Bench::gibibyte),
        ("reloads", Bench::reloads),
        ("command", Bench::command),
        ("first-start", Bench::first_start),
        ("worst", Bench::worst),
    ];
    for (name, work) in works {
        if only.as_ref().is_none_or(|only| only.as_os_str() == name) {
            work(&mut bench)?;
        }
    }
    println!(
        "\n{} rows, {} missed their bound",
        bench.report.len(),
        bench.report.missed()
    );
    if let Some(path) = value("--json") {
        fs::write(path, serde_json::to_string_pretty(&bench.report)? + "\n")?;
    }
    Ok(())
}

impl Bench {
    /// Returns the path of a directory for a server's files.
    fn dir(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    /// Makes one measurement. Fails if more than 1 percent of the requests fail.
    fn measure(&self, work: impl FnOnce(Duration) -> Result<load::Seen>) -> Result<load::Seen> {
        let seen = work(self.time)?;
        if seen.failed * 100 > seen.count {
            return Err(format!("{} of {} requests failed", seen.failed, seen.count).into());
        }
        Ok(seen)
    }

    /// Draws the curves if `--plots` is given.
    fn plot(&self, file: &str, title: &str, axes: (&str, &str), curves: &[Curve]) -> Result<()> {
        let Some(plots) = &self.plots else {
            return Ok(());
        };
        plot::draw(&plots.join(file), title, axes, curves)
    }
}

/// Describes the machine: kernel, cores, file system, and the time that fdatasync takes there.
fn machine(dir: &Path) -> Result<Vec<(&'static str, String)>> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = std::thread::available_parallelism()?.to_string();
    let kind = std::process::Command::new("stat")
        .args(["-f", "-c", "%T"])
        .arg(dir)
        .output()?;
    let mut file = File::create(dir.join("flush"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[0; 200])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(vec![
        ("kernel", kernel.trim().into()),
        ("cores", cores),
        (
            "file system",
            String::from_utf8_lossy(&kind.stdout).trim().into(),
        ),
        (
            "one fdatasync of 200 bytes, ms",
            format!("{:.3}", report::median(times)),
        ),
    ])
}
