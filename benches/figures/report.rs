//! The results, as a table and as JSON.

use serde::Serialize;

/// The bound of a figure, and the aim.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// At least the first value, better the second.
    AtLeast(f64, f64),
    /// At most the first value, better the second.
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
    /// Our value, in `unit`.
    value: f64,
    /// The value of the other program.
    other: Option<f64>,
    unit: &'static str,
    /// The judged value: the median of the ratios, or the value itself.
    figure: f64,
    /// The lowest and the highest ratio.
    spread: Option<(f64, f64)>,
    least: Option<f64>,
    aim: Option<f64>,
    verdict: &'static str,
}

/// The results so far.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// The description of the machine.
    pub(crate) machine: Vec<(&'static str, String)>,
    rows: Vec<Row>,
    skipped: Vec<String>,
}

pub(crate) fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Report {
    /// Prints the machine and the header of the table.
    pub(crate) fn head(&self) {
        for (what, value) in &self.machine {
            println!("{what}: {value}");
        }
        println!(
            "\n{:<66} {:>11} {:>11} {:>8} {:>13} {:>6} {:>6}",
            "work / compared with", "ours", "other", "figure", "(from to)", "least", "aim"
        );
    }

    /// Adds a row of pairs that were measured alternately: our value, and that of the other program.
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

    /// Adds a row with one value, which is judged by itself.
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

    /// Reports a row that was not measured.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        println!("{what:<66} not measured: {why}");
        self.skipped.push(format!("{what}: {why}"));
    }

    /// Returns the number of rows that miss their bound.
    pub(crate) fn missed(&self) -> usize {
        self.rows
            .iter()
            .filter(|row| row.verdict == "MISSED")
            .count()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}
