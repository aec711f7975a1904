//! The whole of serving against engines that block, fail and lie.

mod engine_failures;
pub(super) mod fake;
mod overload;
mod planned;
mod reference;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::*;
use crate::metrics::Outcome;
use crate::registry::Prober;
use fake::{Act, Fake, FakeBackend, FakeDecode, picture, version};

/// Serving over a fake engine.
struct Bench {
    serving: Arc<Serving>,
    fake: Arc<Fake>,
    decode: Arc<FakeDecode>,
    metrics: Arc<Metrics>,
}

fn settings() -> Settings {
    let batch_plan = BatchPlan::Full;
    Settings { rows_max: 64, batch_rows_max: 4, batch_plan, decode_threads: 1, ..Settings::default() }
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let fake = Fake::new(settings.batch_rows_max);
        let decode = Arc::new(FakeDecode::default());
        let metrics = Arc::new(Metrics::new(vec![]));
        ["a", "b"].iter().for_each(|task| metrics.add_task(task));
        let backend = Arc::new(FakeBackend(fake.clone()));
        let serving = Serving::start_with(decode.clone(), backend, settings, metrics.clone()).unwrap();
        Self { serving: Arc::new(serving), fake, decode, metrics }
    }

    fn request(&self, pictures: &[&[u8]], versions: &[Arc<Version>]) -> Request {
        Request {
            pictures: pictures.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect(),
            versions: versions.to_vec(),
            deadline: None,
            permits: self.serving.admit_rows(pictures.len(), versions).unwrap(),
            bytes_permit: self.serving.reserve_bytes(pictures.len()).unwrap(),
        }
    }

    /// A call in a task of its own.
    fn spawn(&self, request: Request) -> JoinHandle<Vec<Row>> {
        let serving = self.serving.clone();
        tokio::spawn(async move { serving.classify(request).await })
    }

    /// A call of one picture whose row is running in an engine that is held.
    async fn occupy_engine(&self) -> JoinHandle<Vec<Row>> {
        self.fake.hold();
        let begun = self.fake.batches().len();
        let call = self.spawn(self.request(&[&[255]], &[version("a", 0.0, 2)]));
        until(|| self.fake.batches().len() > begun).await;
        call
    }

    fn rows(&self, task: &str, outcome: Outcome) -> u64 {
        self.metrics.rows_total.with_label_values(&[task, outcome.as_str()]).get()
    }

    fn engine_rows(&self) -> u64 {
        self.metrics.engine_rows_total.get() as u64
    }

    fn queued(&self) -> usize {
        self.serving.room.queue.rows()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let faults = self.fake.all_faults();
        assert!(std::thread::panicking() || faults.is_empty(), "{faults:?}");
    }
}

/// Waits for what other threads bring about.
async fn until(condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.expect("what was waited for never happened");
}

fn logits(rows: &[Row]) -> Vec<Vec<f32>> {
    rows.iter().map(|row| row.result.clone().expect("the row was answered")).collect()
}

#[tokio::test]
async fn every_picture_goes_through_every_version_and_is_decoded_once() {
    let bench = Bench::new(settings());
    let versions = [version("a", 100.0, 2), version("b", 200.0, 4), version("a", 300.0, 2)];
    let rows = bench.serving.classify(bench.request(&[&[7], &[8]], &versions)).await;
    let places: Vec<(usize, usize)> = rows.iter().map(|row| (row.picture, row.version)).collect();
    assert_eq!(places, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
    let expected = [[7.0, 100.0], [7.0, 200.0], [7.0, 300.0], [8.0, 100.0], [8.0, 200.0], [8.0, 300.0]];
    assert_eq!(logits(&rows), expected);
    assert_eq!(bench.decode.calls.load(Ordering::SeqCst), 2);
    assert!(rows.iter().all(|row| (1..=4).contains(&row.batch_rows)));
    assert_eq!((bench.rows("a", Outcome::Ok), bench.rows("b", Outcome::Ok)), (4, 2));
}

#[tokio::test]
async fn nothing_to_do_is_done_at_once() {
    let bench = Bench::new(settings());
    assert!(bench.serving.classify(bench.request(&[], &[version("a", 1.0, 2)])).await.is_empty());
    assert!(bench.serving.classify(bench.request(&[&[1]], &[])).await.is_empty());
}

#[tokio::test]
async fn one_bad_picture_spoils_no_other_and_the_decoder_outlives_its_panic() {
    let bench = Bench::new(settings());
    let rows = bench.serving.classify(bench.request(&[b"panic", b"bad", &[9]], &[version("a", 1.0, 2)])).await;
    assert!(matches!(rows[0].result, Err(RowError::DecoderFailed)));
    assert!(matches!(rows[1].result, Err(RowError::Picture(_))));
    assert_eq!(rows[2].result.as_ref().unwrap(), &[9.0, 1.0]);
    let counted = [Outcome::Error, Outcome::Invalid, Outcome::Ok].map(|outcome| bench.rows("a", outcome));
    assert_eq!(counted, [1, 1, 1]);
}

#[tokio::test]
async fn a_full_server_refuses_and_never_grows() {
    let bench = Bench::new(Settings { rows_max: 5, bytes_max: 10, ..settings() });
    let running = bench.occupy_engine().await;
    let waiting = bench.spawn(bench.request(&[&[1], &[2], &[3], &[4]], &[version("b", 1.0, 2)]));
    until(|| bench.queued() == 4).await;
    for _ in 0..1000 {
        let refused = bench.serving.admit_rows(1, &[version("a", 1.0, 2)]).err().expect("the server is full");
        assert!(refused.retry_after_ms > 0);
    }
    assert!(bench.serving.reserve_bytes(11).is_err());
    assert_eq!((bench.queued(), bench.metrics.queue_rows.get()), (4, 4));
    bench.fake.release();
    assert_eq!(logits(&waiting.await.unwrap()).len() + logits(&running.await.unwrap()).len(), 5);
    assert_eq!(bench.metrics.in_flight_requests.get(), 0);
    assert!(bench.serving.admit_rows(5, &[version("c", 1.0, 2)]).is_ok(), "an answered caller finds its place free");
    assert_eq!(bench.metrics.in_flight_bytes.get(), 0);
}

#[tokio::test]
async fn a_caller_that_leaves_frees_its_place_while_the_engine_is_busy() {
    let bench = Bench::new(Settings { rows_max: 5, ..settings() });
    let running = bench.occupy_engine().await;
    let leaving = bench.spawn(bench.request(&[&[1], &[2], &[3], &[4]], &[version("b", 1.0, 2)]));
    until(|| bench.queued() == 4).await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    assert!(bench.serving.admit_rows(4, &[version("c", 1.0, 2)]).is_ok());
    assert_eq!((bench.queued(), bench.rows("b", Outcome::Cancelled)), (0, 4));
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert!(
        bench.serving.admit_rows(5, &[version("c", 1.0, 2)]).is_err(),
        "a row that runs keeps its place although its caller has left"
    );
    bench.fake.release();
    bench.serving.admission.emptied().await;
    assert_eq!((bench.engine_rows(), bench.rows("a", Outcome::Ok)), (1, 1));
}

#[tokio::test]
async fn a_passed_deadline_is_told_in_time_and_the_row_never_runs() {
    let bench = Bench::new(settings());
    let running = bench.occupy_engine().await;
    let deadline = Some(Instant::now() + Duration::from_millis(30));
    let late = Request { deadline, ..bench.request(&[&[1], &[2]], &[version("b", 1.0, 2)]) };
    let rows = bench.serving.classify(late).await;
    assert!(rows.iter().all(|row| matches!(row.result, Err(RowError::Deadline))));
    assert_eq!((bench.queued(), bench.rows("b", Outcome::Deadline)), (0, 2));
    bench.fake.release();
    running.await.unwrap();
    assert_eq!((bench.engine_rows(), bench.fake.ran()), (1, vec![255.0]));
}

#[tokio::test]
async fn a_picture_that_comes_too_late_is_not_even_decoded() {
    let bench = Bench::new(settings());
    let late = Request { deadline: Some(Instant::now()), ..bench.request(&[&[1]], &[version("a", 1.0, 2)]) };
    let rows = bench.serving.classify(late).await;
    assert!(matches!(rows[0].result, Err(RowError::Deadline)));
    assert_eq!((bench.decode.calls.load(Ordering::SeqCst), bench.rows("a", Outcome::Deadline)), (0, 1));
}

#[tokio::test]
async fn a_row_that_runs_at_its_deadline_is_answered_and_the_rest_of_its_call_is_late() {
    let bench = Bench::new(Settings { batch_rows_max: 1, ..settings() });
    bench.fake.hold();
    let deadline = Instant::now() + Duration::from_secs(1);
    let request = bench.request(&[&[1], &[2]], &[version("a", 1.0, 2)]);
    let call = bench.spawn(Request { deadline: Some(deadline), ..request });
    until(|| !bench.fake.batches().is_empty()).await;
    until(|| bench.rows("a", Outcome::Deadline) == 1).await;
    assert!(Instant::now() >= deadline && !call.is_finished());
    bench.fake.release();
    let rows = call.await.unwrap();
    assert_eq!(rows[0].result.as_ref().unwrap(), &[1.0, 1.0]);
    assert!(matches!(rows[1].result, Err(RowError::Deadline)));
    assert_eq!((bench.rows("a", Outcome::Ok), bench.engine_rows()), (1, 1));
}

#[tokio::test]
async fn a_quiet_task_passes_a_loud_one() {
    let bench = Bench::new(Settings { batch_rows_max: 2, ..settings() });
    let (loud, quiet) = (version("a", 1.0, 2), version("b", 2.0, 2));
    let running = bench.occupy_engine().await;
    let pictures: Vec<[u8; 1]> = (0..20).map(|value| [value]).collect();
    let pictures: Vec<&[u8]> = pictures.iter().map(|picture| &picture[..]).collect();
    let many = bench.spawn(bench.request(&pictures, &[loud]));
    until(|| bench.queued() == 20).await;
    let few = bench.spawn(bench.request(&[&[100], &[101]], &[quiet]));
    until(|| bench.queued() == 22).await;
    bench.fake.release();
    for call in [running, many, few] {
        logits(&call.await.unwrap());
    }
    let ran = bench.fake.ran();
    let place = |value: f32| ran.iter().position(|&it| it == value).unwrap();
    assert!(place(100.0) <= 2 && place(101.0) <= 4, "{ran:?}");
    let loud: Vec<f32> = ran.iter().copied().filter(|&value| value < 100.0).collect();
    assert!(loud.is_sorted(), "first in, first out within a task: {loud:?}");
}

#[tokio::test]
async fn a_task_that_is_replaced_answers_with_the_version_that_each_row_carries() {
    let bench = Bench::new(settings());
    let running = bench.occupy_engine().await;
    let old = bench.spawn(bench.request(&[&[1], &[2]], &[version("a", 1.0, 2)]));
    until(|| bench.queued() == 2).await;
    let new = bench.spawn(bench.request(&[&[3], &[4]], &[version("a", 2.0, 2)]));
    until(|| bench.queued() == 4).await;
    bench.fake.release();
    running.await.unwrap();
    assert_eq!(logits(&old.await.unwrap()), [[1.0, 1.0], [2.0, 1.0]]);
    assert_eq!(logits(&new.await.unwrap()), [[3.0, 2.0], [4.0, 2.0]]);
    assert_eq!(bench.fake.batches()[1], [[1.0, 2.0], [3.0, 4.0]], "one batch, a group for each version");
}

#[tokio::test]
async fn pictures_of_different_sizes_meet_in_one_batch() {
    let bench = Bench::new(settings());
    let running = bench.occupy_engine().await;
    let call = bench.spawn(bench.request(&[&[1], &[2]], &[version("a", 1.0, 2), version("b", 2.0, 6)]));
    until(|| bench.queued() == 4).await;
    bench.fake.release();
    running.await.unwrap();
    assert!(call.await.unwrap().iter().all(|row| row.batch_rows == 4));
    assert_eq!(bench.fake.batches()[1], [[1.0, 2.0], [1.0, 2.0]]);
    let seconds = |task| bench.metrics.task_engine_seconds_total.with_label_values(&[task]).get();
    let busy = bench.metrics.engine_busy_seconds_total.get();
    assert!((seconds("a") + seconds("b") - busy).abs() <= 1e-9 * busy, "tasks add up to the engine");
    assert!(seconds("b") > 0.0);
}

#[tokio::test]
async fn a_batch_waits_for_more_only_when_told_to() {
    let delay = Duration::from_secs(20);
    let bench = Bench::new(Settings { batch_delay_max: delay, ..settings() });
    let first = bench.spawn(bench.request(&[&[1]], &[version("a", 1.0, 2)]));
    until(|| bench.queued() == 1).await;
    let second = bench.spawn(bench.request(&[&[2], &[3], &[4]], &[version("a", 1.0, 2)]));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first[0].batch_rows, second[0].batch_rows), (4, 4), "a full batch does not wait");
    assert!(first[0].timings.queue < delay);
}

#[tokio::test]
async fn draining_ends_what_is_in_flight_and_then_the_threads() {
    let bench = Bench::new(settings());
    let running = bench.occupy_engine().await;
    let waiting = bench.spawn(bench.request(&[&[1]], &[version("a", 1.0, 2)]));
    until(|| bench.queued() == 1).await;
    let serving = bench.serving.clone();
    let draining = tokio::spawn(async move { serving.drain(Duration::from_secs(20)).await });
    tokio::task::yield_now().await;
    assert!(!draining.is_finished());
    bench.fake.release();
    assert!(draining.await.unwrap());
    logits(&running.await.unwrap());
    logits(&waiting.await.unwrap());
    let rows = bench.serving.classify(bench.request(&[&[1]], &[version("a", 1.0, 2)])).await;
    assert!(matches!(rows[0].result, Err(RowError::ShuttingDown)));
}

#[tokio::test]
async fn draining_gives_up_after_its_time_and_tells_everyone() {
    let bench = Bench::new(settings());
    let running = bench.occupy_engine().await;
    let waiting = bench.spawn(bench.request(&[&[1]], &[version("a", 1.0, 2)]));
    until(|| bench.queued() == 1).await;
    assert!(!bench.serving.drain(Duration::from_millis(10)).await);
    for call in [running, waiting] {
        assert!(matches!(call.await.unwrap()[0].result, Err(RowError::ShuttingDown)));
    }
    bench.fake.release();
}

#[tokio::test]
async fn probes_take_turns_with_tasks() {
    let bench = Bench::new(Settings { batch_rows_max: 2, ..settings() });
    let running = bench.occupy_engine().await;
    let pictures: Vec<[u8; 1]> = (0..10).map(|value| [value]).collect();
    let pictures: Vec<&[u8]> = pictures.iter().map(|picture| &picture[..]).collect();
    let traffic = bench.spawn(bench.request(&pictures, &[version("a", 1.0, 2)]));
    until(|| bench.queued() == 10).await;
    let serving = bench.serving.clone();
    let probe = tokio::task::spawn_blocking(move || {
        let lens = version("b", 5.0, 2).lens.clone();
        serving.logits(&lens, &[picture(200, 2), picture(201, 2)])
    });
    until(|| bench.queued() == 12).await;
    bench.fake.release();
    assert_eq!(probe.await.unwrap().unwrap(), [[200.0, 5.0], [201.0, 5.0]]);
    running.await.unwrap();
    traffic.await.unwrap();
    let ran = bench.fake.ran();
    assert!(ran.iter().position(|&value| value == 201.0).unwrap() <= 4, "{ran:?}");
    assert_eq!(bench.rows("b", Outcome::Ok), 0, "a probe is no task's row");
}

#[test]
fn a_probe_of_the_wrong_size_never_reaches_the_engine() {
    let bench = Bench::new(settings());
    let lens = version("b", 5.0, 2).lens.clone();
    assert!(bench.serving.logits(&lens, &[picture(1, 4)]).is_err());
    assert_eq!(bench.engine_rows(), 0);
}

#[tokio::test]
async fn a_probe_sees_that_logits_are_not_finite() {
    let bench = Bench::new(settings());
    bench.fake.script(&[Act::NanFirst]);
    let serving = bench.serving.clone();
    let probe = move || serving.logits(&version("b", 5.0, 2).lens, &[picture(200, 2)]);
    let logits = tokio::task::spawn_blocking(probe).await.unwrap().unwrap();
    assert!(logits[0].len() == 2 && logits[0].iter().all(|logit| logit.is_nan()));
}

/// Whatever happens to a row, it is counted once and its place comes back.
#[tokio::test]
async fn every_row_is_counted_exactly_once() {
    let batch_plan = BatchPlan::Measured;
    let bench = Bench::new(Settings { batch_plan, engine_failures_max: 1000, rows_max: 1000, ..settings() });
    bench.fake.script(&[Act::Answer, Act::Error, Act::NanFirst].repeat(10));
    let versions = [version("a", 1.0, 2), version("b", 2.0, 4)];
    let mut calls = vec![];
    for n in 0..60u8 {
        let pictures: [&[u8]; 3] = [&[n], if n % 5 == 0 { b"bad" } else { &[1] }, &[2]];
        let deadline = (n % 3 == 0).then(|| Instant::now() + Duration::from_micros(u64::from(n) * 20));
        calls.push(bench.spawn(Request { deadline, ..bench.request(&pictures, &versions) }));
        tokio::task::yield_now().await;
        if n % 7 == 0 {
            calls[usize::from(n)].abort();
        }
    }
    for call in calls {
        let _ = call.await;
    }
    bench.serving.admission.emptied().await;
    let counted = |task| Outcome::ALL.map(|outcome| bench.rows(task, outcome)).iter().sum::<u64>();
    assert_eq!((counted("a"), counted("b")), (180, 180));
    let ran = ["a", "b"].map(|task| bench.rows(task, Outcome::Ok) + bench.rows(task, Outcome::Error));
    assert_eq!(ran.iter().sum::<u64>(), bench.engine_rows());
    let planned = ["all", "full", "one", "measure", "deadline"]
        .map(|why| bench.metrics.planner_batches_total.with_label_values(&[why]).get());
    assert_eq!(planned.iter().sum::<u64>(), bench.fake.batches().len() as u64);
    assert_eq!((bench.metrics.in_flight_requests.get(), bench.metrics.in_flight_bytes.get()), (0, 0));
}
