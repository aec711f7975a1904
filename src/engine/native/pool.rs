//! A small pool of threads for short phases: they spin briefly between phases, then sleep.
//!
//! A forward pass has some ninety phases; waking a sleeping thread for each would cost more than five percent of it.
#![allow(unsafe_code, reason = "one lifetime is extended for the length of a call; see `Pool::run`")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an idle thread spins before it sleeps: longer than any gap between two phases of a forward pass, short
/// enough that an idle server uses no processor time.
const SPIN: Duration = Duration::from_micros(100);

type Phase = dyn Fn(usize) + Sync;

/// Threads that run one phase at a time together with the caller.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Counts phases; changes when there is one to run.
    epoch: AtomicUsize,
    /// Pool threads that have not finished the current phase.
    running: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    /// The current phase. Written before `epoch`, read after it.
    phase: Mutex<Option<&'static Phase>>,
    sleepers: AtomicUsize,
    wake: Condvar,
}

impl Pool {
    /// A pool in which `threads` threads (at least 1) run each phase, the caller among them.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let spawn = |index: usize| {
            let shared = shared.clone();
            let name = format!("native-{index}");
            std::thread::Builder::new().name(name).spawn(move || shared.work(index))
        };
        // A machine that refuses threads still computes, with those that it gave.
        let threads = (1..threads.max(1)).map_while(|index| spawn(index).ok()).collect();
        Self { shared, threads }
    }

    /// Threads of a phase, the caller included.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Runs `phase` once on each thread, with the thread's index, and returns when all have ended.
    ///
    /// # Panics
    /// When the phase panicked on any thread, after all threads have ended it. The pool stays usable.
    pub fn run(&mut self, phase: &(dyn Fn(usize) + Sync)) {
        if self.threads.is_empty() {
            return phase(0);
        }
        // SAFETY: the reference is used by the pool's threads until `running` is 0, which is waited for below, also
        // when the caller's own part panics.
        let phase: &'static Phase = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static Phase>(phase) };
        self.shared.start(phase, self.threads.len());
        let own = catch_unwind(AssertUnwindSafe(|| phase(0)));
        self.shared.wait_until_done();
        let panicked = self.shared.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!panicked, "a thread of the native engine panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        {
            let _guard = self.shared.lock();
            self.shared.epoch.fetch_add(1, Ordering::Release);
            self.shared.wake.notify_all();
        }
        for thread in self.threads.drain(..) {
            // Threads catch their panics, so joining cannot fail.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<&'static Phase>> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, phase: &'static Phase, threads: usize) {
        self.running.store(threads, Ordering::Relaxed);
        let mut current = self.lock();
        *current = Some(phase);
        self.epoch.fetch_add(1, Ordering::Release);
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            self.wake.notify_all();
        }
    }

    fn wait_until_done(&self) {
        let mut turns = 0u32;
        while self.running.load(Ordering::Acquire) > 0 {
            turns = turns.saturating_add(1);
            // The others may wait for this very core.
            if turns > 20_000 {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    fn work(&self, index: usize) {
        let mut seen = 0;
        loop {
            seen = self.next_epoch(seen);
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let Some(phase) = *self.lock() else { continue };
            if catch_unwind(AssertUnwindSafe(|| phase(index))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.running.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for an epoch other than `seen`: spinning, then asleep.
    fn next_epoch(&self, seen: usize) -> usize {
        let start = Instant::now();
        loop {
            for _ in 0..64 {
                let epoch = self.epoch.load(Ordering::Acquire);
                if epoch != seen {
                    return epoch;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() > SPIN {
                return self.sleep(seen);
            }
        }
    }

    fn sleep(&self, seen: usize) -> usize {
        let mut guard = self.lock();
        // `epoch` changes under the lock, so a change between the test and the wait is not missed.
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        while self.epoch.load(Ordering::Acquire) == seen {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        self.epoch.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_runs_every_phase_once() {
        for threads in [1, 2, 3, 7] {
            let mut pool = Pool::new(threads);
            let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            for _ in 0..200 {
                pool.run(&|index| {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                });
            }
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 200), "{counts:?}");
        }
    }

    #[test]
    fn a_panic_on_any_thread_fails_the_phase_and_not_the_pool() {
        let mut pool = Pool::new(3);
        for bad in 0..3 {
            let failed = catch_unwind(AssertUnwindSafe(|| pool.run(&|index| assert_ne!(index, bad))));
            assert!(failed.is_err());
        }
        let failed = catch_unwind(AssertUnwindSafe(|| pool.run(&|_| panic!("all of them"))));
        assert!(failed.is_err());
        let count = AtomicUsize::new(0);
        pool.run(&|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_thread_that_fell_asleep_wakes_up() {
        let mut pool = Pool::new(2);
        for _ in 0..3 {
            while pool.shared.sleepers.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            let count = AtomicUsize::new(0);
            pool.run(&|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 2);
        }
    }
}
