//! Bounds on what runs beside the async runtime and on what calls keep in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Management calls that run at once, a quarter of the runtime's blocking threads: slow uploads leave the others to
/// classification.
const MANAGEMENT_MAX: usize = 8;
/// Stored versions that are read at once.
const LOADS_MAX: usize = 2;

/// Places for calls that block. Waiting for one is fair and costs no thread.
pub struct Lanes {
    /// Uploads and every other management call.
    pub management: Semaphore,
    /// Reading a version that is not in memory.
    pub loads: Semaphore,
    /// Inactive versions that classify calls may hold at once.
    inactive: Arc<Semaphore>,
}

/// The right to hold inactive versions, given back when dropped.
pub struct InactivePermit {
    _places: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    /// Calls may hold `inactive_max` inactive versions in all.
    pub fn new(inactive_max: usize) -> Self {
        Self {
            management: Semaphore::new(MANAGEMENT_MAX),
            loads: Semaphore::new(LOADS_MAX),
            inactive: Arc::new(Semaphore::new(inactive_max.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// The right to hold that many inactive versions, or none when other calls hold too many.
    pub fn hold_inactive(&self, versions: usize) -> Option<InactivePermit> {
        if versions == 0 {
            return Some(InactivePermit::none());
        }
        let places = self.inactive.clone().try_acquire_many_owned(u32::try_from(versions).ok()?);
        places.ok().map(|places| InactivePermit { _places: Some(places) })
    }
}

impl InactivePermit {
    /// For calls that hold active versions only.
    pub fn none() -> Self {
        Self { _places: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_calls_hold_is_bounded_and_given_back() {
        let lanes = Lanes::new(3);
        let held = lanes.hold_inactive(2).expect("there is room");
        assert!(lanes.hold_inactive(2).is_none());
        assert!(lanes.hold_inactive(0).is_some() && lanes.hold_inactive(1).is_some());
        drop(held);
        assert!(lanes.hold_inactive(3).is_some());
        assert!(lanes.hold_inactive(usize::MAX).is_none());
    }
}
