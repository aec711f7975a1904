//! Memory of activations and packed weights: whole cache lines, aligned, recycled.

use std::sync::{Arc, Mutex, PoisonError};

/// One cache line, and one vector of AVX-512.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Line([u32; 16]);

/// Bytes per line.
pub const LINE: usize = size_of::<Line>();

/// Lines that hold at least that many bytes, zeroed, and one more, since kernels load whole vectors.
pub fn lines(bytes: usize) -> Vec<Line> {
    vec![Line([0; 16]); bytes.div_ceil(LINE) + 1]
}

/// Columns up to whole lines of floats, and so to whole vectors.
pub fn padded(columns: usize) -> usize {
    columns.next_multiple_of(LINE / size_of::<f32>())
}

/// Values from row to row of a matrix: an odd number of lines of bf16. Were it even, as the widths of networks are, the
/// rows of a tile would share a few sets of the cache, and evict each other.
pub fn pitch(columns: usize) -> usize {
    const LINE_BF16: usize = LINE / size_of::<u16>();
    let lines = columns.div_ceil(LINE_BF16);
    (lines + usize::from(lines.is_multiple_of(2))) * LINE_BF16
}

/// Buffers that wait to be used again.
#[derive(Default)]
pub struct Arena(Mutex<Vec<Vec<Line>>>);

impl Arena {
    fn take(&self, bytes: usize) -> Vec<Line> {
        let wanted = bytes.div_ceil(LINE) + 1;
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = free.iter().enumerate().filter(|(_, b)| b.len() >= wanted).min_by_key(|(_, b)| b.len());
        match fitting.map(|(at, _)| at) {
            Some(at) => free.swap_remove(at),
            None => {
                // A smaller one would never be used again once batches have grown.
                let smallest = (0..free.len()).min_by_key(|&at| free[at].len());
                smallest.map(|at| free.swap_remove(at));
                drop(free);
                lines(bytes)
            }
        }
    }

    fn give_back(&self, buffer: Vec<Line>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// A matrix `[rows, columns]`, row-major, `pitch` values from row to row, of floats or of a kernel's elements. Columns
/// beyond `columns` may be read and written by kernels; what they hold has no meaning.
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Values from row to row.
    pub pitch: usize,
    /// Bytes per value.
    pub size: usize,
    lines: Vec<Line>,
    arena: Arc<Arena>,
}

impl Matrix {
    /// A matrix whose values are whatever its memory held before.
    pub fn take(arena: &Arc<Arena>, rows: usize, pitch: usize, size: usize) -> Self {
        Self { rows, pitch, size, lines: arena.take(rows * pitch * size), arena: arena.clone() }
    }

    /// Where a value lies. Valid to read for the whole matrix.
    pub fn at(&self, row: usize, column: usize) -> *const u8 {
        assert!(row < self.rows && column < self.pitch);
        self.lines.as_ptr().cast::<u8>().wrapping_add((row * self.pitch + column) * self.size)
    }

    /// One float of a matrix of floats.
    pub fn float(&self, row: usize, column: usize) -> f32 {
        assert!(row < self.rows && column < self.pitch && self.size == size_of::<f32>());
        bytemuck::cast_slice::<Line, f32>(&self.lines)[row * self.pitch + column]
    }

    /// For phases that write: see [`Target`].
    pub fn target(&mut self) -> Target {
        Target { first: self.lines.as_mut_ptr().cast(), rows: self.rows, pitch: self.pitch, size: self.size }
    }
}

impl Drop for Matrix {
    fn drop(&mut self) {
        self.arena.give_back(std::mem::take(&mut self.lines));
    }
}

/// A matrix that several threads write at once, each to places of its own.
#[derive(Clone, Copy)]
pub struct Target {
    first: *mut u8,
    rows: usize,
    /// Values from row to row.
    pub pitch: usize,
    size: usize,
}

// SAFETY: a target only computes addresses; that no two threads write to one place is the duty of those who write.
#[expect(unsafe_code, reason = "see the line above")]
unsafe impl Sync for Target {}

impl Target {
    /// Where a value lies. Valid as long as the matrix is.
    pub fn at(&self, row: usize, column: usize) -> *mut u8 {
        assert!(row < self.rows && column < self.pitch);
        self.first.wrapping_add((row * self.pitch + column) * self.size)
    }
}
