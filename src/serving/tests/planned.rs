//! The planner of batch sizes: what it may never do, and what it is worth, simulated.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::random::Random;
use crate::serving::planner::{Plan, Planner, Why};
use crate::serving::waiting::Waiter;

const ROWS_MAX: usize = 16;

/// A planner that knows what every size takes.
fn knowing(seconds: impl Fn(usize) -> f64) -> Planner {
    let mut planner = Planner::new(ROWS_MAX, BatchPlan::Measured);
    let turns = (0..10 * ROWS_MAX).flat_map(|_| 1..=ROWS_MAX);
    turns.for_each(|rows| planner.learn(rows, Duration::from_secs_f64(seconds(rows))));
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
    prop::collection::vec(prop::option::of((0u64..2000).prop_map(|left| ms(left | 1))), rows)
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
        past.iter().for_each(|&(rows, took)| planner.learn(rows, ms(took)));
        let most = planner.plan(waiting).rows();
        prop_assert!((1..=waiting.min(ROWS_MAX)).contains(&most));
        let (rows, _) = filled(planner.plan(waiting), left[..waiting].iter().copied());
        prop_assert!((1..=most).contains(&rows));
        prop_assert!(plan == BatchPlan::Measured || rows == waiting.min(ROWS_MAX));
    }

    /// For times that grow with the rows, evenly or not: of what is tried, rows alone and all together.
    #[test]
    fn rows_are_computed_nearly_as_fast_as_they_can_be(
        batch in 0.0f64..10.0,
        row in 0.01f64..1.0,
        power in 0.7f64..1.5,
        waiting in 1usize..100,
    ) {
        let seconds = |rows: usize| batch + row * (rows as f64).powf(power);
        let rate = |rows: usize| rows as f64 / seconds(rows);
        let (rows, fit) = (knowing(seconds).plan(waiting).rows(), waiting.min(ROWS_MAX));
        prop_assert!(rows == 1 || rows == fit);
        // A long queue stays together where rows are a little faster alone, a short one parts where they are a little slower.
        let least = if waiting <= 4 { 0.979 } else { 1.0 / 1.101 };
        prop_assert!(rate(rows) > least * rate(1).max(rate(fit)), "{rows} rows at {} per s", rate(rows));
        let alone = if waiting <= 4 { 0.981 } else { 1.101 };
        prop_assert!(rows == 1 || rate(1) < alone * rate(fit), "rows that are as fast alone wait for each other");
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
fn all_are_taken_until_one_is_known_to_be_as_fast_and_now_and_then_after_it() {
    let mut planner = Planner::new(8, BatchPlan::Measured);
    let next = |planner: &mut Planner| {
        let (rows, why) = (planner.plan(4).rows(), planner.plan(4).why());
        planner.learn(rows, ms(rows as u64));
        (rows, why)
    };
    for _ in 0..5 {
        assert_eq!(next(&mut planner), (4, Why::All));
        assert_eq!(next(&mut planner), (1, Why::Measure), "beside one of four, to compare");
    }
    assert_eq!((planner.plan(4).rows(), planner.plan(4).why()), (1, Why::One));
    assert_eq!((planner.plan(3).rows(), planner.plan(3).why()), (3, Why::All), "no batch of three was seen");
    for _ in 0..3 {
        let alone = std::iter::from_fn(|| Some(next(&mut planner))).take_while(|&next| next == (1, Why::One)).count();
        assert!((60..=66).contains(&alone), "{alone} rows alone, then a batch of four");
    }
}

#[test]
fn a_long_queue_runs_one_by_one_only_where_that_is_clearly_faster() {
    let equal = knowing(|rows| rows as f64);
    assert_eq!([2, 4, 5, 16, 99].map(|waiting| equal.plan(waiting).rows()), [1, 1, 5, 16, 16]);
    let clearly_faster = knowing(|rows| (rows as f64).powf(1.25));
    assert_eq!([2, 4, 5, 16, 99].map(|waiting| clearly_faster.plan(waiting).rows()), [1; 5]);
}

#[test]
fn a_full_plan_learns_nothing_that_it_would_follow() {
    let mut planner = Planner::new(8, BatchPlan::Full);
    (0..100).for_each(|_| [1, 8].into_iter().for_each(|rows| planner.learn(rows, ms(rows as u64))));
    assert_eq!(
        planner.view().map(|(rows, took)| (rows, took.is_some())).collect::<Vec<_>>(),
        [(1, true), (2, false), (4, false), (8, true)]
    );
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
    assert_eq!(["deadline", "one", "full", "all"].map(counted), [1, 1, 0, 2], "the first one ran alone");
    bench.fake.release();
    running.await.unwrap();
    assert!(call.await.unwrap().iter().all(|row| matches!(row.result, Err(RowError::DecoderFailed))));
}

#[test]
fn a_row_in_a_hurry_does_not_cost_the_others_more_than_half_of_the_speed() {
    let hurried = |left| std::iter::once(Some(ms(left))).chain(std::iter::repeat(None));
    let dear_batches = knowing(|rows| 1.0 + 0.1 * rows as f64);
    assert_eq!(filled(dear_batches.plan(16), hurried(1250)), (16, Why::All), "with one more it would have the engine");
    assert_eq!(filled(dear_batches.plan(16), hurried(2050)), (10, Why::Deadline));
    let dear_rows = knowing(|rows| 0.5 + rows as f64);
    assert_eq!(filled(dear_rows.plan(16), hurried(2600)), (2, Why::Deadline));
}

/// Rows that come at random moments (Poisson) to a machine that is three times as slow for a quarter of the time, `load`
/// times as many as full batches serve. The planner's mean latency and rows per second, in parts of what full batches
/// give.
fn simulated(load: f64, seconds: impl Fn(usize) -> f64) -> (f64, f64) {
    let [measured, full] = [BatchPlan::Measured, BatchPlan::Full].map(|plan| simulate(plan, load, &seconds));
    (measured.0 / full.0, measured.1 / full.1)
}

fn simulate(plan: BatchPlan, load: f64, seconds: impl Fn(usize) -> f64) -> (f64, f64) {
    const ROWS: usize = 40_000;
    let (full, slow) = (seconds(ROWS_MAX), 3.0);
    let speed = |now: f64| if now % (200.0 * full) < 150.0 * full { 1.0 } else { slow };
    let rate = load * ROWS_MAX as f64 / full / (0.75 + 0.25 * slow);
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
        let took = seconds(rows) * speed(now) * (0.85 + 0.3 * uniform(&mut noise));
        planner.learn(rows, Duration::from_secs_f64(took));
        now += took;
        latencies += queue.drain(..rows).map(|came| now - came).sum::<f64>();
        served += rows;
    }
    (latencies / served as f64, served as f64 / now)
}

#[test]
fn where_rows_cost_the_same_alone_those_of_a_short_queue_wait_less_than_in_full_batches() {
    for (load, most) in [(0.2, 0.99), (0.4, 0.97), (0.6, 1.03), (0.9, 1.03)] {
        let (latency, _) = simulated(load, |rows| 0.04 * rows as f64);
        assert!(latency <= most, "at load {load} latency is {latency:.3} of that of full batches");
    }
}

#[test]
fn where_a_batch_costs_something_full_ones_are_as_good_as_kept() {
    for batch in [0.5, 1.0, 5.0, 20.0] {
        for load in [0.3, 0.5, 0.8] {
            let (latency, _) = simulated(load, |rows| 0.01 * (batch + rows as f64));
            assert!(latency <= 1.1, "a batch costs {batch} rows, load {load}: latency {latency:.3}");
        }
        let (_, throughput) = simulated(3.0, |rows| 0.01 * (batch + rows as f64));
        assert!(throughput >= 0.98, "a batch costs {batch} rows: throughput {throughput:.3}");
    }
}

#[test]
fn where_large_batches_are_slower_per_row_a_long_queue_runs_one_by_one() {
    let (_, throughput) = simulated(3.0, |rows| 0.01 * (rows as f64).powf(1.25));
    let best = (ROWS_MAX as f64).powf(0.25);
    assert!(throughput >= 0.93 * best, "{throughput:.2} times that of full batches, of {best:.2}");
}
