//! How many of the rows that wait make the next batch: one, where the engine computes rows one by one as fast as
//! together, else all.
//!
//! Where a batch costs something of its own, a row is the cheaper the more share it. Where it costs nothing (our own
//! engine on a processor: twice the rows take twice the time), rows that wait for each other only wait. Nothing ever
//! waits for rows that may come.
//!
//! One by one must not be slower: what is lost there is lost for every row behind, and under load that is more than the
//! first ones gain. Of that, what a batch costs outside the engine is not measured, so a long queue must have more to
//! gain than a short one. And it must be proven lately, against batches of all that waited: a planner that is wrong by
//! being slow would be wrong where it hurts (the simulations of the tests show both).

use std::time::Duration;

use super::costs::Costs;
use super::settings::BatchPlan;

/// Rows are as fast one by one when their rows per second are at least this part of those together: closer, what was
/// measured does not tell.
const AS_FAST: f64 = 0.98;
/// The same for a queue that is longer than [`SHORT_ROWS`].
const FASTER: f64 = 1.1;
/// Rows of a short queue: so few wait for each other that hardly any come after them.
const SHORT_ROWS: usize = 4;
/// Rows that run one by one for each row of a batch of all that wait, which is there to compare.
const ROWS_PER_COMPARED: u64 = 16;
/// A deadline may cost at most this part of the rows per second: a client that is always in a hurry slows nobody down
/// by more.
const DEADLINE_RATE_MIN: f64 = 0.5;

/// What decided about the size of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Everything that waited.
    All,
    /// As many as a batch may have.
    Full,
    /// One row, as fast alone.
    One,
    /// One row, to compare what it costs alone.
    Measure,
    /// With more rows one of them would have been late.
    Deadline,
}

impl Why {
    /// The `why` label of `manylens_planner_batches_total`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Full => "full",
            Self::One => "one",
            Self::Measure => "measure",
            Self::Deadline => "deadline",
        }
    }
}

/// Chooses the size of each batch from what the former ones took. A pure state machine.
pub(super) struct Planner {
    rows_max: usize,
    plan: BatchPlan,
    costs: Costs,
}

impl Planner {
    /// For batches of at least one and at most `rows_max` rows.
    pub fn new(rows_max: usize, plan: BatchPlan) -> Self {
        Self { rows_max: rows_max.max(1), plan, costs: Costs::default() }
    }

    /// A batch ended.
    pub fn learn(&mut self, rows: usize, took: Duration) {
        self.costs.record(rows, took);
    }

    /// What batches of 1, 2, 4 … and of the most rows take, where that is known.
    pub fn view(&self) -> impl Iterator<Item = (usize, Option<Duration>)> {
        let powers = (0..usize::BITS).map(|power| 1 << power).take_while(|&rows| rows < self.rows_max);
        powers.chain([self.rows_max]).map(|rows| (rows, self.costs.takes(rows)))
    }

    /// The next batch, when so many rows wait.
    pub fn plan(&self, waiting: usize) -> Plan<'_> {
        let fit = waiting.clamp(1, self.rows_max);
        let whole = if waiting > fit { Why::Full } else { Why::All };
        let (costs, rows, why) = match self.plan {
            BatchPlan::Full => (None, fit, whole),
            BatchPlan::Measured => {
                let one = if fit == 1 { None } else { self.one(fit, waiting) };
                (Some(&self.costs), one.map_or(fit, |_| 1), one.unwrap_or(whole))
            }
        };
        Plan { costs, rows, why, joined: 0, in_time: vec![] }
    }

    /// Why one row should run instead of these, if it should. What is not known yet runs beside what is.
    fn one(&self, fit: usize, waiting: usize) -> Option<Why> {
        let compares = self.costs.compares();
        let (together, alone) = match (self.costs.of(fit), self.costs.of(1)) {
            (Some(together), Some(alone)) => (together, alone),
            (Some(_), None) => return compares.then_some(Why::Measure),
            (None, Some(_)) => return (!compares).then_some(Why::Measure),
            (None, None) => return None,
        };
        let compared = self.costs.rows_since(fit / 2 + 1) <= ROWS_PER_COMPARED * fit as u64;
        let as_fast = if waiting <= SHORT_ROWS { AS_FAST } else { FASTER };
        (compared && alone * fit as f64 * as_fast <= together).then_some(Why::One)
    }
}

/// Rows per second, infinite for what takes no time or is not known.
fn rate(rows: usize, took: Option<Duration>) -> f64 {
    rows as f64 / took.unwrap_or_default().as_secs_f64()
}

/// A batch that is being filled.
pub(super) struct Plan<'a> {
    /// None: deadlines are not looked at.
    costs: Option<&'a Costs>,
    rows: usize,
    why: Why,
    joined: usize,
    /// The time left to each row that joined and will be in time.
    in_time: Vec<Duration>,
}

impl Plan<'_> {
    /// Rows at most; at least one.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What decided, once the batch is filled.
    pub fn why(&self) -> Why {
        self.why
    }

    /// Whether the next row in turn, with so much time left, joins. The first one always does. Another one does not
    /// when the longer batch would make one late that would be in time without it.
    pub fn joins(&mut self, left: Option<Duration>) -> bool {
        let rows = self.joined + 1;
        let took = self.costs.and_then(|costs| costs.takes_at_most(rows)).unwrap_or_default();
        if self.in_time.iter().any(|&left| left < took) && self.may_end_early() {
            self.why = Why::Deadline;
            return false;
        }
        self.joined = rows;
        self.in_time.extend(left);
        self.in_time.retain(|&left| left >= took);
        true
    }

    fn may_end_early(&self) -> bool {
        let rate = |rows| rate(rows, self.costs.and_then(|costs| costs.takes_at_most(rows)));
        rate(self.joined) >= DEADLINE_RATE_MIN * rate(self.rows)
    }
}
