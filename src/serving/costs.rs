use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Comparisons of a size whose median counts.
const KEPT: usize = 61;
/// With fewer nothing is said about a size: the first ones warm caches. A batch is compared with the one before and with
/// the one after it.
const ENOUGH: usize = 9;
/// Batches of other sizes after which a size is forgotten.
const OLD: u64 = 4096;
/// Weight of a batch in the pace.
const PACE: f64 = 0.125;

/// What batches of each size cost. A machine is slower at one time than at another, so that batches of two sizes tell how
/// the sizes compare only when one came right after the other: costs are known beside each other, in a unit of
/// their own, and the seconds that a unit takes follow the machine. Age is counted in batches: it reads no clock.
#[derive(Default)]
pub(super) struct Costs {
    sizes: BTreeMap<usize, Size>,
    batches: u64,
    rows: u64,
    /// Rows and seconds of the last batch.
    before: Option<(usize, f64)>,
    /// Seconds that a unit takes.
    pace: Option<f64>,
}

#[derive(Default)]
struct Size {
    compared: VecDeque<f64>,
    /// Their median, when there are enough.
    cost: Option<f64>,
    /// The number of the batch with which it was known.
    known: Option<u64>,
    /// The number of its last batch.
    last: u64,
    /// Rows of all sizes up to then.
    last_rows: u64,
}

impl Size {
    fn compare(&mut self, cost: f64, batch: u64) {
        if self.compared.len() == KEPT {
            self.compared.pop_front();
        }
        self.compared.push_back(cost);
        if self.compared.len() >= ENOUGH {
            let mut sorted: Vec<f64> = self.compared.iter().copied().collect();
            let middle = (sorted.len() - 1) / 2;
            self.cost = Some(*sorted.select_nth_unstable_by(middle, f64::total_cmp).1);
            self.known.get_or_insert(batch);
        }
    }
}

impl Costs {
    /// Adds a batch.
    pub fn record(&mut self, rows: usize, took: Duration) {
        let seconds = took.max(Duration::from_nanos(1)).as_secs_f64();
        self.batches += 1;
        self.rows += rows as u64;
        self.sizes.retain(|_, size| self.batches - size.last <= OLD);
        if !self.sizes.values().any(|size| size.cost.is_some()) {
            // Whatever is seen first is the measure of the others.
            let known = Some(self.batches);
            let unit = Size { compared: vec![1.0; KEPT].into(), cost: Some(1.0), known, ..Size::default() };
            (self.sizes, self.pace) = (BTreeMap::from([(rows, unit)]), None);
        }
        let size = self.sizes.entry(rows).or_default();
        (size.last, size.last_rows) = (self.batches, self.rows);
        if let Some(before) = self.before.replace((rows, seconds)).filter(|before| before.0 != rows) {
            self.compare(before, (rows, seconds));
        }
        if let Some(cost) = self.of(rows) {
            let pace = self.pace.unwrap_or(seconds / cost);
            self.pace = Some(pace + PACE * (seconds / cost - pace));
        }
    }

    /// Of two batches, rows and seconds, that followed each other: the size that was known first tells about the other.
    /// Never the other way round: sizes that tell about each other would tell errors on and on, and costs would drift.
    fn compare(&mut self, one: (usize, f64), other: (usize, f64)) {
        let known = |(rows, _)| self.sizes.get(&rows).and_then(|size| size.known).unwrap_or(u64::MAX);
        let (first, second) = if known(one) <= known(other) { (one, other) } else { (other, one) };
        if let (Some(cost), Some(size)) = (self.of(first.0), self.sizes.get_mut(&second.0)) {
            size.compare(cost * second.1 / first.1, self.batches);
        }
    }

    /// What a batch of this size costs beside others, when enough were compared.
    pub fn of(&self, rows: usize) -> Option<f64> {
        self.sizes.get(&rows)?.cost
    }

    /// Whether a batch that comes now can be compared with the one before.
    pub fn compares(&self) -> bool {
        self.before.is_some_and(|(rows, _)| self.of(rows).is_some())
    }

    /// Rows of all batches since the last one of at least this size.
    pub fn rows_since(&self, rows: usize) -> u64 {
        self.rows - self.sizes.range(rows..).map(|(_, size)| size.last_rows).max().unwrap_or_default()
    }

    /// What a batch of this size takes, lately.
    pub fn takes(&self, rows: usize) -> Option<Duration> {
        Duration::try_from_secs_f64(self.of(rows)? * self.pace?).ok()
    }

    /// What a batch of this size takes at most, from the sizes that are known: a larger one's time, or that of the
    /// largest for each of its rows. None before anything is known.
    pub fn takes_at_most(&self, rows: usize) -> Option<Duration> {
        let known = |(&size, _): (&usize, &Size)| Some((size, self.takes(size)?));
        if let Some((_, took)) = self.sizes.range(rows..).find_map(known) {
            return Some(took);
        }
        let (largest, took) = self.sizes.range(..rows).rev().find_map(known)?;
        Duration::try_from_secs_f64(took.as_secs_f64() * rows as f64 / largest as f64).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Batches of these rows and milliseconds in turns, until all are known.
    fn costs(batches: &[(usize, u32)]) -> Costs {
        let mut costs = Costs::default();
        for _ in 0..ENOUGH * batches.len() {
            batches.iter().for_each(|&(rows, ms)| costs.record(rows, ms * MS));
        }
        costs
    }

    fn ms(took: Option<Duration>) -> Option<u32> {
        took.map(|took| (took.as_secs_f64() * 1e3).round() as u32)
    }

    #[test]
    fn sizes_compare_by_batches_that_follow_each_other_and_outliers_do_not_count() {
        let mut costs = Costs::default();
        for (turn, slow) in [1, 3, 3, 1, 1, 20].into_iter().enumerate() {
            assert_eq!(costs.of(1).is_some(), 2 * turn > ENOUGH);
            costs.record(8, 9 * slow * MS);
            costs.record(1, if turn == 0 { 100 * MS } else { 3 * slow * MS });
            assert!(costs.compares() || 2 * turn + 1 < ENOUGH);
        }
        assert!((costs.of(8).unwrap() / costs.of(1).unwrap() - 3.0).abs() < 1e-9);
        assert_eq!(costs.of(2), None);
    }

    #[test]
    fn the_machine_may_become_slower() {
        let mut costs = costs(&[(1, 2), (8, 9)]);
        assert_eq!((ms(costs.takes(1)), ms(costs.takes(8))), (Some(2), Some(9)));
        (0..100).for_each(|_| costs.record(1, 4 * MS));
        assert_eq!((ms(costs.takes(1)), ms(costs.takes(8))), (Some(4), Some(18)));
    }

    /// The first batch after one of another size is slower: caches and buffers are for the other.
    #[test]
    fn costs_do_not_drift_where_a_change_of_size_costs_something() {
        let mut costs = Costs::default();
        let mut record = |rows: u32, ms: f64| costs.record(rows as usize, Duration::from_secs_f64(1e-3 * ms));
        for turn in 0..200_000 {
            for rows in [1, 8, 3] {
                [1.1, 1.0].into_iter().for_each(|slower| record(rows, slower * f64::from(rows)));
            }
            if turn % 500 == 0 {
                record(5, 5.5);
            }
        }
        for rows in [1, 3, 5, 8] {
            let [cost, one] = [rows, 1].map(|rows| costs.of(rows).unwrap());
            let (relative, took) = (cost / one / rows as f64, 1e3 * costs.takes(rows).unwrap().as_secs_f64());
            assert!((0.8..1.25).contains(&relative), "{rows} rows cost {relative} times as much as they should");
            assert!((0.8..1.25).contains(&(took / rows as f64)), "{rows} rows take {took} ms");
        }
    }

    #[test]
    fn the_past_is_forgotten_and_learned_again() {
        let mut costs = costs(&[(8, 9), (1, 1)]);
        assert_eq!(costs.rows_since(5), 1);
        (0..OLD).for_each(|_| costs.record(1, MS));
        assert_eq!((ms(costs.takes(1)), ms(costs.takes(8)), costs.sizes.len()), (Some(1), None, 1));
        (0..=OLD).for_each(|_| costs.record(2, 2 * MS));
        assert_eq!((ms(costs.takes(1)), ms(costs.takes(2))), (None, Some(2)));
    }

    #[test]
    fn unseen_sizes_are_judged_by_their_neighbours() {
        assert_eq!(Costs::default().takes_at_most(3), None);
        let costs = costs(&[(2, 3), (4, 5)]);
        assert_eq!([1, 2, 3, 4, 8].map(|rows| ms(costs.takes_at_most(rows)).unwrap()), [3, 3, 5, 5, 10]);
    }
}
