use std::ops::Range;

use super::filter::Taps;

/// Lines that are made at once, so that the kernel can share the weights among them.
const BATCH: usize = 4;

/// The few adjacent lines that one output line is made of, kept while the next ones need them: small enough for the
/// first cache, whatever the picture's height.
pub(super) struct Band {
    stride: usize,
    lines: Vec<u8>,
    /// Where the first held line is.
    begin: usize,
    held: Range<usize>,
    /// No line from here on is ever needed.
    end: usize,
}

impl Band {
    /// For lines of `stride` bytes of which `down` makes its outputs.
    pub(super) fn new(stride: usize, down: &Taps) -> Self {
        let most = down.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let span = down.span();
        let lines = vec![0; 2 * (most + BATCH) * stride];
        Self { stride, lines, begin: 0, held: span.start..span.start, end: span.end }
    }

    /// Lines `first..first + count`; `first` never decreases. New lines are written by `make`, in order; lines that
    /// no output needs are skipped.
    pub(super) fn lines(&mut self, first: usize, count: usize, mut make: impl FnMut(Range<usize>, &mut [u8])) -> &[u8] {
        if first < self.held.end {
            self.begin += (first - self.held.start) * self.stride;
            self.held.start = first;
        } else {
            self.begin = 0;
            self.held = first..first;
        }
        while self.held.end < first + count {
            let new = self.held.end..(self.held.end + BATCH).min(self.end);
            self.make_room(new.len());
            let at = self.begin + self.held.len() * self.stride;
            make(new.clone(), &mut self.lines[at..at + new.len() * self.stride]);
            self.held.end = new.end;
        }
        &self.lines[self.begin..self.begin + count * self.stride]
    }

    fn make_room(&mut self, new: usize) {
        let held = self.held.len() * self.stride;
        if self.begin + held + new * self.stride > self.lines.len() {
            self.lines.copy_within(self.begin..self.begin + held, 0);
            self.begin = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::Filter;
    use super::super::geometry::Axis;
    use super::*;

    /// Each line holds its own number, so that a misplaced one shows.
    #[test]
    fn each_output_sees_its_own_lines() {
        for (input, output, antialias) in
            [(9, 200, true), (200, 9, true), (200, 9, false), (50, 50, true), (1, 5, true)]
        {
            let axis = Axis { input, output, window: output / 4..output, offset: 0 };
            let down = Taps::new(&axis, Filter::Cubic, antialias);
            let mut band = Band::new(2, &down);
            let mut made = Vec::new();
            for (first, weights) in down.iter() {
                let lines = band.lines(first, weights.len(), |new, lines| {
                    for (y, line) in new.zip(lines.chunks_exact_mut(2)) {
                        line.fill(y as u8);
                        made.push(y);
                    }
                });
                let expected: Vec<u8> = (first..first + weights.len()).flat_map(|y| [y as u8; 2]).collect();
                assert_eq!(lines, expected, "{input} to {output}");
            }
            assert!(made.is_sorted_by(|a, b| a < b), "each line is made once");
        }
    }
}
