//! The figures: as a table for people, and as JSON.

use serde::Serialize;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// At least so much, and better the second.
    AtLeast(f64, f64),
    /// At most so much, and better the second.
    AtMost(f64, f64),
}

impl Goal {
    fn verdict(self, figure: f64) -> &'static str {
        let (least, aim) = match self {
            Self::AtLeast(least, aim) => (figure >= least, figure >= aim),
            Self::AtMost(least, aim) => (figure <= least, figure <= aim),
        };
        match (least, aim) {
            (_, true) => "aim",
            (true, false) => "ok",
            (false, false) => "MISSED",
        }
    }

    fn bounds(self) -> (f64, f64) {
        match self {
            Self::AtLeast(least, aim) | Self::AtMost(least, aim) => (least, aim),
        }
    }
}

/// A row of the table.
#[derive(Debug, Serialize)]
struct Row {
    work: String,
    beside: String,
    /// Ours, in `unit`.
    value: f64,
    /// The other side's.
    other: Option<f64>,
    unit: &'static str,
    /// What is judged: the median of the rounds' ratios, or the value itself.
    figure: f64,
    /// The least and the greatest of the rounds.
    spread: Option<(f64, f64)>,
    least: Option<f64>,
    aim: Option<f64>,
    verdict: &'static str,
}

/// All rows so far.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// The kernel, the cores, the file system, and what one fdatasync costs there.
    pub(crate) machine: Vec<(&'static str, String)>,
    rows: Vec<Row>,
    skipped: Vec<String>,
}

/// The one in the middle.
pub(crate) fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Report {
    /// Prints what the columns are.
    pub(crate) fn head(&self) {
        for (what, value) in &self.machine {
            println!("{what}: {value}");
        }
        println!(
            "\n{:<66} {:>11} {:>11} {:>8} {:>13} {:>6} {:>6}",
            "work / beside", "ours", "beside", "figure", "(from to)", "least", "aim"
        );
    }

    /// A row of pairs that were measured in turn: ours, and the other side's.
    pub(crate) fn ratio(
        &mut self,
        work: &str,
        beside: &str,
        unit: &'static str,
        pairs: &[(f64, f64)],
        goal: Option<Goal>,
    ) {
        let column = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).collect::<Vec<_>>();
        let ratios = column(|pair| pair.0 / pair.1);
        let spread = ratios
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), &ratio| {
                (low.min(ratio), high.max(ratio))
            });
        self.add(
            Row {
                work: work.into(),
                beside: beside.into(),
                value: median(column(|pair| pair.0)),
                other: Some(median(column(|pair| pair.1))),
                unit,
                figure: median(ratios),
                spread: Some(spread),
                least: goal.map(|goal| goal.bounds().0),
                aim: goal.map(|goal| goal.bounds().1),
                verdict: "",
            },
            goal,
        );
    }

    /// A row of a figure that is judged by itself.
    pub(crate) fn value(
        &mut self,
        work: &str,
        unit: &'static str,
        value: f64,
        other: Option<(&str, f64)>,
        goal: Option<Goal>,
    ) {
        self.add(
            Row {
                work: work.into(),
                beside: other.map_or_else(String::new, |(beside, _)| beside.into()),
                value,
                other: other.map(|(_, value)| value),
                unit,
                figure: value,
                spread: None,
                least: goal.map(|goal| goal.bounds().0),
                aim: goal.map(|goal| goal.bounds().1),
                verdict: "",
            },
            goal,
        );
    }

    fn add(&mut self, mut row: Row, goal: Option<Goal>) {
        row.verdict = goal.map_or("", |goal| goal.verdict(row.figure));
        let what = if row.beside.is_empty() {
            format!("{} ({})", row.work, row.unit)
        } else {
            format!("{} / {}", row.work, row.beside)
        };
        let number = |value: f64| match value {
            v if v >= 100.0 => format!("{v:.0}"),
            v => format!("{v:.2}"),
        };
        let or_nothing = |value: Option<f64>| value.map(number).unwrap_or_default();
        let spread = row
            .spread
            .map(|(low, high)| format!("({} {})", number(low), number(high)));
        println!(
            "{what:<66} {:>11} {:>11} {:>8} {:>13} {:>6} {:>6} {}",
            number(row.value),
            or_nothing(row.other),
            number(row.figure),
            spread.unwrap_or_default(),
            or_nothing(row.least),
            or_nothing(row.aim),
            row.verdict
        );
        self.rows.push(row);
    }

    /// Says what was not measured, and why.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        println!("{what:<66} not measured: {why}");
        self.skipped.push(format!("{what}: {why}"));
    }

    /// How many rows are not what they should be.
    pub(crate) fn missed(&self) -> usize {
        self.rows
            .iter()
            .filter(|row| row.verdict == "MISSED")
            .count()
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}
