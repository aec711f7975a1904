//! How many of the rows that wait make the next batch: the fewest that the engine computes as fast, row by row, as it
//! could.
//!
//! Where a batch costs something of its own, a row is the cheaper the more share it, and the batch takes all that wait.
//! Where it costs nothing (our own engine on a processor: twice the rows take twice the time), rows that wait for each
//! other only wait, and each runs as soon as it can. Nothing ever waits for rows that may come.
//!
//! A smaller batch must not be slower per row: what is lost there is lost for every row behind, and under load that is
//! more than the first ones gain (the simulations of these tests show it).

use std::time::Duration;

use super::costs::Costs;
use super::settings::BatchPlan;

/// A size is as fast as another when its rows per second are at least this part of the other's: closer, what was
/// measured does not tell.
const AS_FAST: f64 = 0.98;
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
    /// Fewer rows are computed as fast, one by one.
    Small,
    /// What this size takes is not known.
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
            Self::Small => "small",
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

    /// A batch ended. Returns what one of this size takes by now.
    pub fn learn(&mut self, rows: usize, took: Duration) -> Duration {
        self.costs.record(rows, took)
    }

    /// Whether a batch of this size is one of those that are tried, and shown.
    pub fn tries(&self, rows: usize) -> bool {
        rows.is_power_of_two() || rows == self.rows_max
    }

    /// The next batch, when so many rows wait.
    pub fn plan(&self, waiting: usize) -> Plan<'_> {
        let fit = waiting.clamp(1, self.rows_max);
        let whole = if waiting > fit { Why::Full } else { Why::All };
        let (costs, rows, why) = match self.plan {
            BatchPlan::Full => (None, fit, whole),
            BatchPlan::Measured => {
                let (rows, why) = self.choose(fit);
                (Some(&self.costs), rows, if rows == fit { whole } else { why })
            }
        };
        Plan { costs, rows, why, joined: 0, in_time: vec![] }
    }

    /// The batch of `fit` rows or a part of them. The parts that are considered are powers of two, so that few sizes are
    /// to be measured; those that are not known are tried, the largest first.
    fn choose(&self, fit: usize) -> (usize, Why) {
        let parts = (0..usize::BITS).map(|power| 1 << power).take_while(|&part| part < fit);
        let sizes: Vec<usize> = parts.chain([fit]).collect();
        if let Some(&unknown) = sizes.iter().rev().find(|&&size| self.costs.of(size).is_none()) {
            return (unknown, Why::Measure);
        }
        let rate = |size: usize| rate(size, self.costs.of(size));
        let best = sizes.iter().map(|&size| rate(size)).fold(0.0, f64::max);
        let fast = sizes.iter().copied().find(|&size| rate(size) >= AS_FAST * best);
        (fast.unwrap_or(fit), Why::Small)
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
        let took = self.costs.and_then(|costs| costs.at_most(rows)).unwrap_or_default();
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
        let rate = |rows| rate(rows, self.costs.and_then(|costs| costs.at_most(rows)));
        rate(self.joined) >= DEADLINE_RATE_MIN * rate(self.rows)
    }
}
