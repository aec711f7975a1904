use super::*;

/// One picture of task `a`, answered or not.
async fn one(bench: &Bench) -> Result<Vec<f32>, RowError> {
    let rows = bench.serving.classify(bench.request(&[&[1]], &[version("a", 1.0, 2)])).await;
    rows.into_iter().next().unwrap().result
}

fn failed(result: &Result<Vec<f32>, RowError>) -> bool {
    matches!(result, Err(RowError::EngineFailed(_)))
}

#[tokio::test]
async fn an_engine_that_panics_fails_its_batch_and_is_started_again_once() {
    let bench = Bench::new(settings());
    bench.fake.script(&[Act::Panic, Act::Answer, Act::Panic]);
    assert!(failed(&one(&bench).await));
    assert_eq!(one(&bench).await.unwrap(), [1.0, 1.0]);
    assert_eq!((bench.fake.starts(), bench.serving.health().ready), (2, true));
    assert!(failed(&one(&bench).await));
    assert_eq!(bench.serving.died().await, "it panicked: told to");
    let health = bench.serving.health();
    assert!(!health.ready && !health.alive && health.reason.is_some());
    assert!(failed(&one(&bench).await), "a dead engine keeps nobody waiting");
    assert_eq!((bench.fake.starts(), bench.rows("a", Outcome::Error)), (2, 3));
}

#[tokio::test]
async fn a_verdict_about_a_former_batch_ends_nothing() {
    let bench = Bench::new(settings());
    let running = bench.occupy_engine().await;
    let (begun, _) = bench.serving.room.progress();
    bench.serving.room.replace_worker(begun - 1, "it was slow");
    bench.fake.release();
    assert_eq!(logits(&running.await.unwrap()), [[255.0, 0.0]]);
    assert_eq!((bench.fake.starts(), bench.serving.health().ready), (1, true));
}

#[tokio::test]
async fn rows_that_wait_outlive_a_panic() {
    let bench = Bench::new(settings());
    bench.fake.script(&[Act::Panic]);
    let running = bench.occupy_engine().await;
    let waiting = bench.spawn(bench.request(&[&[7]], &[version("b", 2.0, 2)]));
    until(|| bench.queued() == 1).await;
    bench.fake.release();
    assert!(failed(&running.await.unwrap()[0].result));
    assert_eq!(logits(&waiting.await.unwrap()), [[7.0, 2.0]]);
}

#[tokio::test]
async fn an_engine_that_cannot_be_started_again_is_dead() {
    let bench = Bench::new(settings());
    bench.fake.refuse_to_start_again();
    bench.fake.script(&[Act::Panic]);
    assert!(failed(&one(&bench).await));
    assert!(bench.serving.died().await.contains("the device is gone"));
}

#[tokio::test]
async fn an_error_fails_the_batch_and_the_engine_goes_on_unless_nothing_else_comes() {
    let bench = Bench::new(Settings { engine_failures_max: 2, ..settings() });
    bench.fake.script(&[Act::Error, Act::Answer, Act::Error, Act::Error]);
    for answered in [false, true, false] {
        assert_eq!(one(&bench).await.is_ok(), answered);
        assert_eq!(bench.fake.starts(), 1);
    }
    assert!(failed(&one(&bench).await));
    assert!(one(&bench).await.is_ok());
    assert_eq!(bench.fake.starts(), 2);
}

#[tokio::test]
async fn an_engine_that_loses_rows_is_broken() {
    let bench = Bench::new(settings());
    bench.fake.script(&[Act::Short]);
    assert!(failed(&one(&bench).await));
    assert!(one(&bench).await.is_ok());
    assert_eq!(bench.fake.starts(), 2);
}

#[tokio::test]
async fn a_row_that_is_not_finite_spoils_no_other() {
    let bench = Bench::new(settings());
    let running = bench.occupy_engine().await;
    let call = bench.spawn(bench.request(&[&[1], &[2]], &[version("a", 1.0, 2)]));
    until(|| bench.queued() == 2).await;
    bench.fake.script(&[Act::NanFirst]);
    bench.fake.release();
    running.await.unwrap();
    let rows = call.await.unwrap();
    assert!(matches!(rows[0].result, Err(RowError::NonFinite)));
    assert_eq!(rows[1].result.as_ref().unwrap(), &[2.0, 1.0]);
    assert_eq!(bench.rows("a", Outcome::Error), 1);
}

#[tokio::test]
async fn a_stuck_engine_fails_everyone_is_replaced_once_and_then_dead() {
    let bench = Bench::new(Settings { engine_stall_timeout: Duration::from_millis(50), ..settings() });
    let running = bench.occupy_engine().await;
    let waiting = bench.spawn(bench.request(&[&[2]], &[version("b", 1.0, 2)]));
    for call in [running, waiting] {
        assert!(failed(&call.await.unwrap()[0].result), "whoever waits is told, running or not");
    }
    until(|| bench.fake.starts() == 2 && bench.serving.health().ready).await;
    assert!(failed(&one(&bench).await), "the new engine hangs too");
    assert!(bench.serving.died().await.contains("50 ms"));
    assert!(!bench.serving.health().alive);
    assert!(failed(&one(&bench).await));
    assert_eq!(bench.metrics.in_flight_requests.get(), 0);
    bench.fake.release();
    bench.serving.room.workers_ended().await;
    let (ok, error) = (bench.rows("a", Outcome::Ok), bench.rows("a", Outcome::Error));
    assert_eq!((ok, error), (0, 3), "what an engine says after it was given up is not heard");
}

#[tokio::test]
async fn a_replaced_engine_answers_although_the_first_one_still_hangs() {
    let bench = Bench::new(Settings { engine_stall_timeout: Duration::from_millis(400), ..settings() });
    let running = bench.occupy_engine().await;
    assert!(failed(&running.await.unwrap()[0].result));
    bench.fake.hold_only_the_first();
    assert_eq!(one(&bench).await.unwrap(), [1.0, 1.0]);
    bench.fake.release();
}
