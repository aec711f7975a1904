//! Weights in the order that the kernels read them.

use ndarray::ArrayView2;

use super::buffer::{LINE, Line, lines};
use super::kernel::{Kernel, Precision};

/// Words of the inner axis per block in f32: a block of a panel and a block of rows share the second-level cache. In
/// bf16 a whole panel fits, and sums never leave their registers.
const BLOCK_WORDS_F32: usize = 768;

/// A weight `[outputs, inputs]` as panels of the kernel's columns. Panel after panel, and inside a panel block after
/// block of the inner axis: one vector of words per column vector for each word. Columns beyond `outputs` and inputs
/// beyond `inputs` are zero.
pub struct Panels {
    kernel: &'static Kernel,
    outputs: usize,
    words: usize,
    block: usize,
    data: Vec<Line>,
    bias: Vec<f32>,
}

/// The part of a panel that one pass of tiles reads.
#[derive(Clone, Copy)]
pub struct Block {
    /// First word of the inner axis.
    pub first: usize,
    /// Words of the inner axis.
    pub words: usize,
    /// Whether partial sums stand in the target already.
    pub resumes: bool,
    /// Whether sums are complete after it.
    pub completes: bool,
}

impl Panels {
    /// Packs a weight and its bias `[outputs]`.
    pub fn pack(kernel: &'static Kernel, weight: ArrayView2<'_, f32>, bias: &[f32]) -> Self {
        let (outputs, inputs) = weight.dim();
        let words = inputs.div_ceil(kernel.precision.per_word());
        let mut panels = Self::empty(kernel, outputs, words);
        panels.bias[..outputs].copy_from_slice(bias);
        panels.fill(|output, input| weight.get((output, input)).copied().unwrap_or(0.0));
        panels
    }

    /// The same weight with inputs and outputs exchanged, without a bias.
    pub fn transposed(&self) -> Self {
        let per_word = self.kernel.precision.per_word();
        let (outputs, inputs) = (self.words * per_word, self.outputs);
        let mut panels = Self::empty(self.kernel, outputs, inputs.div_ceil(per_word));
        panels.fill(|output, input| if input < inputs { self.value(input, output) } else { 0.0 });
        panels
    }

    /// One weight.
    fn value(&self, output: usize, input: usize) -> f32 {
        let (panel, column) = (output / self.kernel.columns(), output % self.kernel.columns());
        let per_word = self.kernel.precision.per_word();
        let columns = self.vectors(panel) * self.kernel.lanes;
        let word =
            bytemuck::cast_slice::<Line, u32>(&self.data)[self.start(panel) + input / per_word * columns + column];
        f32::from_bits(match self.kernel.precision {
            Precision::F32 => word,
            Precision::Bf16 if input.is_multiple_of(2) => word << 16,
            Precision::Bf16 => word & 0xffff_0000,
        })
    }

    fn empty(kernel: &'static Kernel, outputs: usize, words: usize) -> Self {
        let block = match kernel.precision {
            Precision::F32 => BLOCK_WORDS_F32,
            Precision::Bf16 => words,
        };
        let columns = outputs.next_multiple_of(kernel.lanes);
        Self {
            kernel,
            outputs,
            words,
            block,
            data: lines(columns * words * size_of::<u32>()),
            bias: vec![0.0; columns],
        }
    }

    /// `weight(output, input)` is asked for outputs there are, and for inputs up to whole words.
    fn fill(&mut self, weight: impl Fn(usize, usize) -> f32) {
        for panel in 0..self.count() {
            let (first, columns) = (self.column(panel), self.vectors(panel) * self.kernel.lanes);
            let (start, words, precision) = (self.start(panel), self.words, self.kernel.precision);
            let data: &mut [u32] = bytemuck::cast_slice_mut(&mut self.data);
            for output in first..(first + columns).min(self.outputs) {
                for word in 0..words {
                    data[start + word * columns + output - first] = match precision {
                        Precision::F32 => weight(output, word).to_bits(),
                        Precision::Bf16 => pair(weight(output, 2 * word), weight(output, 2 * word + 1)),
                    };
                }
            }
        }
    }

    /// The kernel that it was packed for.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// All blocks of a panel.
    pub fn whole(&self, panel: usize) -> &[u32] {
        let len = self.vectors(panel) * self.kernel.lanes * self.words;
        &bytemuck::cast_slice::<Line, u32>(&self.data)[self.start(panel)..][..len]
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of panels.
    pub fn count(&self) -> usize {
        self.outputs.div_ceil(self.kernel.columns())
    }

    /// Column vectors of a panel: the last one may be narrower.
    pub fn vectors(&self, panel: usize) -> usize {
        let columns = (self.outputs - panel * self.kernel.columns()).min(self.kernel.columns());
        columns.div_ceil(self.kernel.lanes)
    }

    /// First output of a panel.
    pub fn column(&self, panel: usize) -> usize {
        panel * self.kernel.columns()
    }

    /// The panel's biases, zeros beyond the outputs.
    pub fn bias(&self, panel: usize) -> &[f32] {
        let first = self.column(panel);
        &self.bias[first..first + self.vectors(panel) * self.kernel.lanes]
    }

    /// The blocks of the inner axis, in order.
    pub fn blocks(&self) -> impl Iterator<Item = Block> + use<> {
        let (words, block) = (self.words, self.block);
        (0..words.div_ceil(block)).map(move |i| {
            let first = i * block;
            let end = (first + block).min(words);
            Block { first, words: end - first, resumes: first > 0, completes: end == words }
        })
    }

    /// A panel's words from this input on, which begins a word.
    pub fn words(&self, panel: usize, input: usize) -> &[u32] {
        let columns = self.vectors(panel) * self.kernel.lanes;
        &self.whole(panel)[input / self.kernel.precision.per_word() * columns..]
    }

    /// The words of one block of a panel.
    pub fn data(&self, panel: usize, block: &Block) -> &[u32] {
        let columns = self.vectors(panel) * self.kernel.lanes;
        let start = self.start(panel) + block.first * columns;
        &bytemuck::cast_slice::<Line, u32>(&self.data)[start..start + block.words * columns]
    }

    /// The panel's first word.
    fn start(&self, panel: usize) -> usize {
        self.column(panel) * self.words
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.data.len() * LINE + self.bias.len() * size_of::<f32>()
    }

    /// Words of the largest block of any panel, which a rescaled copy must hold.
    pub fn scratch_words(&self) -> usize {
        self.block.min(self.words) * self.kernel.columns()
    }

    /// The same weight rescaled: bit for bit what rescaling at request time gives.
    pub fn rescaled(&self, scale_in: &[f32], scale_out: &[f32], shift: &[f32]) -> Self {
        let mut merged = Self::empty(self.kernel, self.outputs, self.words);
        merged.bias.copy_from_slice(&self.bias);
        merged.bias.iter_mut().zip(shift).for_each(|(bias, shift)| *bias += shift);
        for panel in 0..self.count() {
            for block in self.blocks() {
                let from = self.data(panel, &block);
                let start = self.start(panel) + block.first * self.vectors(panel) * self.kernel.lanes;
                let to = &mut bytemuck::cast_slice_mut::<Line, u32>(&mut merged.data)[start..start + from.len()];
                super::linear::rescale(self, panel, &block, scale_in, scale_out, to);
            }
        }
        merged
    }
}

fn pair(low: f32, high: f32) -> u32 {
    let bits = |v| u32::from(half::bf16::from_f32(v).to_bits());
    bits(low) | bits(high) << 16
}
