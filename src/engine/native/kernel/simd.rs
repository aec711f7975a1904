//! What a kernel needs from an instruction set. The algorithms in this room are written once over this trait.

/// A vector instruction set with the precision of its matrix products.
///
/// A *word* is 32 bits of matrix operand: one f32, or two bf16 that are multiplied and added as a pair.
///
/// # Safety
/// Every method may use instructions that [`super::Kernel`] has checked for, and must be inlined into a function that
/// enables them. Pointers must be valid for the lanes that are read or written; no alignment is asked for.
pub unsafe trait Simd: Copy {
    /// `LANES` floats.
    type Floats: Copy;
    /// `LANES` words.
    type Words: Copy;
    /// One number of a stored matrix operand: f32 or the bits of a bf16.
    type Element: Copy;

    /// Floats per vector.
    const LANES: usize;
    /// Rows of a full tile of the matrix product.
    const ROWS: usize;
    /// Vectors across a full tile.
    const VECTORS: usize;
    /// Elements per word.
    const PER_WORD: usize = size_of::<u32>() / size_of::<Self::Element>();

    /// All lanes alike.
    unsafe fn splat(value: f32) -> Self::Floats;
    /// Reads floats.
    unsafe fn load(from: *const f32) -> Self::Floats;
    /// Writes floats.
    unsafe fn store(to: *mut f32, x: Self::Floats);
    /// Writes floats as elements, rounding to nearest even.
    unsafe fn store_elements(to: *mut Self::Element, x: Self::Floats);
    /// Reads elements as floats.
    unsafe fn load_elements(from: *const Self::Element) -> Self::Floats;
    /// a + b.
    unsafe fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// a - b.
    unsafe fn sub(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// a · b.
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// a · b + c.
    unsafe fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// The greater one, lane by lane; which of the two a NaN gives is not said.
    unsafe fn max(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The smaller one, lane by lane; which of the two a NaN gives is not said.
    unsafe fn min(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// 1 / x, to one unit in the last place.
    unsafe fn recip(x: Self::Floats) -> Self::Floats;
    /// To the nearest integer.
    unsafe fn round(x: Self::Floats) -> Self::Floats;
    /// x · 2^n for integers n in -126..=127.
    unsafe fn scale_by_power(x: Self::Floats, n: Self::Floats) -> Self::Floats;
    /// The sum of all lanes, in an order that is always the same.
    unsafe fn sum(x: Self::Floats) -> f32;
    /// The greatest lane.
    unsafe fn greatest(x: Self::Floats) -> f32;

    /// Reads words.
    unsafe fn load_words(from: *const u32) -> Self::Words;
    /// Writes words.
    unsafe fn store_words(to: *mut u32, x: Self::Words);
    /// All lanes alike.
    unsafe fn splat_word(word: u32) -> Self::Words;
    /// Element `i` of each word as a float, `i` below `PER_WORD`.
    unsafe fn element(words: Self::Words, i: usize) -> Self::Floats;
    /// sum + a · b, the products of a pair added.
    unsafe fn dot(sum: Self::Floats, a: Self::Words, b: Self::Words) -> Self::Floats;
    /// w * (1 + scale_out · scale_in): lanes are outputs, the elements of a word are consecutive inputs.
    unsafe fn rescale(w: Self::Words, scale_out: Self::Floats, scale_in: *const f32) -> Self::Words;
    /// Words from `PER_WORD` rows of elements that lie `pitch` elements apart: lane i holds element i of each row.
    /// Only the first `rows` rows are read; the others are zero.
    unsafe fn interleave(from: *const Self::Element, pitch: usize, rows: usize) -> Self::Words;
}
