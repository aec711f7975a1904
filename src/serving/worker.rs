//! The engine's own thread, and what happens when the engine fails: its batch is answered, it is started again once,
//! and then it is dead. Once, because a thread that hangs cannot be ended: every further try could leak an engine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::batch::{Batch, Job};
use super::compute::{Failure, Logits, compute, words};
use super::health::{EngineState, Vitals};
use super::planner::Planner;
use super::queue::Entry;
use super::throughput::Throughput;
use super::ticket::Ticket;
use super::waiting::Waiting;
use super::{RowError, Settings};
use crate::engine::{Backend, Engine};
use crate::metrics::Metrics;

/// What the engine's thread shares with those who feed and watch it.
pub(super) struct EngineRoom {
    pub backend: Arc<dyn Backend>,
    pub queue: Waiting<Job>,
    pub vitals: Vitals,
    pub throughput: Arc<Throughput>,
    pub metrics: Arc<Metrics>,
    pub settings: Settings,
    desk: Mutex<Desk>,
    /// Threads that hold an engine.
    workers: watch::Sender<usize>,
}

/// What the current worker is doing. The tickets of a running batch lie here, so that they can be answered although
/// the engine never comes back.
#[derive(Default)]
struct Desk {
    /// A worker with another number has been given up and must end.
    worker: u64,
    running: Option<Vec<Ticket>>,
    /// Batches.
    begun: u64,
    /// The second chance is used up.
    rebuilt: bool,
}

/// This worker has been given up: another one has its place.
struct GivenUp;

impl EngineRoom {
    pub fn new(
        backend: Arc<dyn Backend>,
        settings: Settings,
        throughput: Arc<Throughput>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let queue_rows = metrics.clone();
        let queue = Waiting::new(move |rows| queue_rows.queue_rows.set(rows as i64));
        let (vitals, desk, workers) = (Vitals::new(), Mutex::default(), watch::Sender::new(0));
        Arc::new(Self { backend, queue, vitals, throughput, metrics, settings, desk, workers })
    }

    /// Starts the first worker's thread.
    pub fn start_worker(self: &Arc<Self>, engine: Box<dyn Engine>) -> std::io::Result<()> {
        let worker = self.desk().worker;
        self.spawn_worker(move |room| room.work(worker, engine))
    }

    fn spawn_worker(self: &Arc<Self>, work: impl FnOnce(&Self) + Send + 'static) -> std::io::Result<()> {
        let present = Present::new(self);
        spawn("manylens-engine", move || work(&present.0))
    }

    /// Returns once no thread holds an engine; never, if one hangs.
    pub async fn workers_ended(&self) {
        let _ = self.workers.subscribe().wait_for(|workers| *workers == 0).await;
    }

    /// How many batches have begun, and whether any row waits for the engine.
    pub fn progress(&self) -> (u64, bool) {
        let desk = self.desk();
        (desk.begun, desk.running.is_some() || self.queue.rows() > 0)
    }

    /// Ends everything now: whoever waits, running or not, is told why.
    pub fn close(&self, why: &RowError) {
        let running = {
            let mut desk = self.desk();
            desk.worker += 1;
            desk.running.take()
        };
        self.queue.close(why.clone());
        fail(running.into_iter().flatten(), why);
    }

    /// Gives the worker up, fails everyone who waits, and puts a new one in its place, or none the second time. Does
    /// nothing when more than the `begun` batches that the verdict saw have begun: the worker was slow, not stuck.
    pub fn replace_worker(self: &Arc<Self>, begun: u64, why: &str) {
        let (running, worker, rebuilt) = {
            let mut desk = self.desk();
            if desk.begun != begun {
                return;
            }
            desk.worker += 1;
            (desk.running.take(), desk.worker, std::mem::replace(&mut desk.rebuilt, true))
        };
        tracing::error!(reason = why, "the engine is stuck");
        let error = RowError::EngineFailed(why.into());
        if rebuilt {
            self.die(why);
        } else {
            self.vitals.set(EngineState::Rebuilding(why.into()));
            self.queue.fail_all(&error);
        }
        fail(running.into_iter().flatten(), &error);
        if !rebuilt {
            let spawned = self.spawn_worker(move |room| room.rebuild_and_work(worker));
            spawned.unwrap_or_else(|error| self.die(&error.to_string()));
        }
    }

    /// The life of a worker whose engine is not there yet.
    fn rebuild_and_work(&self, worker: u64) {
        if let Some(engine) = self.rebuild(worker) {
            self.work(worker, engine);
        }
    }

    /// The life of a worker. What batches take is learned from those of the traffic itself.
    fn work(&self, worker: u64, mut engine: Box<dyn Engine>) {
        let mut planner = Planner::new(self.settings.batch_rows_max, self.settings.plan());
        self.show(&planner);
        let mut errors_in_a_row = 0;
        while let Some(jobs) = self.next(&planner) {
            let (rows, began) = (jobs.len(), Instant::now());
            let why = match self.run(worker, engine.as_mut(), jobs) {
                Err(GivenUp) => return,
                Ok(Ok(())) => {
                    planner.learn(rows, began.elapsed());
                    self.show(&planner);
                    errors_in_a_row = 0;
                    continue;
                }
                Ok(Err(Failure::Error(why))) => {
                    errors_in_a_row += 1;
                    if errors_in_a_row < self.settings.engine_failures_max {
                        continue;
                    }
                    why
                }
                Ok(Err(Failure::Broken(why))) => why,
            };
            drop_quietly(engine);
            match self.second_chance(worker, &why) {
                Some(new) => engine = new,
                None => return,
            }
            errors_in_a_row = 0;
        }
    }

    /// Blocks until there is a batch; none after the end.
    pub fn next(&self, planner: &Planner) -> Option<Vec<Job>> {
        loop {
            let ready = self.queue.ready(self.settings.batch_rows_max, self.settings.batch_delay_max)?;
            let mut plan = planner.plan(ready.rows());
            let left = |job: &Job, now| job.deadline().map(|deadline| deadline.saturating_duration_since(now));
            let jobs = ready.take(plan.rows(), |job, now| plan.joins(left(job, now)));
            if !jobs.is_empty() {
                self.metrics.planner_batches_total.with_label_values(&[plan.why().as_str()]).inc();
                return Some(jobs);
            }
        }
    }

    fn show(&self, planner: &Planner) {
        for (rows, took) in planner.view() {
            let gauge = self.metrics.planner_batch_seconds.with_label_values(&[&rows.to_string()]);
            gauge.set(took.unwrap_or_default().as_secs_f64());
        }
    }

    /// A new engine in the place of a broken one, once. Rows that wait keep their place.
    fn second_chance(&self, worker: u64, why: &str) -> Option<Box<dyn Engine>> {
        if std::mem::replace(&mut self.desk().rebuilt, true) {
            self.die(why);
            return None;
        }
        self.vitals.set(EngineState::Rebuilding(why.into()));
        self.rebuild(worker)
    }

    fn rebuild(&self, worker: u64) -> Option<Box<dyn Engine>> {
        let started = catch_unwind(AssertUnwindSafe(|| self.backend.start()));
        let desk = self.desk();
        if desk.worker != worker {
            return None;
        }
        match started {
            Ok(Ok(engine)) => {
                self.vitals.set(EngineState::Ready);
                tracing::warn!("the engine has been started again");
                return Some(engine);
            }
            Ok(Err(error)) => self.die(&format!("it could not be started again: {error}")),
            Err(panic) => self.die(&format!("it panicked when it was started again: {}", words(&*panic))),
        }
        None
    }

    fn die(&self, why: &str) {
        tracing::error!(reason = why, "the engine is dead");
        self.vitals.set(EngineState::Dead(why.into()));
        self.queue.close(RowError::EngineFailed(why.into()));
    }

    /// One batch, from jobs to answers.
    fn run(&self, worker: u64, engine: &mut dyn Engine, jobs: Vec<Job>) -> Result<Result<(), Failure>, GivenUp> {
        let (batch, mut tickets) = Batch::of(jobs);
        let started = Instant::now();
        tickets.iter_mut().for_each(|ticket| ticket.waited_until(started));
        self.begin(worker, tickets)?;
        self.metrics.engine_rows_total.inc_by(batch.rows() as f64);
        let logits = compute(engine, &batch.groups());
        let took = started.elapsed();
        let mut tickets = self.end(worker)?;
        batch.count(&tickets, took, &self.metrics);
        tickets.iter_mut().for_each(|ticket| ticket.ran(took));
        Ok(match logits {
            Ok(logits) => {
                self.throughput.record(tickets.len(), took);
                answer(tickets, logits);
                Ok(())
            }
            Err(failure) => {
                let (Failure::Error(why) | Failure::Broken(why)) = &failure;
                tracing::error!(reason = why, rows = tickets.len(), "a batch failed");
                fail(tickets, &RowError::EngineFailed(why.as_str().into()));
                Err(failure)
            }
        })
    }

    fn begin(&self, worker: u64, tickets: Vec<Ticket>) -> Result<(), GivenUp> {
        let mut desk = self.desk();
        if desk.worker != worker {
            drop(desk);
            fail(tickets, &RowError::EngineFailed("it was given up".into()));
            return Err(GivenUp);
        }
        desk.running = Some(tickets);
        desk.begun += 1;
        Ok(())
    }

    fn end(&self, worker: u64) -> Result<Vec<Ticket>, GivenUp> {
        let mut desk = self.desk();
        if desk.worker != worker {
            return Err(GivenUp);
        }
        desk.running.take().ok_or(GivenUp)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counted among the workers until it drops, however its thread ends.
struct Present(Arc<EngineRoom>);

impl Present {
    fn new(room: &Arc<EngineRoom>) -> Self {
        room.workers.send_modify(|workers| *workers += 1);
        Self(room.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.workers.send_modify(|workers| *workers -= 1);
    }
}

/// Starts a named thread.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(work).map(drop)
}

/// A row whose values are not finite spoils no other.
fn answer(tickets: Vec<Ticket>, logits: Logits) {
    let batch_rows = tickets.len();
    for (ticket, logits) in tickets.into_iter().zip(logits) {
        let finite = logits.iter().all(|logit| logit.is_finite());
        ticket.answer(if finite { Ok(logits) } else { Err(RowError::NonFinite) }, batch_rows);
    }
}

fn fail(tickets: impl IntoIterator<Item = Ticket>, why: &RowError) {
    tickets.into_iter().for_each(|ticket| ticket.answer(Err(why.clone()), 0));
}

/// A broken engine may panic once more while it drops.
fn drop_quietly(engine: Box<dyn Engine>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(engine)));
}
