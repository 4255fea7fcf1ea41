//! The simulated disk: its durable state, and the states that a power cut may leave while operations are pending.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::sys::operation_log::Op;

const SECTOR: usize = 512;
/// With more pending writes than this, states are sampled at random.
const EXHAUSTIVE: usize = 2;
/// Number of sampled states.
const DRAWN: usize = 60;

/// A small random number generator. Its seed makes a failure reproducible.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: usize) -> usize {
        // The upper half of Knuth's linear congruential generator.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % n
    }
}

/// A disk: contents by inode, names by path.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) contents: HashMap<u64, Vec<u8>>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    dirs: BTreeSet<PathBuf>,
}

impl Disk {
    /// Reads the files and directories below `path`.
    pub(super) fn read(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        let mut disk = Self::default();
        let (files, dirs) = list(path);
        for file in files {
            let number = fs::metadata(&file).expect("a file").ino();
            let content = fs::read(&file).expect("readable");
            disk.contents.insert(number, content);
            disk.names.insert(file, number);
        }
        disk.dirs = dirs;
        disk
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::MakeDir(path) => drop(self.dirs.insert(path.clone())),
            Op::Create(path, number) => {
                self.names.insert(path.clone(), *number);
                self.contents.entry(*number).or_default();
            }
            Op::Write(number, offset, bytes) => self.write(*number, *offset, bytes, |_| true),
            Op::Truncate(number, len) => {
                let len = usize::try_from(*len).expect("small");
                self.contents.entry(*number).or_default().resize(len, 0);
            }
            Op::Punch(number, from, to) => {
                let content = self.contents.entry(*number).or_default();
                let end = usize::try_from(*to).expect("small").min(content.len());
                let from = usize::try_from(*from).expect("small").min(end);
                content[from..end].fill(0);
            }
            Op::Rename(from, to) => {
                if let Some(number) = self.names.remove(from) {
                    self.names.insert(to.clone(), number);
                }
            }
            Op::Remove(path) => drop(self.names.remove(path)),
            Op::Sync(_) | Op::SyncDir(_) | Op::Note(_) => {}
        }
    }

    /// Writes the sectors that `pick` chooses. The file grows as if all were written.
    fn write(&mut self, number: u64, offset: u64, bytes: &[u8], pick: impl Fn(usize) -> bool) {
        let content = self.contents.entry(number).or_default();
        let offset = usize::try_from(offset).expect("small");
        if content.len() < offset + bytes.len() {
            content.resize(offset + bytes.len(), 0);
        }
        for (at, byte) in bytes.iter().enumerate() {
            if pick((offset + at) / SECTOR) {
                content[offset + at] = *byte;
            }
        }
    }

    /// Applies a pending operation in one of the ways in which it may have reached the disk.
    fn apply_in_part(&mut self, op: &Op, way: usize) {
        let Op::Write(number, offset, bytes) = op else {
            if way > 0 {
                self.apply(op);
            }
            return;
        };
        let first = usize::try_from(*offset).expect("small") / SECTOR;
        let last = (usize::try_from(*offset).expect("small") + bytes.len()).div_ceil(SECTOR);
        let middle = (first + last) / 2;
        match way {
            0 => {}
            1 => self.apply(op),
            2 => self.write(*number, *offset, bytes, |_| false),
            3 => self.write(*number, *offset, bytes, |sector| sector < middle),
            4 => self.write(*number, *offset, bytes, |sector| sector >= middle),
            5 => self.write(*number, *offset, bytes, |sector| sector != first),
            6 => self.write(*number, *offset, bytes, |sector| sector + 1 != last),
            _ => self.write(*number, *offset, bytes, |sector| sector % 2 == 0),
        }
    }

    /// Writes this state to files below `path`.
    pub(super) fn lay_out(&self, path: &Path) {
        let (files, dirs) = list(path);
        // A file is lost with its directory.
        let is_there = |file: &Path| file.parent().is_some_and(|dir| self.dirs.contains(dir));
        // Create every file anew, as after a boot: no process has it open or locked.
        for old in files {
            fs::remove_file(old).expect("removed");
        }
        // Subdirectories sort after their parents and must be removed first.
        for old in dirs.difference(&self.dirs).collect::<Vec<_>>().iter().rev() {
            fs::remove_dir(old).expect("removed");
        }
        for new in self.dirs.difference(&dirs) {
            fs::create_dir(new).expect("made");
        }
        for (path, number) in self.names.iter().filter(|(path, _)| is_there(path)) {
            let content = self
                .contents
                .get(number)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let written = content.iter().rposition(|&byte| byte != 0);
            let written = written.map_or(0, |last| last + 1);
            let file = fs::File::create(path).expect("made");
            file.write_all_at(&content[..written], 0).expect("written");
            // Extending the file is faster than writing zeros.
            file.set_len(content.len() as u64).expect("written");
        }
    }
}

/// Returns the files below `path`, and the directories including `path` itself.
fn list(path: &Path) -> (Vec<PathBuf>, BTreeSet<PathBuf>) {
    let (mut files, mut dirs) = (Vec::new(), BTreeSet::new());
    let mut todo = vec![path.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                todo.push(path);
            } else {
                files.push(path);
            }
        }
        dirs.insert(dir);
    }
    (files, dirs)
}

fn ways(op: &Op) -> usize {
    if matches!(op, Op::Write(..)) { 8 } else { 2 }
}

/// Returns the states, or a sample of them, that a crash may leave when `durable` is synced and `pending` is not.
pub(super) fn crash_states(durable: &Disk, pending: &[&Op], random: &mut Random) -> Vec<Disk> {
    let state = |choices: &[usize]| {
        let mut disk = durable.clone();
        for (op, way) in pending.iter().zip(choices) {
            disk.apply_in_part(op, *way);
        }
        disk
    };
    let total: usize = pending.iter().map(|op| ways(op)).product();
    if pending.len() <= EXHAUSTIVE + 1 && total <= 128 {
        return (0..total)
            .map(|mut index| {
                let mut choices = Vec::new();
                for op in pending {
                    choices.push(index % ways(op));
                    index /= ways(op);
                }
                state(&choices)
            })
            .collect();
    }
    let mut drawn: Vec<Disk> = [0, 1].map(|way| state(&vec![way; pending.len()])).into();
    for _ in 0..DRAWN {
        let choices: Vec<_> = pending.iter().map(|op| random.below(ways(op))).collect();
        drawn.push(state(&choices));
    }
    drawn
}
