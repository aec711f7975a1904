use std::sync::{Arc, Mutex, PoisonError};

use super::buffer::{Arena, LINE, Line, lines};
use super::kernel::Kernel;
use super::pool::Pool;

/// The threads of one worker with what each of them needs.
pub struct Team {
    kernel: &'static Kernel,
    pool: Pool,
    scratch: Vec<Mutex<Vec<Line>>>,
    /// Where activations come from.
    pub arena: Arc<Arena>,
}

impl Team {
    /// A team of that many threads.
    pub fn new(kernel: &'static Kernel, threads: usize) -> Self {
        let pool = Pool::new(threads);
        let scratch = (0..pool.threads()).map(|_| Mutex::default()).collect();
        Self { kernel, pool, scratch, arena: Arc::default() }
    }

    /// The kernel that all of them use.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Runs a phase on every thread, each with scratch memory of at least that many bytes that nobody else uses.
    pub fn run(&mut self, scratch_bytes: usize, phase: &(dyn Fn(&mut [Line]) + Sync)) {
        let scratch = &self.scratch;
        self.pool.run(&|thread| {
            // Scratch has no state between phases, so what a panic left behind does not matter.
            let mut memory = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            if memory.len() * LINE < scratch_bytes + LINE {
                *memory = lines(scratch_bytes);
            }
            phase(&mut memory);
        });
    }
}
