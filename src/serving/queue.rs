//! One queue for all tasks: start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) with rows of cost one.
//!
//! Each lane (a task; the probes are one more) has a virtual start: how many turns it has had. The lane that has had
//! the fewest goes next, equals in the order in which they began to wait. A lane that was idle starts at the turn
//! being served, so that it gains no credit. Hence of two lanes that both have rows waiting neither gets more than one
//! row ahead of the other, whatever their loads.
//!
//! A pure state machine: it is given the time, and every row that was put in comes out exactly once, to run or as
//! expired or abandoned.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Instant;

/// Empty lanes kept beyond twice the busy ones before those that hold no debt are forgotten.
const IDLE_LANES_MAX: usize = 64;

/// What the queue needs to know of a row.
pub trait Entry {
    /// From when on it must not run.
    fn deadline(&self) -> Option<Instant>;
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
}

/// Rows of all lanes; `K` names a lane.
pub struct Queue<K, T> {
    lanes: HashMap<K, Lane<T>>,
    /// The lanes that have rows, by turn. Never more than one place per lane.
    next: BTreeMap<Place, K>,
    /// Virtual start of the row served last.
    now_serving: u64,
    arrivals: u64,
    len: usize,
}

/// Virtual start, then the order of arrival among equals.
type Place = (u64, u64);

struct Lane<T> {
    rows: VecDeque<T>,
    place: Place,
}

/// What came out of the queue.
#[derive(Debug)]
pub struct Taken<T> {
    /// Rows to run now, in serving order.
    pub run: Vec<T>,
    /// Rows whose deadline has passed.
    pub expired: Vec<T>,
    /// Rows that nobody waits for.
    pub abandoned: Vec<T>,
}

impl<T> Default for Taken<T> {
    fn default() -> Self {
        Self { run: vec![], expired: vec![], abandoned: vec![] }
    }
}

impl<T: Entry> Taken<T> {
    /// Returns the row if it may still run.
    fn sort_out(&mut self, row: T, now: Instant) -> Option<T> {
        match Fate::of(&row, now) {
            Fate::Runs => return Some(row),
            Fate::Expired => self.expired.push(row),
            Fate::Abandoned => self.abandoned.push(row),
        }
        None
    }
}

/// What should become of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may run.
    Runs,
    /// Its deadline has passed.
    Expired,
    /// Nobody waits for it.
    Abandoned,
}

impl Fate {
    /// A late row counts as late even if its caller has left because of it.
    pub fn of(row: &impl Entry, now: Instant) -> Self {
        if row.deadline().is_some_and(|deadline| deadline <= now) {
            Self::Expired
        } else if row.is_abandoned() {
            Self::Abandoned
        } else {
            Self::Runs
        }
    }
}

impl<K, T> Default for Queue<K, T> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), next: BTreeMap::new(), now_serving: 0, arrivals: 0, len: 0 }
    }
}

impl<K: Clone + Eq + Hash, T: Entry> Queue<K, T> {
    /// Puts a row at the end of its lane.
    pub fn push(&mut self, lane: K, row: T) {
        let idle = || Lane { rows: VecDeque::new(), place: (0, 0) };
        let entry = self.lanes.entry(lane.clone()).or_insert_with(idle);
        if entry.rows.is_empty() {
            self.arrivals += 1;
            entry.place = (entry.place.0.max(self.now_serving), self.arrivals);
            self.next.insert(entry.place, lane);
        }
        entry.rows.push_back(row);
        self.len += 1;
    }

    /// Takes at most `rows_max` rows that may run, and the dead ones that were before them.
    pub fn take(&mut self, rows_max: usize, now: Instant) -> Taken<T> {
        self.take_while(rows_max, now, |_| true)
    }

    /// Like [`Self::take`], and stops before the first row that does not join, which keeps its turn.
    pub fn take_while(&mut self, rows_max: usize, now: Instant, mut joins: impl FnMut(&T) -> bool) -> Taken<T> {
        let mut taken = Taken::default();
        let mut ends = false;
        while taken.run.len() < rows_max && !ends {
            let Some((place, name)) = self.next.pop_first() else { break };
            let lane = self.lanes.get_mut(&name).expect("a lane with a place exists");
            let before = lane.rows.len();
            while let Some(row) = lane.rows.pop_front() {
                let Some(row) = taken.sort_out(row, now) else { continue };
                ends = !joins(&row);
                if ends {
                    lane.rows.push_front(row);
                } else {
                    taken.run.push(row);
                    self.now_serving = place.0;
                    self.arrivals += 1;
                    lane.place = (place.0 + 1, self.arrivals);
                }
                break;
            }
            self.len -= before - lane.rows.len();
            if !lane.rows.is_empty() {
                self.next.insert(lane.place, name);
            }
        }
        self.forget_idle_lanes();
        taken
    }

    /// Takes out every row that must not run any more; `run` stays empty. O(rows).
    pub fn sweep(&mut self, now: Instant) -> Taken<T> {
        let mut swept = Taken::default();
        for lane in self.lanes.values_mut().filter(|lane| !lane.rows.is_empty()) {
            let rows = std::mem::take(&mut lane.rows);
            lane.rows = rows.into_iter().filter_map(|row| swept.sort_out(row, now)).collect();
            if lane.rows.is_empty() {
                self.next.remove(&lane.place);
            }
        }
        self.len -= swept.expired.len() + swept.abandoned.len();
        swept
    }

    /// Takes every row, dead or alive.
    pub fn take_all(&mut self) -> Vec<T> {
        self.next.clear();
        self.len = 0;
        self.lanes.drain().flat_map(|(_, lane)| lane.rows).collect()
    }

    /// Rows in the queue.
    pub fn rows(&self) -> usize {
        self.len
    }

    /// An idle lane is worth remembering only while it has had more turns than the one being served.
    fn forget_idle_lanes(&mut self) {
        if self.lanes.len() > 2 * self.next.len() + IDLE_LANES_MAX {
            let now_serving = self.now_serving;
            self.lanes.retain(|_, lane| !lane.rows.is_empty() || lane.place.0 > now_serving);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::{BTreeSet, HashSet};
    use std::rc::Rc;
    use std::time::Duration;

    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    struct Row {
        id: usize,
        lane: u8,
        deadline: Option<Instant>,
        abandoned: Rc<Cell<bool>>,
    }

    impl Entry for Row {
        fn deadline(&self) -> Option<Instant> {
            self.deadline
        }

        fn is_abandoned(&self) -> bool {
            self.abandoned.get()
        }
    }

    fn row(id: usize, lane: u8) -> Row {
        Row { id, lane, deadline: None, abandoned: Rc::default() }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push {
            lane: u8,
            lives_ms: Option<u64>,
        },
        Abandon {
            nth: usize,
        },
        Wait {
            ms: u64,
        },
        Take {
            rows_max: usize,
        },
        /// Up to the first row of this lane.
        TakeUpTo {
            lane: u8,
        },
        Sweep,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u8..5, prop::option::weighted(0.3, 0u64..50)).prop_map(|(lane, lives_ms)| Step::Push { lane, lives_ms }),
            1 => (0usize..64).prop_map(|nth| Step::Abandon { nth }),
            1 => (0u64..20).prop_map(|ms| Step::Wait { ms }),
            2 => (0usize..9).prop_map(|rows_max| Step::Take { rows_max }),
            1 => (0u8..5).prop_map(|lane| Step::TakeUpTo { lane }),
            1 => Just(Step::Sweep),
        ]
    }

    /// What must hold of everything that came out.
    fn check(taken: &Taken<Row>, waiting: &[Row], now: Instant) -> Result<(), TestCaseError> {
        let expired = |row: &Row| row.deadline.is_some_and(|d| d <= now);
        prop_assert!(taken.run.iter().all(|row| !expired(row) && !row.is_abandoned()), "a dead row was to run");
        prop_assert!(taken.expired.iter().all(expired));
        prop_assert!(taken.abandoned.iter().all(|row| row.is_abandoned() && !expired(row)));
        for lane in 0..5 {
            let alive = |row: &&Row| row.lane == lane && !expired(row) && !row.is_abandoned();
            let first_waiting = waiting.iter().filter(alive).map(|row| row.id);
            let ran = taken.run.iter().filter(|row| row.lane == lane).map(|row| row.id);
            prop_assert!(ran.clone().eq(first_waiting.take(ran.count())), "lane {lane} is not first in, first out");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn every_row_comes_out_once_in_order_and_never_dead(steps in prop::collection::vec(step(), 1..200)) {
            let mut now = Instant::now();
            let mut queue = Queue::default();
            let mut waiting: Vec<Row> = vec![];
            for (id, step) in steps.into_iter().enumerate() {
                let taken = match step {
                    Step::Push { lane, lives_ms } => {
                        let deadline = lives_ms.map(|ms| now + Duration::from_millis(ms));
                        let row = Row { deadline, ..row(id, lane) };
                        waiting.push(row.clone());
                        queue.push(lane, row);
                        continue;
                    }
                    Step::Abandon { nth } => {
                        waiting.get(nth).iter().for_each(|row| row.abandoned.set(true));
                        continue;
                    }
                    Step::Wait { ms } => {
                        now += Duration::from_millis(ms);
                        continue;
                    }
                    Step::Take { rows_max } => {
                        let taken = queue.take(rows_max, now);
                        let alive = |row: &&Row| !row.is_abandoned() && row.deadline.is_none_or(|d| d > now);
                        let alive = waiting.iter().filter(alive).count();
                        prop_assert_eq!(taken.run.len(), rows_max.min(alive), "the engine got less than there was");
                        taken
                    }
                    Step::TakeUpTo { lane } => {
                        let taken = queue.take_while(usize::MAX, now, |row| row.lane != lane);
                        prop_assert!(taken.run.iter().all(|row| row.lane != lane));
                        taken
                    }
                    Step::Sweep => {
                        let swept = queue.sweep(now);
                        prop_assert!(swept.run.is_empty());
                        swept
                    }
                };
                check(&taken, &waiting, now)?;
                let out = [&taken.run[..], &taken.expired, &taken.abandoned].concat();
                let out_ids: BTreeSet<usize> = out.iter().map(|row| row.id).collect();
                prop_assert_eq!(out_ids.len(), out.len(), "a row came out twice");
                let before = waiting.len();
                waiting.retain(|row| !out_ids.contains(&row.id));
                prop_assert_eq!(before - waiting.len(), out.len(), "a row came out that was not in");
                prop_assert_eq!(queue.rows(), waiting.len());
                prop_assert_eq!(queue.next.len(), waiting.iter().map(|r| r.lane).collect::<HashSet<_>>().len());
            }
            let rest: BTreeSet<usize> = queue.take_all().iter().map(|row| row.id).collect();
            prop_assert_eq!(rest, waiting.iter().map(|row| row.id).collect());
            prop_assert_eq!(queue.rows(), 0);
        }

        /// Over any stretch in which two lanes both have rows waiting, neither gets more than one row ahead.
        #[test]
        fn busy_lanes_get_equal_shares(
            steps in prop::collection::vec((0usize..12, prop::collection::vec(0u8..6, 0..20)), 1..60)
        ) {
            let now = Instant::now();
            let mut queue = Queue::default();
            // Lanes 0 and 1 always have rows; the others come and go.
            (0..2000).for_each(|id| queue.push((id % 2) as u8, row(id, (id % 2) as u8)));
            // What every lane had been served when a lane came first, and when it came last.
            let (mut served, mut first, mut last) = ([0i64; 6], [None; 6], [[0i64; 6]; 6]);
            let mut waiting = [1000i64, 1000, 0, 0, 0, 0];
            for (rows_max, arrivals) in steps {
                for lane in arrivals {
                    let at = usize::from(lane);
                    first[at].get_or_insert(served);
                    if waiting[at] == 0 {
                        last[at] = served;
                    }
                    waiting[at] += 1;
                    queue.push(lane, row(usize::MAX, lane));
                }
                for _ in 0..rows_max {
                    let Some(row) = queue.take(1, now).run.pop() else { break };
                    let lane = usize::from(row.lane);
                    served[lane] += 1;
                    waiting[lane] -= 1;
                    for busy in 0..2 {
                        let since = first[lane].unwrap_or_default();
                        let ahead = (served[lane] - since[lane]) - (served[busy] - since[busy]);
                        prop_assert!(ahead <= 1, "lane {lane} is {ahead} rows ahead of busy lane {busy}");
                        for other in (0..6).filter(|&other| waiting[other] > 0) {
                            let since = last[other];
                            let behind = (served[busy] - since[busy]) - (served[other] - since[other]);
                            prop_assert!(behind <= 1, "lane {other} waits {behind} rows behind busy lane {busy}");
                        }
                    }
                }
            }
        }
    }

    fn lanes(queue: &mut Queue<u8, Row>, rows_max: usize) -> Vec<u8> {
        queue.take(rows_max, Instant::now()).run.iter().map(|row| row.lane).collect()
    }

    #[test]
    fn lanes_take_turns_within_a_batch() {
        let mut queue = Queue::default();
        for (id, lane) in [1, 1, 1, 1, 2, 2, 3].into_iter().enumerate() {
            queue.push(lane, row(id, lane));
        }
        assert_eq!(lanes(&mut queue, 7), [1, 2, 3, 1, 2, 1, 1]);
    }

    #[test]
    fn a_row_that_does_not_join_keeps_its_turn() {
        let mut queue = Queue::default();
        for (id, lane) in [1, 2, 3, 1, 2, 3].into_iter().enumerate() {
            queue.push(lane, row(id, lane));
        }
        let taken = queue.take_while(6, Instant::now(), |row| row.lane != 2);
        assert_eq!((taken.run.len(), queue.rows()), (1, 5));
        assert_eq!(lanes(&mut queue, 6), [2, 3, 1, 2, 3]);
    }

    #[test]
    fn an_idle_lane_gains_no_credit() {
        let mut queue = Queue::default();
        (0..100).for_each(|id| queue.push(1, row(id, 1)));
        assert_eq!(lanes(&mut queue, 50), [1; 50]);
        (0..10).for_each(|id| queue.push(2, row(id, 2)));
        assert_eq!(lanes(&mut queue, 6), [2, 1, 2, 1, 2, 1], "fifty idle turns are not made up for");
    }

    #[test]
    fn a_lane_that_comes_back_at_once_starves_nobody() {
        let mut queue = Queue::default();
        (0..10).for_each(|id| queue.push(1, row(id, 1)));
        queue.push(2, row(0, 2));
        let mut ran = vec![];
        while ran.len() < 8 {
            ran.extend(lanes(&mut queue, 1));
            if ran.last() == Some(&2) {
                queue.push(2, row(ran.len(), 2));
            }
        }
        assert_eq!(ran, [1, 2, 1, 2, 1, 2, 1, 2]);
    }

    #[test]
    fn dead_rows_cost_their_lane_no_turn() {
        let mut queue = Queue::default();
        let dead = row(0, 1);
        dead.abandoned.set(true);
        queue.push(1, dead);
        queue.push(1, row(1, 1));
        queue.push(2, row(2, 2));
        let taken = queue.take(1, Instant::now());
        assert_eq!((taken.run[0].id, taken.abandoned[0].id), (1, 0));
        assert_eq!(lanes(&mut queue, 2), [2]);
    }

    #[test]
    fn lanes_of_the_past_are_forgotten() {
        let mut queue = Queue::default();
        for lane in 0..10_000u32 {
            queue.push(lane, row(0, 0));
            queue.push(lane, row(0, 0));
            assert_eq!(queue.take(2, Instant::now()).run.len(), 2);
        }
        assert!(queue.lanes.len() <= IDLE_LANES_MAX + 2, "{}", queue.lanes.len());
    }
}
