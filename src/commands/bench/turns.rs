use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// When a case has been measured enough.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// After so many batches.
    Batches(usize),
    /// After so long, and at least three batches.
    Time(Duration),
}

/// Fewer have no median worth printing.
const BATCHES_MIN: usize = 3;

/// Steps of the progress bar for each case.
const STEPS: u64 = 1000;

/// Runs batches of the cases in turns, so that what else the machine does falls on all of them: next comes the case
/// that is furthest from the goal. `run` is told the case and how many batches of it there were. Answers with each
/// case's times; its first batch, which warms caches and pools, is not among them.
pub fn alternate<E>(
    cases: usize,
    goal: Goal,
    bar: &ProgressBar,
    mut run: impl FnMut(usize, usize) -> Result<(), E>,
) -> Result<Vec<Vec<Duration>>, E> {
    let mut measured: Vec<Measured> = (0..cases).map(|_| Measured::default()).collect();
    for case in 0..cases {
        run(case, 0)?;
    }
    while let Some(case) = next(&measured, goal) {
        let start = Instant::now();
        run(case, measured[case].times.len() + 1)?;
        measured[case].add(start.elapsed());
        bar.set_position(measured.iter().map(|case| steps(case.share(goal))).sum());
    }
    Ok(measured.into_iter().map(|case| case.times).collect())
}

/// A bar for that many cases.
pub fn bar(cases: usize, message: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent} %, {eta} left").expect("a valid template");
    ProgressBar::new(cases as u64 * STEPS).with_style(style).with_message(message)
}

/// Steps of a case of whose `all` things so many are done.
pub fn part(done: usize, all: usize) -> u64 {
    STEPS * done as u64 / all.max(1) as u64
}

#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    sum: Duration,
}

impl Measured {
    fn add(&mut self, time: Duration) {
        self.times.push(time);
        self.sum += time;
    }

    /// How much of the goal is done; 1 is all.
    #[expect(clippy::cast_precision_loss, reason = "batches are few")]
    fn share(&self, goal: Goal) -> f64 {
        let batches = self.times.len() as f64;
        match goal {
            Goal::Batches(all) => batches / all as f64,
            Goal::Time(all) => (batches / BATCHES_MIN as f64).min(self.sum.as_secs_f64() / all.as_secs_f64()),
        }
    }
}

/// The case that is furthest from the goal, the first among equals.
fn next(measured: &[Measured], goal: Goal) -> Option<usize> {
    let shares = measured.iter().map(|case| case.share(goal)).enumerate();
    shares.filter(|(_, share)| *share < 1.0).min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(case, _)| case)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is between 0 and 1 here")]
fn steps(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * STEPS as f64) as u64
}

/// The time that this part of the runs did not exceed: the nearest rank, so a time that was measured.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_take_turns() {
        let mut order = Vec::new();
        let run = |case, turn| {
            order.push((case, turn));
            Ok::<_, ()>(())
        };
        let times = alternate(2, Goal::Batches(2), &ProgressBar::hidden(), run).expect("no run fails");
        assert_eq!(order, [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]);
        assert!(times.iter().all(|times| times.len() == 2));
    }

    #[test]
    fn slow_cases_get_their_batches_and_fast_ones_their_time() {
        let measured = |millis: &[u64]| {
            let mut measured = Measured::default();
            millis.iter().for_each(|&ms| measured.add(Duration::from_millis(ms)));
            measured
        };
        let goal = Goal::Time(Duration::from_millis(100));
        let shares = [&[200, 200][..], &[200; 3], &[10; 5], &[25; 4]].map(|millis| measured(millis).share(goal));
        assert_eq!(shares, [2.0 / 3.0, 1.0, 0.5, 1.0]);
        assert_eq!(next(&[measured(&[200, 200]), measured(&[10; 5]), measured(&[25; 4])], goal), Some(1));
        assert_eq!(next(&[measured(&[200; 3])], goal), None);
    }

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let times: Vec<_> = (1..=10).rev().map(Duration::from_millis).collect();
        let at = |percent| percentile(&times, percent).as_millis();
        assert_eq!([at(50), at(99), at(100), at(1)], [5, 10, 10, 1]);
    }
}
