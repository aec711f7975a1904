//! The planner of batch sizes: what it may never do, and what it is worth, simulated.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::random::Random;
use crate::serving::planner::{Plan, Planner, Why};
use crate::serving::waiting::Waiter;

const ROWS_MAX: usize = 16;
/// Sizes that are tried.
const SIZES: [usize; 5] = [1, 2, 4, 8, 16];
/// As many batches of each size make it known.
const ENOUGH: usize = 8;

/// A planner that knows what every size takes.
fn knowing(seconds: impl Fn(usize) -> f64) -> Planner {
    let mut planner = Planner::new(ROWS_MAX, BatchPlan::Measured);
    for rows in 1..=ROWS_MAX {
        (0..ENOUGH).for_each(|_| _ = planner.learn(rows, Duration::from_secs_f64(seconds(rows))));
    }
    planner
}

/// The rows of the batch when these wait, each with so much time left, and what decided.
fn filled(mut plan: Plan<'_>, left: impl IntoIterator<Item = Option<Duration>>) -> (usize, Why) {
    let rows = plan.rows();
    let joined = left.into_iter().take(rows).take_while(|&left| plan.joins(left)).count();
    (joined, plan.why())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn lefts(rows: usize) -> impl Strategy<Value = Vec<Option<Duration>>> {
    prop::collection::vec(prop::option::of((0u64..2000).prop_map(ms)), rows)
}

proptest! {
    /// Whatever it has seen, and whenever rows would be late.
    #[test]
    fn a_batch_has_a_row_and_never_more_than_wait_or_fit(
        past in prop::collection::vec((1..=ROWS_MAX, 0u64..1000), 0..300),
        waiting in 1usize..100,
        left in lefts(100),
        plan in prop_oneof![Just(BatchPlan::Measured), Just(BatchPlan::Full)],
    ) {
        let mut planner = Planner::new(ROWS_MAX, plan);
        past.iter().for_each(|&(rows, took)| _ = planner.learn(rows, ms(took)));
        let most = planner.plan(waiting).rows();
        prop_assert!((1..=waiting.min(ROWS_MAX)).contains(&most));
        let (rows, _) = filled(planner.plan(waiting), left[..waiting].iter().copied());
        prop_assert!((1..=most).contains(&rows));
        prop_assert!(plan == BatchPlan::Measured || rows == waiting.min(ROWS_MAX));
    }

    /// For times that grow with the rows, evenly or not.
    #[test]
    fn rows_are_computed_nearly_as_fast_as_they_can_be(
        batch in 0.0f64..10.0,
        row in 0.01f64..1.0,
        power in 0.7f64..1.5,
        waiting in 1usize..100,
    ) {
        let seconds = |rows: usize| batch + row * (rows as f64).powf(power);
        let rate = |rows: usize| rows as f64 / seconds(rows);
        let rows = knowing(seconds).plan(waiting).rows();
        let sizes = SIZES.into_iter().filter(|&size| size < waiting).chain([waiting.min(ROWS_MAX)]);
        let best = sizes.clone().map(rate).fold(0.0, f64::max);
        prop_assert!(rate(rows) > 0.979 * best, "{rows} rows at {} of {best} per s", rate(rows));
        let fewer = sizes.filter(|&size| size < rows).map(rate).fold(0.0, f64::max);
        prop_assert!(fewer < 0.981 * best, "fewer than {rows} rows are as fast");
    }

    #[test]
    fn no_row_that_could_be_in_time_is_made_late(waiting in 1usize..=ROWS_MAX, left in lefts(ROWS_MAX)) {
        // A batch costs enough for full ones, and too little for a deadline to cost half of the speed.
        let seconds = |rows: usize| 0.1 + 0.1 * rows as f64;
        let planner = knowing(seconds);
        let left = &left[..waiting];
        let (rows, why) = filled(planner.plan(waiting), left.iter().copied());
        let took = |rows| Duration::from_secs_f64(seconds(rows));
        let made_late = |rows: usize| {
            let was_in_time = |&at: &usize| left[at].is_some_and(|left| left >= took(at + 1));
            (0..rows).filter(was_in_time).filter(|&at| left[at] < Some(took(rows))).count()
        };
        prop_assert_eq!(made_late(rows), 0);
        if why == Why::Deadline {
            prop_assert!(made_late(rows + 1) > 0, "one more row would have made nobody late");
        }
    }
}

#[test]
fn what_is_not_known_is_tried_and_everything_is_taken_until_then() {
    let mut planner = Planner::new(8, BatchPlan::Measured);
    let mut tried = vec![];
    loop {
        let plan = planner.plan(100);
        let (rows, why) = (plan.rows(), plan.why());
        if why == Why::Small {
            assert_eq!(rows, 1);
            break;
        }
        assert_eq!(why, if rows == 8 { Why::Full } else { Why::Measure });
        tried.push(rows);
        planner.learn(rows, ms(rows as u64));
    }
    tried.dedup();
    assert_eq!(tried, [8, 4, 2, 1]);
    let (three, whole) = (planner.plan(3).rows(), planner.plan(3).why());
    assert_eq!((three, whole), (3, Why::All), "no batch of three was seen");
    assert_eq!(planner.plan(4).rows(), 1, "four were");
}

#[test]
fn a_full_plan_learns_nothing_that_it_would_follow() {
    let mut planner = Planner::new(8, BatchPlan::Full);
    (0..ENOUGH).for_each(|_| [1, 2, 4, 8].into_iter().for_each(|rows| _ = planner.learn(rows, ms(rows as u64))));
    let hurried = std::iter::repeat(Some(ms(2)));
    assert_eq!(filled(planner.plan(8), hurried.clone()), (8, Why::All));
    assert_eq!(filled(planner.plan(9), hurried), (8, Why::Full));
}

#[test]
fn who_asks_rows_to_wait_for_each_other_gets_full_batches() {
    let asked = Settings { batch_delay_max: ms(1), ..Settings::default() };
    assert_eq!((asked.plan(), Settings::default().plan()), (BatchPlan::Full, BatchPlan::Measured));
}

/// The worker's part: rows that wait, their deadlines, the planner's word.
#[tokio::test]
async fn the_queue_gives_what_the_planner_says() {
    let bench = Bench::new(settings());
    let running = bench.occupy_engine().await;
    let deadline = Some(Instant::now() + Duration::from_secs(3200));
    let call = Request { deadline, ..bench.request(&[&[1], &[2], &[3], &[4], &[5]], &[version("b", 1.0, 2)]) };
    let call = bench.spawn(call);
    until(|| bench.queued() == 5).await;
    let next = |planner: &Planner| {
        let jobs = bench.serving.room.next(planner).expect("rows wait");
        let rows = jobs.len();
        jobs.into_iter().for_each(|job| job.fail(&RowError::DecoderFailed));
        rows
    };
    assert_eq!(next(&knowing(|rows| 2000.0 + 500.0 * rows as f64)), 2, "three would be late");
    assert_eq!(next(&knowing(|rows| rows as f64)), 1, "two would wait for each other");
    assert_eq!(next(&Planner::new(2, BatchPlan::Full)), 2);
    let counted = |why| bench.metrics.planner_batches_total.with_label_values(&[why]).get();
    assert_eq!(["deadline", "small", "full", "all"].map(counted), [1, 1, 0, 2], "the first one ran alone");
    bench.fake.release();
    running.await.unwrap();
    assert!(call.await.unwrap().iter().all(|row| matches!(row.result, Err(RowError::DecoderFailed))));
}

#[test]
fn a_row_in_a_hurry_does_not_cost_the_others_more_than_half_of_the_speed() {
    let hurried = |left| std::iter::once(Some(ms(left))).chain(std::iter::repeat(None));
    let dear_batches = knowing(|rows| 1.0 + 0.001 * rows as f64);
    assert_eq!(filled(dear_batches.plan(16), hurried(1002)), (16, Why::All), "alone it would have the engine");
    assert_eq!(filled(dear_batches.plan(16), hurried(1010)), (10, Why::Deadline));
    let dear_rows = knowing(|rows| 0.5 + rows as f64);
    assert_eq!(filled(dear_rows.plan(16), hurried(2600)), (2, Why::Deadline));
}

/// Rows that come at random moments (Poisson), `load` times as many as full batches serve. The planner's mean latency
/// and rows per second, in parts of what full batches give.
fn simulated(load: f64, seconds: impl Fn(usize) -> f64) -> (f64, f64) {
    let rate = load * ROWS_MAX as f64 / seconds(ROWS_MAX);
    let [measured, full] = [BatchPlan::Measured, BatchPlan::Full].map(|plan| simulate(plan, rate, &seconds));
    (measured.0 / full.0, measured.1 / full.1)
}

fn simulate(plan: BatchPlan, rate: f64, seconds: impl Fn(usize) -> f64) -> (f64, f64) {
    const ROWS: usize = 40_000;
    let (mut arrivals, mut noise) = (Random::seeded(1), Random::seeded(2));
    let uniform = |random: &mut Random| ((random.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let mut gap = || -uniform(&mut arrivals).ln() / rate;
    let mut planner = Planner::new(ROWS_MAX, plan);
    let (mut queue, mut served, mut latencies, mut now) = (VecDeque::new(), 0, 0.0, 0.0);
    let mut next = gap();
    while served < ROWS {
        now = if queue.is_empty() { f64::max(now, next) } else { now };
        while next <= now {
            if queue.len() < 256 {
                queue.push_back(next);
            }
            next += gap();
        }
        let (rows, _) = filled(planner.plan(queue.len()), queue.iter().map(|_| None));
        let took = seconds(rows) * (0.85 + 0.3 * uniform(&mut noise));
        planner.learn(rows, Duration::from_secs_f64(took));
        now += took;
        latencies += queue.drain(..rows).map(|came| now - came).sum::<f64>();
        served += rows;
    }
    (latencies / served as f64, served as f64 / now)
}

#[test]
fn where_rows_cost_the_same_alone_they_wait_less_than_in_full_batches() {
    for (load, most) in [(0.5, 0.97), (0.8, 0.92), (0.9, 0.95)] {
        let (latency, _) = simulated(load, |rows| 0.04 * rows as f64);
        assert!(latency <= most, "at load {load} latency is {latency:.3} of that of full batches");
    }
}

#[test]
fn where_a_batch_costs_something_full_ones_are_as_good_as_kept() {
    for batch in [0.2, 1.0, 5.0, 20.0] {
        for load in [0.5, 0.8, 0.9] {
            let (latency, _) = simulated(load, |rows| 0.01 * (batch + rows as f64));
            assert!(latency <= 1.1, "a batch costs {batch} rows, load {load}: latency {latency:.3}");
        }
        let (_, throughput) = simulated(2.0, |rows| 0.01 * (batch + rows as f64));
        assert!(throughput >= 0.97, "a batch costs {batch} rows: throughput {throughput:.3}");
    }
}

#[test]
fn where_large_batches_are_slower_per_row_a_long_queue_gets_smaller_ones() {
    let slow_when_large = |rows: usize| 0.01 * (rows as f64).powf(1.25);
    let (_, throughput) = simulated(2.0, slow_when_large);
    let best = (ROWS_MAX as f64).powf(0.25);
    assert!(throughput >= 0.95 * best, "{throughput:.2} times that of full batches, of {best:.2}");
}
