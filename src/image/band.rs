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
