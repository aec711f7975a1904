//! The arithmetic: one set of algorithms over [`simd::Simd`], compiled for each instruction set, chosen once.
//!
//! This is a kernel room: its functions take raw pointers, because threads write disjoint columns of one matrix. Each
//! function states what must hold; callers are `super::{linear, attention, ops, train}` only.
#![allow(unsafe_code, reason = "a kernel room: see above")]
#![allow(unsafe_op_in_unsafe_fn, reason = "each line would be a block of its own; the contract is the function's")]
#![allow(clippy::missing_safety_doc, reason = "private room; contracts are stated where they differ")]
#![allow(clippy::inline_always, reason = "bodies must be compiled inside the functions that enable their features")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::undocumented_unsafe_blocks,
    reason = "widths are far below 2^24; see the room's contract"
)]
#![allow(
    clippy::excessive_precision,
    clippy::approx_constant,
    reason = "coefficients are written as their sources print them"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod backward;
mod math;
mod portable;
mod rows;
mod simd;
mod tile;

pub use backward::{Backward, NormBackward, Reduce};
pub use rows::Norm;
pub use tile::{Finish, Tile};

use crate::engine;

/// The largest tile of any kernel.
pub const ROWS_MAX: usize = 8;
/// The widest tile of any kernel, in vectors.
pub const VECTORS_MAX: usize = 3;
/// The widest panel of any kernel, in columns.
pub const COLUMNS_MAX: usize = 48;

/// Precision of matrix operands. Sums, norms, softmax and the residual stream are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits: 8 of exponent, 7 of fraction.
    Bf16,
}

impl Precision {
    /// Elements per 32-bit word.
    pub fn per_word(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }
}

impl From<Precision> for engine::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

type SpinFn = unsafe fn(turns: usize) -> f32;
type RescaleFn = unsafe fn(words: usize, from: *const u32, to: *mut u32, scale_out: *const f32, scale_in: *const f32);
type NormFn = unsafe fn(width: usize, x: *const f32, norm: &Norm, to: *mut u8, to_elements: bool);
type SoftmaxFn = unsafe fn(padded: usize, scores: *mut f32, scale: f32, to: *mut u8);
type ConvertFn = unsafe fn(count: usize, from: *const f32, to: *mut u8);
type InterleaveFn = unsafe fn(from: *const u8, pitch: usize, rows: usize, to: *mut u32);

/// Entry points of one instruction set.
pub struct Kernel {
    /// Its name for `--kernel`, tables and metrics.
    pub name: &'static str,
    /// Of matrix operands.
    pub precision: Precision,
    /// Floats per vector.
    pub lanes: usize,
    /// Rows of a full tile.
    pub rows: usize,
    /// Vectors of a full tile.
    pub vectors: usize,
    tiles: [[unsafe fn(&Tile); ROWS_MAX]; VECTORS_MAX],
    rescale: [RescaleFn; VECTORS_MAX],
    /// See `rows::norm`.
    pub norm: NormFn,
    /// See `rows::softmax`.
    pub softmax: SoftmaxFn,
    /// See `rows::convert`.
    pub convert: ConvertFn,
    /// See `simd::Simd::interleave`; writes one vector of words.
    pub interleave: InterleaveFn,
    /// What the backward pass needs beside these.
    pub backward: Backward,
    spin: SpinFn,
    available: fn() -> bool,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Kernel {
    /// The tile function for that many rows (1 to `rows`) and vectors (1 to `vectors`).
    pub fn tile(&self, rows: usize, vectors: usize) -> unsafe fn(&Tile) {
        self.tiles[vectors - 1][rows - 1]
    }

    /// The rescaling of a panel that many vectors wide.
    pub fn rescale(&self, vectors: usize) -> RescaleFn {
        self.rescale[vectors - 1]
    }

    /// Multiplies and adds in registers; answers with the number of floating-point operations that it did.
    pub fn spin(&self, turns: usize) -> u64 {
        assert!(self.is_available());
        // SAFETY: the processor has the kernel's instructions; no memory is touched.
        std::hint::black_box(unsafe { (self.spin)(turns) });
        (turns * self.rows * self.columns() * self.precision.per_word() * 2) as u64
    }

    /// Columns of a full panel.
    pub fn columns(&self) -> usize {
        self.lanes * self.vectors
    }

    /// Whether this processor has what it needs.
    pub fn is_available(&self) -> bool {
        (self.available)()
    }

    /// Every kernel that was compiled in, fastest first.
    pub fn all() -> &'static [&'static Kernel] {
        static ALL: &[&Kernel] = &[
            #[cfg(target_arch = "x86_64")]
            &avx512_bf16_entry::KERNEL,
            #[cfg(target_arch = "x86_64")]
            &avx512_entry::KERNEL,
            #[cfg(target_arch = "x86_64")]
            &avx2_entry::KERNEL,
            &portable_entry::KERNEL,
        ];
        ALL
    }

    /// The fastest kernel that this processor has, of that precision if one is asked for.
    pub fn best(precision: Option<Precision>) -> Option<&'static Kernel> {
        let fits = |k: &&&Kernel| k.is_available() && precision.is_none_or(|p| p == k.precision);
        Self::all().iter().find(fits).copied()
    }

    /// The kernel of that name.
    pub fn named(name: &str) -> Option<&'static Kernel> {
        Self::all().iter().find(|k| k.name == name).copied()
    }
}

/// Compiles the algorithms for one instruction set: each body is inlined into a function that enables its features.
macro_rules! kernel {
    ($module:ident, $simd:ty, $name:literal, $precision:expr, $available:expr, [$($feature:meta)?]) => {
        mod $module {
            use super::simd::Simd;
            use super::{Kernel, Norm, Precision, Tile, rows, tile as tiles};

            type S = $simd;

            super::backward::entries!(super::S, [$($feature)?]);

            $(#[$feature])?
            unsafe fn tile<const R: usize, const V: usize>(t: &Tile) {
                tiles::tile::<S, R, V>(t);
            }

            $(#[$feature])?
            unsafe fn rescale<const V: usize>(
                words: usize,
                from: *const u32,
                to: *mut u32,
                scale_out: *const f32,
                scale_in: *const f32,
            ) {
                tiles::rescale::<S, V>(words, from, to, scale_out, scale_in);
            }

            $(#[$feature])?
            unsafe fn norm(width: usize, x: *const f32, norm: &Norm, to: *mut u8, to_elements: bool) {
                rows::norm::<S>(width, x, norm, to, to_elements);
            }

            $(#[$feature])?
            unsafe fn softmax(padded: usize, scores: *mut f32, scale: f32, to: *mut u8) {
                rows::softmax::<S>(padded, scores, scale, to.cast());
            }

            $(#[$feature])?
            unsafe fn convert(count: usize, from: *const f32, to: *mut u8) {
                rows::convert::<S>(count, from, to.cast());
            }

            $(#[$feature])?
            unsafe fn spin(turns: usize) -> f32 {
                tiles::spin::<S, { S::ROWS }, { S::VECTORS }>(turns)
            }

            $(#[$feature])?
            unsafe fn interleave(from: *const u8, pitch: usize, rows: usize, to: *mut u32) {
                S::store_words(to, S::interleave(from.cast(), pitch, rows));
            }

            const fn rows_up_to(rows: usize) -> usize {
                if rows < S::ROWS { rows } else { S::ROWS }
            }

            const fn vectors_up_to(vectors: usize) -> usize {
                if vectors < S::VECTORS { vectors } else { S::VECTORS }
            }

            macro_rules! column {
                ($v:literal) => {
                    [
                        tile::<{ rows_up_to(1) }, { vectors_up_to($v) }>,
                        tile::<{ rows_up_to(2) }, { vectors_up_to($v) }>,
                        tile::<{ rows_up_to(3) }, { vectors_up_to($v) }>,
                        tile::<{ rows_up_to(4) }, { vectors_up_to($v) }>,
                        tile::<{ rows_up_to(5) }, { vectors_up_to($v) }>,
                        tile::<{ rows_up_to(6) }, { vectors_up_to($v) }>,
                        tile::<{ rows_up_to(7) }, { vectors_up_to($v) }>,
                        tile::<{ rows_up_to(8) }, { vectors_up_to($v) }>,
                    ]
                };
            }

            pub static KERNEL: Kernel = Kernel {
                name: $name,
                precision: $precision,
                lanes: S::LANES,
                rows: S::ROWS,
                vectors: S::VECTORS,
                tiles: [column!(1), column!(2), column!(3)],
                rescale: [
                    rescale::<{ vectors_up_to(1) }>,
                    rescale::<{ vectors_up_to(2) }>,
                    rescale::<{ vectors_up_to(3) }>,
                ],
                norm,
                softmax,
                convert,
                interleave,
                backward: backward_entries::BACKWARD,
                spin,
                available: $available,
            };
        }
    };
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512_bf16() -> bool {
    has_avx512() && is_x86_feature_detected!("avx512bf16")
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
kernel!(
    avx512_bf16_entry,
    super::avx512::Avx512Bf16,
    "avx512-bf16",
    Precision::Bf16,
    super::has_avx512_bf16,
    [target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
);
#[cfg(target_arch = "x86_64")]
kernel!(
    avx512_entry,
    super::avx512::Avx512,
    "avx512",
    Precision::F32,
    super::has_avx512,
    [target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
);
#[cfg(target_arch = "x86_64")]
kernel!(avx2_entry, super::avx2::Avx2, "avx2", Precision::F32, super::has_avx2, [target_feature(enable = "avx2,fma")]);
kernel!(portable_entry, super::portable::Portable, "portable", Precision::F32, || true, []);
