//! A small job: cats and others, on the golden backbone.

use std::path::Path;
use std::sync::Arc;

use super::data::{Dataset, Example, PictureCache};
use super::job::{Job, JobError, Task};
use super::presets::Preset;
use super::recipe::{FitOn, Recipe};
use crate::adapter::{Pooling, Problem};
use crate::engine::Backend as _;
use crate::engine::reference::Reference;
use crate::engine::testing::golden;
use crate::engine::training::{TrainSettings, Trainable};

const TRAIN: [(&str, usize); 8] = [
    ("cat.png", 0),
    ("astronaut_32.png", 1),
    ("cat.bmp", 0),
    ("rocket.jpg", 1),
    ("cat_444.jpg", 0),
    ("astronaut_100.jpg", 1),
    ("cat_gray.jpg", 0),
    ("wide.png", 1),
];
const VALIDATION: [(&str, usize); 2] = [("cat_palette.png", 0), ("tall.png", 1)];

fn examples(named: &[(&str, usize)]) -> Vec<Example> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/preprocess/images");
    named.iter().map(|&(name, class)| Example { path: folder.join(name), targets: vec![class] }).collect()
}

/// Three epochs of batches of three.
pub fn job(edit: impl FnOnce(&mut Recipe)) -> Job {
    job_of(edit, |_| ()).expect("a job")
}

/// The same for another task on the same pictures.
pub fn job_of(edit: impl FnOnce(&mut Recipe), edit_task: impl FnOnce(&mut Task)) -> Result<Job, JobError> {
    let mut recipe = Preset::Reference.recipe(3);
    (recipe.batch_size, recipe.fit_on) = (3, FitOn::Train);
    edit(&mut recipe);
    let (backbone, _) = golden::backbone();
    let mut task = Task {
        labels: ["cat", "other"].map(str::to_owned).to_vec(),
        problem: Problem::SingleLabel,
        preprocess: Preset::Reference.preprocess(backbone.image_size),
        pooling: Pooling::ClsMean,
        position_rule: backbone.position_rule,
    };
    edit_task(&mut task);
    let data = Dataset {
        labels: task.labels.clone(),
        multi_label: false,
        train: examples(&TRAIN),
        validation: examples(&VALIDATION),
        test: Vec::new(),
        unplaced: 0,
        notes: Vec::new(),
    };
    Job::new(backbone, task, recipe, data, PictureCache::new(1 << 20), 1 << 20)
}

/// What has gradients for it.
pub fn engine(job: &Job) -> Box<dyn Trainable> {
    let reference = Reference::<f32>::new(Arc::clone(&job.backbone), golden::backbone().1, 0);
    reference.trainable(&TrainSettings { memory_bytes_max: usize::MAX }).expect("it trains")
}
