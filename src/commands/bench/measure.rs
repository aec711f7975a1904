use std::time::{Duration, Instant};

use indicatif::ProgressBar;

/// Runs every case once a round, so that what else the machine does falls on all of them; answers with each case's
/// times. A round before the first, not counted, warms caches and pools.
pub fn alternate<E>(
    cases: usize,
    rounds: usize,
    bar: &ProgressBar,
    mut run: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<Vec<Duration>>, E> {
    let mut times = vec![Vec::with_capacity(rounds); cases];
    for round in 0..=rounds {
        for (case, times) in times.iter_mut().enumerate() {
            let start = Instant::now();
            run(case)?;
            if round > 0 {
                times.push(start.elapsed());
            }
            bar.inc(1);
        }
    }
    Ok(times)
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
        let run = |case| {
            order.push(case);
            Ok::<_, ()>(())
        };
        let times = alternate(2, 2, &ProgressBar::hidden(), run).expect("no run fails");
        assert_eq!(order, [0, 1, 0, 1, 0, 1]);
        assert!(times.iter().all(|times| times.len() == 2));
    }

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let times: Vec<_> = (1..=10).rev().map(Duration::from_millis).collect();
        let at = |percent| percentile(&times, percent).as_millis();
        assert_eq!([at(50), at(99), at(100), at(1)], [5, 10, 10, 1]);
    }
}
