use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::buffer::Line;
use super::team::Team;

/// Units of one phase, claimed by its threads one by one: a thread that was held up takes fewer.
pub struct Claims {
    next: AtomicUsize,
    count: usize,
}

impl Claims {
    /// Units 0 to `count`.
    pub fn new(count: usize) -> Self {
        Self { next: AtomicUsize::new(0), count }
    }

    /// The next unit that nobody has.
    pub fn claim(&self) -> Option<usize> {
        let unit = self.next.fetch_add(1, Ordering::Relaxed);
        (unit < self.count).then_some(unit)
    }

    /// Runs `f` on every unit that this thread gets.
    pub fn each(&self, mut f: impl FnMut(usize)) {
        while let Some(unit) = self.claim() {
            f(unit);
        }
    }
}

/// Runs `f` on units 0 to `count` with scratch of at least that many bytes, and answers with what it gave, in order.
pub fn map<T: Send + Sync>(
    team: &mut Team,
    scratch_bytes: usize,
    count: usize,
    f: &(dyn Fn(usize, &mut [Line]) -> T + Sync),
) -> Vec<T> {
    let claims = Claims::new(count);
    let answers: Vec<_> = (0..count).map(|_| OnceLock::new()).collect();
    team.run(scratch_bytes, &|scratch| {
        claims.each(|unit| {
            let _ = answers[unit].set(f(unit, scratch));
        });
    });
    answers.into_iter().filter_map(OnceLock::into_inner).collect()
}
