use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::settings::Settings;
use super::{Args, Error, OnBadFile, backend, train_settings};
use crate::adapter::Problem;
use crate::backbone::{self, Backbone, Loaded, Weights};
use crate::commands::bad_files::leave_out;
use crate::commands::file::read as read_file;
use crate::engine::EngineKind;
use crate::engine::training::Trainable;
use crate::train::data::{self, Dataset, PictureCache};
use crate::train::{ClassWeight, FitOn, Job, Recipe, Task};

/// Everything that a run needs, checked.
pub struct Inputs {
    pub job: Job,
    /// For the probe, which another engine computes.
    pub weights: Weights,
    pub settings: Value,
    pub engine: Box<dyn Trainable>,
    /// Pictures that the test split keeps from the run.
    pub held_back: usize,
}

/// Reads data and backbone; what is quick to find out is found out first.
pub fn read(args: &Args) -> Result<Inputs, Error> {
    let (data, hash) = data(args)?;
    let held_back = data.test.len();
    let recipe = recipe(args)?;
    let Loaded { backbone, weights, .. } = backbone::load(&args.backbone, &args.load)?;
    let task = task(args, &data, &backbone);
    // Decoded pictures are not kept: resized ones are, which are smaller and nearer to what is needed.
    let job = Job::new(Arc::new(backbone), task, recipe, data, PictureCache::new(0), args.cache_bytes_max / 2)?;
    let backend = backend(args, &job, &weights)?;
    let engine = backend.trainable(&train_settings(args))?;
    // Our own engines add in one order, whoever does it; ONNX Runtime may not.
    let threads = (args.engine == EngineKind::Onnx).then_some(args.settings.threads);
    let settings = Settings::new(&job, hash, &backend.describe(), threads).value();
    Ok(Inputs { job, weights, settings, engine, held_back })
}

/// The labelled pictures, and the hash that tells them from others.
fn data(args: &Args) -> Result<(Dataset, String), Error> {
    let mut data = data::read(&args.data)?;
    data.notes.iter().for_each(|note| eprintln!("{note}"));
    let checked = data::check(&mut data, folder(&args.data), &PictureCache::new(0), args.settings.threads);
    let errors: Vec<_> = checked.bad.into_iter().map(|file| file.error).collect();
    leave_out(&errors, args.on_bad_file == OnBadFile::Skip)?;
    if let Some(first) = checked.twins.first() {
        let so = match args.recipe.fit_on {
            FitOn::Train => "scores on them promise too much",
            FitOn::All => "they count twice",
        };
        let (count, first) = (checked.twins.len(), first.display());
        eprintln!(
            "pictures of the validation split that are in train too, byte for byte: {count}, the first is {first}; {so}"
        );
    }
    Ok((data, checked.hash))
}

/// Where the pictures' paths begin.
fn folder(data: &Path) -> &Path {
    data.parent().filter(|_| data.is_file()).unwrap_or(data)
}

fn task(args: &Args, data: &Dataset, backbone: &Backbone) -> Task {
    Task {
        labels: data.labels.clone(),
        problem: if data.multi_label { Problem::MultiLabel } else { Problem::SingleLabel },
        preprocess: args.preset.preprocess(args.image_size.unwrap_or(backbone.image_size)),
        pooling: args.pooling.unwrap_or_else(|| args.preset.pooling()),
        position_rule: args.position_rule.unwrap_or(backbone.position_rule),
    }
}

fn recipe(args: &Args) -> Result<Recipe, Error> {
    let given = args.class_weights.as_deref().map(class_weights).transpose()?;
    let class_weight = given.map_or_else(|| args.recipe.class_weight.clone(), ClassWeight::Given);
    Ok(Recipe { class_weight, ..args.recipe.clone() })
}

/// 32,768 numbers, and room.
const WEIGHTS_BYTES_MAX: u64 = 1 << 20;

fn class_weights(path: &Path) -> Result<Vec<f32>, Error> {
    let bytes = read_file(path, WEIGHTS_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let weight = |(index, line): (usize, &str)| {
        let (path, line_number) = (path.to_owned(), index + 1);
        line.trim().parse().map_err(|_| Error::ClassWeights { path, line: line_number, found: line.to_owned() })
    };
    text.trim_end().lines().enumerate().map(weight).collect()
}
