use std::sync::atomic::{AtomicUsize, Ordering};

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
