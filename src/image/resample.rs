use super::band::Band;
use super::filter::{Filter, Taps, nearest};
use super::geometry::Plan;
use super::kernels::{self, MARGIN};
use super::picture::Rows;
use super::preprocess::Preprocess;

/// The final picture, `[side, side, 3]`.
///
/// Two passes over bytes with fixed-point weights, each rounded to bytes: Pillow's `ImagingResample`. A pass is
/// computed where the window needs it and nowhere else.
pub(super) fn resample(rows: &Rows<'_>, plan: &Plan, preprocess: &Preprocess) -> Vec<u8> {
    let window = if plan.horizontal.window.is_empty() || plan.vertical.window.is_empty() {
        Vec::new()
    } else {
        match Filter::of(preprocess.interpolation) {
            None => sample(rows, plan),
            Some(filter) => filtered(rows, plan, filter, preprocess.antialias),
        }
    };
    let side = plan.side;
    if window.len() == 3 * side * side {
        return window;
    }
    on_canvas(&window, plan, preprocess.pad_color.unwrap_or_default())
}

fn filtered(rows: &Rows<'_>, plan: &Plan, filter: Filter, antialias: bool) -> Vec<u8> {
    let across = Taps::new(&plan.horizontal, filter, antialias);
    let down = Taps::new(&plan.vertical, filter, antialias);
    let mut window = vec![0; 3 * plan.horizontal.window.len() * plan.vertical.window.len()];
    if plan.vertical_first {
        vertical_first(rows, across, &down, &mut window);
    } else {
        horizontal_first(rows, &across, &down, &mut window);
    }
    window
}

fn horizontal_first(rows: &Rows<'_>, across: &Taps, down: &Taps, window: &mut [u8]) {
    let (source, stride) = (3 * rows.size().0, 3 * across.iter().len());
    let mut scratch = Vec::new();
    let mut narrowed = Band::new(stride, down);
    for ((first, weights), out) in down.iter().zip(window.chunks_exact_mut(stride)) {
        let lines = narrowed.lines(first, weights.len(), |new, lines| {
            kernels::horizontal(rows.block(new, &mut scratch), source, across, lines);
        });
        kernels::vertical(lines, weights, out);
    }
}

fn vertical_first(rows: &Rows<'_>, across: Taps, down: &Taps, window: &mut [u8]) {
    let columns = across.span();
    let (stride, across) = (3 * columns.len(), across.from(columns.start));
    let mut scratch = Vec::new();
    let mut wide = Band::new(stride, down);
    let mut line = vec![0; stride + MARGIN];
    for ((first, weights), out) in down.iter().zip(window.chunks_exact_mut(3 * across.iter().len())) {
        let lines = wide.lines(first, weights.len(), |new, lines| {
            let block = rows.block(new, &mut scratch).chunks(3 * rows.size().0);
            for (line, row) in lines.chunks_exact_mut(stride).zip(block) {
                line.copy_from_slice(&row[3 * columns.start..3 * columns.end]);
            }
        });
        kernels::vertical(lines, weights, &mut line[..stride]);
        kernels::horizontal(&line, stride, &across, out);
    }
}

fn sample(rows: &Rows<'_>, plan: &Plan) -> Vec<u8> {
    let columns = nearest(&plan.horizontal);
    let mut window = Vec::with_capacity(3 * columns.len() * plan.vertical.window.len());
    let mut scratch = Vec::new();
    for y in nearest(&plan.vertical) {
        let row = rows.block(y..y + 1, &mut scratch);
        for &x in &columns {
            window.extend_from_slice(&row[3 * x..3 * x + 3]);
        }
    }
    window
}

/// The window in its place on a square of `color`.
fn on_canvas(window: &[u8], plan: &Plan, color: [u8; 3]) -> Vec<u8> {
    let side = plan.side;
    let mut canvas = color.repeat(side * side);
    let (left, top) = (plan.horizontal.offset, plan.vertical.offset);
    let stride = 3 * plan.horizontal.window.len();
    if stride > 0 {
        for (row, line) in window.chunks_exact(stride).zip(canvas.chunks_exact_mut(3 * side).skip(top)) {
            line[3 * left..3 * left + stride].copy_from_slice(row);
        }
    }
    canvas
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::picture::{Channels, Picture};
    use super::super::preprocess::{Alpha, Depth16, Exif, Interpolation, Preprocess, Resize};
    use super::super::{Pixels, orientation::Orientation};

    fn side() -> impl Strategy<Value = usize> {
        prop_oneof![1_usize..8, 1_usize..300, Just(1000)]
    }

    fn preprocess() -> impl Strategy<Value = Preprocess> {
        let resize = prop_oneof![Just(Resize::Squash), Just(Resize::ShortEdge), Just(Resize::Pad)];
        let interpolation =
            prop_oneof![Just(Interpolation::Nearest), Just(Interpolation::Bilinear), Just(Interpolation::Bicubic)];
        let alpha = prop_oneof![Just(Alpha::Drop), Just(Alpha::White), Just(Alpha::Black)];
        let exif = prop_oneof![Just(Exif::Apply), Just(Exif::Ignore)];
        let sizes = (1_usize..80).prop_flat_map(|size| (Just(size), 1..=size));
        (resize, interpolation, alpha, exif, sizes, any::<(bool, [u8; 3])>()).prop_map(
            |(resize, interpolation, alpha, exif, (size, crop), (antialias, color))| Preprocess {
                resize,
                size,
                interpolation,
                antialias,
                pad_color: (resize == Resize::Pad).then_some(color),
                crop: Some(crop),
                alpha,
                depth16: Depth16::Scale,
                mean: [0.5; 3],
                std: [0.5; 3],
                exif,
            },
        )
    }

    fn channels() -> impl Strategy<Value = (Channels, usize)> {
        prop_oneof![
            Just((Channels::Grey, 1)),
            Just((Channels::GreyAlpha, 2)),
            Just((Channels::Rgb, 3)),
            Just((Channels::Rgba, 4)),
        ]
    }

    proptest! {
        #[test]
        fn any_picture_fits_and_a_plain_one_stays_plain(
            (width, height) in (side(), side()),
            (channels, samples) in channels(),
            deep: bool,
            tag in 0_u8..=9,
            value: u8,
            preprocess in preprocess(),
        ) {
            let bytes = width * height * samples * if deep { 2 } else { 1 };
            let picture = Picture::new(width, height, channels, deep, vec![value; bytes]).unwrap();
            let pixels = picture.turned(Orientation::from_exif(tag)).pixels(&preprocess).unwrap();
            let side = preprocess.final_size();
            prop_assert_eq!(pixels.size(), (side, side));
            let Pixels::U8 { data, .. } = pixels else { panic!("bytes stay bytes") };
            prop_assert_eq!(data.len(), 3 * side * side);
            let transparent = matches!(channels, Channels::GreyAlpha | Channels::Rgba);
            let background = match preprocess.alpha {
                Alpha::Drop => None,
                Alpha::White => Some(255),
                Alpha::Black => Some(0),
            };
            let expected = match background {
                Some(back) if transparent => over(value, back),
                _ => value,
            };
            let pad = preprocess.pad_color;
            for pixel in data.chunks_exact(3) {
                prop_assert!(pixel == [expected; 3] || pad.is_some_and(|color| pixel == color), "{:?}", pixel);
            }
        }
    }

    /// A value with itself as its alpha, over grey.
    fn over(value: u8, back: u8) -> u8 {
        let alpha = f64::from(value) / 255.0;
        (f64::from(value) * alpha + f64::from(back) * (1.0 - alpha)).round() as u8
    }
}
