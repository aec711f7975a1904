//! What one run reads, in buffers that are kept from run to run.

use super::model::Given;
use super::session::{Input, Values};
use crate::backbone::Shape;
use crate::engine::patches;
use crate::image::{Pixels, Preprocess};

/// One picture of a run.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// Of the run's size.
    pub pixels: &'a Pixels,
    /// Mean and standard deviation.
    pub preprocess: &'a Preprocess,
    /// Where its adapter lies in the table, if the run has one.
    pub slot: usize,
}

/// The rows of a run, side by side.
#[derive(Default)]
pub struct Gathered {
    rows: usize,
    given: Given,
    values: Vec<f32>,
    bytes: Vec<u8>,
    mean: Vec<f32>,
    std: Vec<f32>,
    slots: Vec<i64>,
}

impl Gathered {
    /// Gathers the rows, and empty pictures of the last one's task up to `count` rows.
    ///
    /// # Panics
    /// When pictures that are normalised already are given as bytes, or sizes differ.
    pub fn fill(&mut self, rows: &[Row<'_>], count: usize, given: Given, shape: &Shape) {
        (self.rows, self.given) = (count, given);
        let (height, width) = rows[0].pixels.size();
        let per_row = height * width * shape.channels;
        for list in [&mut self.mean, &mut self.std, &mut self.values] {
            list.clear();
        }
        self.bytes.clear();
        self.slots.clear();
        self.slots.extend(rows.iter().map(|row| super::graph::as_i64(row.slot)));
        self.slots.resize(count, self.slots[rows.len() - 1]);
        match given {
            Given::Values => {
                self.values.resize(count * per_row, 0.0);
                for (row, out) in rows.iter().zip(self.values.chunks_exact_mut(per_row)) {
                    patches::write(row.pixels, row.preprocess, shape.patch, out);
                }
            }
            Given::Bytes => {
                self.bytes.resize(count * per_row, 0);
                for (row, out) in rows.iter().zip(self.bytes.chunks_exact_mut(per_row)) {
                    patches::write_bytes(row.pixels, shape.patch, out);
                    self.mean.extend(row.preprocess.mean);
                    self.std.extend(row.preprocess.std);
                }
                self.mean.resize(count * shape.channels, 0.0);
                self.std.resize(count * shape.channels, 1.0);
            }
        }
    }

    /// The inputs of pictures, for a graph that takes them as they were gathered.
    pub fn pictures(&self, shape: &Shape) -> Vec<Input<'_>> {
        let rows = self.rows;
        let patches = |values: usize| vec![rows, values / (rows * shape.patch_values()), shape.patch_values()];
        let channels = || vec![rows, shape.channels];
        match self.given {
            Given::Bytes => vec![
                Input { name: "patches", shape: patches(self.bytes.len()), values: Values::U8(&self.bytes) },
                Input { name: "mean", shape: channels(), values: Values::F32(&self.mean) },
                Input { name: "std", shape: channels(), values: Values::F32(&self.std) },
            ],
            Given::Values => {
                vec![Input { name: "patches", shape: patches(self.values.len()), values: Values::F32(&self.values) }]
            }
        }
    }

    /// The input that says where each row's adapter lies.
    pub fn slots(&self) -> Input<'_> {
        Input { name: "slots", shape: vec![self.rows], values: Values::I64(&self.slots) }
    }
}
