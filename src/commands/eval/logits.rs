use indicatif::{ProgressBar, ProgressStyle};
use ndarray::Array2;

use crate::adapter::Problem;
use crate::engine::{Engine, EngineError, Group, Lens, head};
use crate::evaluate::{Known, KnownError};
use crate::image::{Pixels, Preprocess};
use crate::parallel;
use crate::train::data::{Example, PictureCache};

/// Pictures of one run of the engine.
const BATCH: usize = 32;

/// Logits of the pictures that could be read.
pub struct Asked {
    logits: Array2<f32>,
    targets: Vec<Vec<usize>>,
    /// What is wrong with the others.
    pub bad: Vec<String>,
}

impl Asked {
    /// Checked for figures.
    pub fn known(&self, problem: Problem) -> Result<Known<'_>, KnownError> {
        Known::new(&self.logits, &self.targets, problem)
    }
}

/// Reads, prepares and asks about each picture; its targets are indices of the head's classes.
pub fn ask(engine: &mut dyn Engine, lens: &Lens, examples: &[Example], threads: usize) -> Result<Asked, EngineError> {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} pictures, {per_sec}, {eta} left");
    let bar = ProgressBar::new(examples.len() as u64).with_style(style.expect("a valid template"));
    let (mut logits, mut targets, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    for examples in examples.chunks(BATCH) {
        let mut rows = Vec::new();
        for (example, pixels) in examples.iter().zip(prepare(examples, &lens.adapter.preprocess, threads)) {
            match pixels {
                Ok(pixels) => {
                    rows.push(pixels);
                    targets.push(example.targets.clone());
                }
                Err(error) => bad.push(error),
            }
        }
        if !rows.is_empty() {
            let features = engine.run(&[Group { lens, rows: rows.iter().collect() }])?;
            let rows = features.iter().flat_map(|features| features.rows());
            rows.for_each(|row| logits.extend(head::logits(&lens.adapter, &row.to_vec())));
        }
        bar.inc(examples.len() as u64);
    }
    bar.finish_and_clear();
    let shape = (targets.len(), lens.adapter.labels.len());
    let logits = Array2::from_shape_vec(shape, logits).expect("a row for each picture");
    Ok(Asked { logits, targets, bad })
}

/// Each picture's pixels or what is wrong with it, in order.
fn prepare(examples: &[Example], preprocess: &Preprocess, threads: usize) -> Vec<Result<Pixels, String>> {
    let pictures = &PictureCache::new(0);
    parallel::map(examples.len(), threads, |at| {
        let path = &examples[at].path;
        let picture = pictures.picture(path).map_err(|error| error.to_string())?;
        picture.pixels(preprocess).map_err(|error| format!("{}: {error}", path.display()))
    })
}
