//! How many bytes merged weights may keep resident.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::EngineError;

/// A limit shared by all merged lenses of a backend.
pub struct Budget {
    max: usize,
    used: AtomicUsize,
}

/// Bytes taken from a [`Budget`], given back when dropped.
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// At most `max` bytes.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicUsize::new(0) })
    }

    /// Takes `bytes`, or says how many are left.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Reservation, EngineError> {
        let take = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.max);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(Reservation { budget: self.clone(), bytes }),
            Err(used) => Err(EngineError::MergeBudget { needed: bytes, left: self.max - used }),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_when_a_reservation_drops() {
        let budget = Budget::new(10);
        let first = budget.reserve(7).expect("fits");
        assert!(matches!(budget.reserve(4), Err(EngineError::MergeBudget { needed: 4, left: 3 })));
        drop(first);
        assert!(budget.reserve(10).is_ok());
        assert!(budget.reserve(usize::MAX).is_err());
    }
}
