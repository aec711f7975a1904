//! The same work on many things, shared by a few threads.
#![forbid(unsafe_code)]

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// `f(0)` to `f(count - 1)`, in that order, computed by at most `threads` threads (at least one), each taking the next
/// that nobody has. What `f` answers must not depend on who computes it, or when.
///
/// # Panics
/// When `f` does, after all threads have ended.
pub fn map<T: Send>(count: usize, threads: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let take = || {
        let index = next.fetch_add(1, Ordering::Relaxed);
        (index < count).then(|| (index, f(index)))
    };
    let mut all: Vec<(usize, T)> = thread::scope(|scope| {
        let worker = |_| scope.spawn(|| std::iter::from_fn(take).collect::<Vec<_>>());
        let workers: Vec<_> = (0..threads.clamp(1, count.max(1))).map(worker).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    all.sort_unstable_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_things_whoever_does_them() {
        for (count, threads) in [(0, 2), (1, 0), (5, 2), (100, 7), (3, 9)] {
            assert_eq!(map(count, threads, |i| 2 * i), (0..count).map(|i| 2 * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_is_passed_on() {
        let failed = std::panic::catch_unwind(|| map(4, 2, |i| assert_ne!(i, 2)));
        assert!(failed.is_err());
    }
}
