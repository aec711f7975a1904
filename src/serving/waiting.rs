//! The [`Queue`] between threads: a lock, a wake-up, and an end.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::RowError;
use super::queue::{Entry, Fate, Queue, Taken};
use crate::registry::TaskName;

/// Who takes turns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Task(TaskName),
    /// All probes together, so that uploads get one task's share.
    Probe,
}

/// What waits here can be told that it waited in vain.
pub(super) trait Waiter: Entry {
    fn fail(self, why: &RowError);
}

/// Rows that can be taken, and stay as they are until then.
pub(super) struct Ready<'a, T> {
    waiting: &'a Waiting<T>,
    state: MutexGuard<'a, State<T>>,
}

impl<T: Waiter> Ready<'_, T> {
    /// How many wait, dead ones among them.
    pub fn rows(&self) -> usize {
        self.state.queue.rows()
    }

    /// Takes at most `rows_max` rows in turn, up to the first one that does not join: each is asked with the present
    /// time. Empty when all were dead.
    pub fn take(mut self, rows_max: usize, mut joins: impl FnMut(&T, Instant) -> bool) -> Vec<T> {
        let now = Instant::now();
        let taken = self.state.queue.take_while(rows_max, now, |row| joins(row, now));
        self.waiting.without_the_dead(self.state, taken)
    }
}

/// Rows that wait for a thread to take them.
pub(super) struct Waiting<T> {
    state: Mutex<State<T>>,
    /// Something was pushed, or the end has come.
    changed: Condvar,
    /// Told how many wait after every change.
    watch_len: Box<dyn Fn(usize) + Send + Sync>,
}

struct State<T> {
    queue: Queue<Lane, T>,
    closed: Option<RowError>,
}

impl<T: Waiter> State<T> {
    /// Gives back a row that cannot wait, with what to tell it unless nobody listens. A row's fate is asked under the
    /// lock: its caller marks it dead before it sweeps, so a dead row that is not found here is found there.
    fn push(&mut self, lane: Lane, row: T) -> Option<(T, Option<RowError>)> {
        if let Some(why) = &self.closed {
            return Some((row, Some(why.clone())));
        }
        match Fate::of(&row, Instant::now()) {
            Fate::Expired => Some((row, Some(RowError::Deadline))),
            Fate::Abandoned => Some((row, None)),
            Fate::Runs => {
                self.queue.push(lane, row);
                None
            }
        }
    }
}

impl<T: Waiter> Waiting<T> {
    pub fn new(watch_len: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let state = State { queue: Queue::default(), closed: None };
        Self { state: Mutex::new(state), changed: Condvar::new(), watch_len: Box::new(watch_len) }
    }

    /// Puts a row in its lane. A row that is dead already, or comes after the end, is told at once.
    pub fn push(&self, lane: Lane, row: T) {
        self.push_all([(lane, row)]);
    }

    /// Puts rows in their lanes before anybody can take one of them, so that the rows of one picture share a batch.
    pub fn push_all(&self, rows: impl IntoIterator<Item = (Lane, T)>) {
        let refused: Vec<_> = {
            let mut state = self.lock();
            let refused = rows.into_iter().filter_map(|(lane, row)| state.push(lane, row)).collect();
            (self.watch_len)(state.queue.rows());
            refused
        };
        self.changed.notify_one();
        for (row, why) in refused {
            if let Some(why) = why {
                row.fail(&why);
            }
        }
    }

    /// Blocks until there are rows; for fewer than `rows_max` it waits up to `delay` for more. `None` after the end.
    pub fn ready(&self, rows_max: usize, delay: Duration) -> Option<Ready<'_, T>> {
        let empty = |state: &mut State<T>| state.closed.is_none() && state.queue.rows() == 0;
        let short = |state: &mut State<T>| state.closed.is_none() && state.queue.rows() < rows_max;
        let mut state = self.changed.wait_while(self.lock(), empty).unwrap_or_else(PoisonError::into_inner);
        if !delay.is_zero() {
            let waited = self.changed.wait_timeout_while(state, delay, short);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.closed.is_none().then_some(Ready { waiting: self, state })
    }

    /// Tells rows whose deadline has passed and forgets those that nobody waits for. O(rows).
    pub fn sweep(&self) {
        let mut state = self.lock();
        let swept = state.queue.sweep(Instant::now());
        self.without_the_dead(state, swept);
    }

    /// Fails every row that waits now.
    pub fn fail_all(&self, why: &RowError) {
        let rows = {
            let mut state = self.lock();
            let rows = state.queue.take_all();
            (self.watch_len)(0);
            rows
        };
        rows.into_iter().for_each(|row| row.fail(why));
    }

    /// Fails every row that waits now or is pushed later, and ends the threads that take. The first reason stays.
    pub fn close(&self, why: RowError) {
        self.lock().closed.get_or_insert_with(|| why.clone());
        self.changed.notify_all();
        self.fail_all(&why);
    }

    /// Rows that wait.
    pub fn rows(&self) -> usize {
        self.lock().queue.rows()
    }

    /// Rows are told, counted and dropped outside the lock.
    fn without_the_dead(&self, state: MutexGuard<'_, State<T>>, taken: Taken<T>) -> Vec<T> {
        (self.watch_len)(state.queue.rows());
        drop(state);
        taken.expired.into_iter().for_each(|row| row.fail(&RowError::Deadline));
        taken.run
    }

    /// Nothing that runs under the lock can leave the queue half changed, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
