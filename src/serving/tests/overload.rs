//! Admission and queue together, simulated: no thread, no engine, time counted in rows served.

use std::collections::VecDeque;

use super::*;
use crate::random::Random;
use crate::registry::TaskName;
use crate::serving::queue::{Entry, Queue};

/// A row of a task, and how many rows had been served when it came.
struct Arrived {
    task: usize,
    served: usize,
}

impl Entry for Arrived {
    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn is_abandoned(&self) -> bool {
        false
    }
}

/// Ten calls for every row that is served; `pick` chooses their tasks. Returns the waits, in rows served.
fn overload(rows_max: usize, mut pick: impl FnMut() -> usize) -> Vec<usize> {
    let metrics = Arc::new(Metrics::new(vec![]));
    let (admission, now) = (Admission::new(rows_max, 0, Arc::default(), metrics), Instant::now());
    let names: Vec<TaskName> = (0..8).map(|i| TaskName::parse(&format!("t{i}")).unwrap()).collect();
    let mut permits: Vec<VecDeque<RowPermits>> = names.iter().map(|_| VecDeque::new()).collect();
    let (mut queue, mut waits) = (Queue::default(), vec![]);
    for served in 0..20_000 {
        for _ in 0..10 {
            let at = pick();
            if let Ok(permit) = admission.admit_rows(1, [&names[at]].into_iter()) {
                permits[at].push_back(permit);
                queue.push(at, Arrived { task: at, served });
            }
        }
        if let Some(row) = queue.take(1, now).run.pop() {
            permits[row.task].pop_front();
            waits.push(served - row.served);
        }
    }
    waits
}

#[test]
fn under_overload_nobody_admitted_waits_longer_than_the_whole_queue_takes() {
    let mut random = Random::seeded(1);
    let even = overload(256, || (random.bits() % 8) as usize);
    let mut random = Random::seeded(2);
    let skewed = overload(256, || [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 5, 6, 7, 7, 7][(random.bits() % 16) as usize]);
    for waits in [even, skewed] {
        let mut waits = waits;
        waits.sort_unstable();
        let p99 = waits[waits.len() * 99 / 100];
        assert!(p99 <= 256 * 3 / 2, "p99 is {p99} rows");
    }
}
