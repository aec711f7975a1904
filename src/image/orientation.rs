/// How the stored pixels must be turned to stand upright: EXIF tag 0x0112, 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation(u8);

impl Orientation {
    /// Stored as it is seen.
    pub(super) const UPRIGHT: Self = Self(1);

    /// The tag's value; unknown ones mean upright, as everywhere.
    pub(super) fn from_exif(tag: u8) -> Self {
        Self(if (1..=8).contains(&tag) { tag } else { 1 })
    }

    /// Width and height after turning.
    pub(super) fn turned_size(self, (width, height): (usize, usize)) -> (usize, usize) {
        if self.0 >= 5 { (height, width) } else { (width, height) }
    }

    /// Where row `y` of the upright picture lies in the stored one of `(width, height)`: the pixel index of its first
    /// pixel, and the step to the next.
    pub(super) fn row(self, y: usize, (width, height): (usize, usize)) -> (usize, isize) {
        let (across, down) = (1, width as isize);
        let (left, right, top, bottom) = (0, width - 1, 0, height - 1);
        let at = |x: usize, y: usize| y * width + x;
        match self.0 {
            2 => (at(right, y), -across),
            3 => (at(right, bottom - y), -across),
            4 => (at(left, bottom - y), across),
            5 => (at(y, top), down),
            6 => (at(y, bottom), -down),
            7 => (at(right - y, bottom), -down),
            8 => (at(right - y, top), down),
            _ => (at(left, y), across),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixel indices of a 3 x 2 picture, turned; the expected values are Pillow's `ImageOps.exif_transpose`.
    #[test]
    fn turns_as_pillow() {
        let expected: [(u8, &[&[usize]]); 8] = [
            (1, &[&[0, 1, 2], &[3, 4, 5]]),
            (2, &[&[2, 1, 0], &[5, 4, 3]]),
            (3, &[&[5, 4, 3], &[2, 1, 0]]),
            (4, &[&[3, 4, 5], &[0, 1, 2]]),
            (5, &[&[0, 3], &[1, 4], &[2, 5]]),
            (6, &[&[3, 0], &[4, 1], &[5, 2]]),
            (7, &[&[5, 2], &[4, 1], &[3, 0]]),
            (8, &[&[2, 5], &[1, 4], &[0, 3]]),
        ];
        for (tag, rows) in expected {
            let orientation = Orientation::from_exif(tag);
            assert_eq!(orientation.turned_size((3, 2)), (rows[0].len(), rows.len()));
            for (y, row) in rows.iter().enumerate() {
                let (first, step) = orientation.row(y, (3, 2));
                let found: Vec<usize> = (0..row.len()).map(|x| first.strict_add_signed(step * x as isize)).collect();
                assert_eq!(&found, row, "orientation {tag}, row {y}");
            }
        }
    }
}
