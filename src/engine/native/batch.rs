use std::ops::Range;
use std::sync::Arc;

use super::weights::Linears;
use crate::image::{Pixels, Preprocess};

/// Rows of a pass that share an adapter and a picture size.
pub struct Group<'a> {
    /// Pictures.
    pub rows: &'a [&'a Pixels],
    /// How they are normalised.
    pub preprocess: &'a Preprocess,
    /// Rows and columns of patches of each picture.
    pub grid: (usize, usize),
    /// `[patches of a picture, width]`
    pub positions: Arc<[f32]>,
    /// The adapter's flat vector, unless the backbone is used bare.
    pub vector: Option<&'a [f32]>,
    /// Linears that have the adapter in them already.
    pub merged: Option<&'a Linears>,
    /// Tokens of each picture.
    pub tokens: usize,
    /// Its first token in the pass.
    pub first: usize,
    /// Its first patch in the pass.
    pub first_patch: usize,
}

impl Group<'_> {
    /// Its tokens.
    pub fn range(&self) -> Range<usize> {
        self.first..self.first + self.rows.len() * self.tokens
    }

    /// Tokens of one of its pictures.
    pub fn picture(&self, row: usize) -> Range<usize> {
        let first = self.first + row * self.tokens;
        first..first + self.tokens
    }

    /// Patches of all its pictures.
    pub fn patches(&self) -> usize {
        self.rows.len() * self.grid.0 * self.grid.1
    }
}

/// Some rows of one group of a batch: its index, and which of its rows.
pub type Piece = (usize, Range<usize>);

/// Cuts a batch into passes of at most `tokens_max` tokens, or of one row: a pass's activations then stay in the cache,
/// and memory does not grow with the batch. `groups` are (rows, tokens of each row).
pub fn passes(groups: &[(usize, usize)], tokens_max: usize) -> Vec<Vec<Piece>> {
    let mut passes = Vec::new();
    let mut pass: Vec<Piece> = Vec::new();
    let mut left = tokens_max;
    for (group, &(rows, tokens)) in groups.iter().enumerate() {
        let mut first = 0;
        while first < rows {
            let fitting = left / tokens;
            if fitting == 0 && !pass.is_empty() {
                passes.push(std::mem::take(&mut pass));
                left = tokens_max;
                continue;
            }
            let take = fitting.clamp(1, rows - first);
            pass.push((group, first..first + take));
            left = left.saturating_sub(take * tokens);
            first += take;
        }
    }
    if !pass.is_empty() {
        passes.push(pass);
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_hold_every_row_once_and_no_more_tokens_than_asked() {
        let groups = [(3, 100), (1, 5000), (10, 300), (2, 1)];
        let passes = passes(&groups, 1000);
        let mut seen = [0; 4];
        for pass in &passes {
            let tokens: usize = pass.iter().map(|(g, rows)| rows.len() * groups[*g].1).sum();
            assert!(tokens <= 1000 || (pass.len() == 1 && pass[0].1.len() == 1), "{pass:?}");
            for (group, rows) in pass {
                assert_eq!(rows.start, seen[*group]);
                seen[*group] = rows.end;
            }
        }
        assert_eq!(seen, [3, 1, 10, 2]);
        assert_eq!(passes.len(), 6);
    }
}
