use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Batches of one size whose median counts. One may be late by anything that the machine does beside.
const KEPT: usize = 31;
/// With fewer of a size nothing is said about it: the first ones warm caches.
const ENOUGH: usize = 5;
/// Batches of other sizes after which a size's own are too old. What a machine does beside comes and goes.
const OLD: u64 = 4096;

/// What batches of each size took, lately. Age is counted in batches: it reads no clock.
#[derive(Default)]
pub(super) struct Costs {
    sizes: BTreeMap<usize, Size>,
    batches: u64,
}

#[derive(Default)]
struct Size {
    took: VecDeque<Duration>,
    median: Duration,
    /// The number of its last batch.
    last: u64,
}

impl Costs {
    /// Adds a batch; returns the median of its size.
    pub fn record(&mut self, rows: usize, took: Duration) -> Duration {
        self.batches += 1;
        let now = self.batches;
        self.sizes.retain(|_, size| now - size.last <= OLD);
        let size = self.sizes.entry(rows).or_default();
        if size.took.len() == KEPT {
            size.took.pop_front();
        }
        size.took.push_back(took);
        size.last = now;
        let mut sorted: Vec<Duration> = size.took.iter().copied().collect();
        let (_, &mut median, _) = sorted.select_nth_unstable((size.took.len() - 1) / 2);
        size.median = median;
        median
    }

    /// What a batch of this size takes, when enough of them were seen.
    pub fn of(&self, rows: usize) -> Option<Duration> {
        self.sizes.get(&rows).filter(|size| size.took.len() >= ENOUGH).map(|size| size.median)
    }

    /// What a batch of this size takes at most, from the sizes that were seen: a larger one's time, or that of the
    /// largest for each of its rows. None before anything is known.
    pub fn at_most(&self, rows: usize) -> Option<Duration> {
        let known = |(&size, _): (&usize, &Size)| Some((size, self.of(size)?));
        if let Some((_, took)) = self.sizes.range(rows..).find_map(known) {
            return Some(took);
        }
        let (largest, took) = self.sizes.range(..rows).rev().find_map(known)?;
        Some(took.mul_f64(rows as f64 / largest as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn costs(batches: &[(usize, u32)]) -> Costs {
        let mut costs = Costs::default();
        for &(rows, ms) in batches {
            (0..ENOUGH).for_each(|_| _ = costs.record(rows, ms * MS));
        }
        costs
    }

    #[test]
    fn a_size_is_known_when_enough_batches_agree_and_one_outlier_does_not_count() {
        let mut costs = Costs::default();
        for _ in 1..ENOUGH {
            costs.record(2, MS);
            assert_eq!(costs.of(2), None);
        }
        assert_eq!(costs.record(2, 1000 * MS), MS);
        assert_eq!((costs.of(2), costs.of(1)), (Some(MS), None));
    }

    #[test]
    fn the_past_is_forgotten() {
        let mut costs = costs(&[(8, 9), (1, 1)]);
        (0..KEPT).for_each(|_| _ = costs.record(1, 3 * MS));
        assert_eq!((costs.of(1), costs.of(8)), (Some(3 * MS), Some(9 * MS)));
        (0..OLD).for_each(|_| _ = costs.record(1, MS));
        assert_eq!((costs.of(1), costs.of(8)), (Some(MS), None));
        assert_eq!(costs.sizes.len(), 1);
    }

    #[test]
    fn unseen_sizes_are_judged_by_their_neighbours() {
        assert_eq!(Costs::default().at_most(3), None);
        let costs = costs(&[(2, 3), (4, 5)]);
        assert_eq!([1, 2, 3, 4, 8].map(|rows| costs.at_most(rows).unwrap()), [3, 3, 5, 5, 10].map(|ms| ms * MS));
    }
}
