use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::augment::Augment;
use super::data::{Dataset, Example, PictureCache};
use super::loss::Loss;
use super::optimizer::Span;
use super::parameters::Places;
use super::recipe::{FitOn, Recipe, SelectBy};
use crate::adapter::format::{self, AdapterFile, Limits, Target};
use crate::adapter::{Layout, Pooling, Problem};
use crate::backbone::{Backbone, PositionRule};
use crate::image::Preprocess;

/// What an adapter is for: what its file will say about the task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Task {
    /// Class names, in head order.
    pub labels: Vec<String>,
    /// Softmax or sigmoid.
    pub problem: Problem,
    /// Picture to pixels.
    pub preprocess: Preprocess,
    /// What the head reads.
    pub pooling: Pooling,
    /// How the position table is resampled.
    pub position_rule: PositionRule,
}

/// A training run's inputs, checked: nothing in it changes while it runs.
pub struct Job {
    /// The frozen network.
    pub backbone: Arc<Backbone>,
    /// The backbone's layout.
    pub layout: Layout,
    /// What the adapter is for.
    pub task: Task,
    /// How it is trained.
    pub recipe: Recipe,
    /// What the best epoch has most of.
    pub measure: SelectBy,
    /// What is fitted on.
    pub train: Vec<Example>,
    /// What the best epoch is chosen on; empty when there is nothing to choose on.
    pub validation: Vec<Example>,
    /// Decoded pictures.
    pub pictures: PictureCache,
    /// Bytes of resized pictures that are kept, of the training split and of the others each.
    pub pixels_bytes_max: usize,
    pub(super) places: Places,
    pub(super) spans: Vec<Span>,
    pub(super) loss: Loss,
    pub(super) augment: Augment,
}

/// Why nothing can be trained, every reason at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct JobError(pub Vec<String>);

impl Job {
    /// Checks recipe, task and data against each other and the backbone.
    pub fn new(
        backbone: Arc<Backbone>,
        task: Task,
        mut recipe: Recipe,
        data: Dataset,
        pictures: PictureCache,
        pixels_bytes_max: usize,
    ) -> Result<Self, JobError> {
        let mut faults = recipe.faults();
        faults.extend(data_faults(&data, &task));
        faults.extend(weight_faults(&task, &recipe));
        if !faults.is_empty() {
            return Err(JobError(faults));
        }
        let measure = *recipe.select_by.get_or_insert(SelectBy::of(task.problem));
        let (mut train, mut validation) = (data.train, data.validation);
        if recipe.fit_on == FitOn::All {
            train.append(&mut validation);
        }
        let layout = Layout::of(&backbone.shape);
        let classes = task.labels.len();
        let places = Places::new(&layout, classes, task.pooling.features(backbone.shape.width));
        let job = Self {
            spans: places.spans(&layout, recipe.method),
            loss: Loss::new(task.problem, recipe.label_smoothing, &recipe.class_weight, &train, classes),
            augment: Augment::new(&task.preprocess, recipe.flip, recipe.random_crop),
            backbone,
            layout,
            task,
            recipe,
            measure,
            train,
            validation,
            pictures,
            pixels_bytes_max,
            places,
        };
        let faults = job.file_faults();
        if faults.is_empty() { Ok(job) } else { Err(JobError(faults)) }
    }

    /// What the server would refuse in the adapter's file, whatever is learned: the file of the parameters that training
    /// starts from is read as the server reads it.
    fn file_faults(&self) -> Vec<String> {
        let bytes = self.first_file();
        let Backbone { shape, fingerprint, .. } = &*self.backbone;
        let mut limits = Limits::default();
        // Lineage and probe are not known yet, and share the header.
        limits.header_bytes_max -= limits.lineage_bytes_max;
        let target = Target { shape, layout: &self.layout, fingerprint, limits };
        let problems = format::read(&bytes, &target).err().map_or(Vec::new(), |error| error.problems());
        problems.iter().take(FAULTS_MAX).map(refusal).collect()
    }

    /// The adapter file of the parameters that training starts from, without a probe.
    pub fn first_file(&self) -> Vec<u8> {
        let parameters = self.places.initial(&self.layout, self.recipe.method, self.recipe.seed);
        let adapter = self.adapter(&parameters, Value::Null);
        format::write(&AdapterFile { adapter, probe: None, extra: BTreeMap::new() }, &self.layout)
    }

    /// What a block sees of a picture: its patches and the class token.
    pub fn tokens(&self) -> usize {
        let side = self.task.preprocess.size / self.backbone.shape.patch.max(1);
        side * side + 1
    }

    /// Classes without a picture to train on, by name: the adapter will hardly ever answer with them.
    pub fn empty_classes(&self) -> Vec<&str> {
        let mut there = vec![false; self.task.labels.len()];
        self.train.iter().flat_map(|example| &example.targets).for_each(|&class| there[class] = true);
        self.task.labels.iter().zip(there).filter(|(_, there)| !there).map(|(label, _)| label.as_str()).collect()
    }
}

fn data_faults(data: &Dataset, task: &Task) -> Vec<String> {
    let classes = task.labels.len();
    let mut faults = Vec::new();
    if classes == 0 {
        faults.push("no picture has a label: there is no class to train".to_owned());
    }
    if data.train.is_empty() {
        faults.push("there is no picture to train on: look at --data".to_owned());
    }
    for example in data.train.iter().chain(&data.validation) {
        let path = example.path.display();
        if let Some(class) = example.targets.iter().find(|&&class| class >= classes) {
            faults.push(format!("{path} has class {class}, and there are {classes} classes, counted from 0"));
        }
        if task.problem == Problem::SingleLabel && example.targets.len() != 1 {
            faults.push(format!("{path} has {} classes instead of one", example.targets.len()));
        }
    }
    let one = data.train.first().and_then(|example| example.targets.first());
    if let Some(&one) = one.filter(|_| faults.is_empty() && task.problem == Problem::SingleLabel)
        && data.train.iter().all(|example| example.targets == [one])
    {
        let label = &task.labels[one];
        faults.push(format!("every picture to train on is of class {label:?}: give pictures of at least two classes"));
    }
    faults.truncate(FAULTS_MAX);
    faults
}

/// One report lists no more of the same kind.
const FAULTS_MAX: usize = 20;

/// What a server would say, and which flag helps.
fn refusal(problem: &format::Problem) -> String {
    let advice = match problem.place.split(['.', '[']).next().unwrap_or_default() {
        "preprocess" => "give another --image-size",
        "pooling" => "give another --pooling",
        "labels" => "give the class another name",
        _ => "give other classes",
    };
    format!("a server would refuse the adapter: {problem}; {advice}")
}

fn weight_faults(task: &Task, recipe: &Recipe) -> Vec<String> {
    let mut faults = Vec::new();
    if let super::recipe::ClassWeight::Given(weights) = &recipe.class_weight {
        let classes = task.labels.len();
        if weights.len() != classes {
            faults.push(format!("--class-weight has {} numbers for {classes} classes", weights.len()));
        }
        // Where nothing is learnt of a class, its probability stays one half: a yes for every picture.
        let single = task.problem == Problem::SingleLabel;
        let enough = |weight: f32| if single { weight >= 0.0 } else { weight > 0.0 };
        if !weights.iter().all(|&weight| enough(weight) && weight.is_finite()) {
            let least = if single { "0 or more" } else { "above 0, as pictures have several labels," };
            faults.push(format!("--class-weight must be {least} for every class"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing;

    fn refused(edit: impl FnOnce(&mut Task)) -> String {
        testing::job_of(|_| (), edit).err().expect("a server would not take it").to_string()
    }

    #[test]
    fn what_a_server_would_refuse_is_refused_before_anything_is_trained() {
        let long = refused(|task| task.labels[1] = "x".repeat(257));
        assert!(
            long.contains("labels[1]: wrong length (expected 1 to 256 bytes, found 257); give the class"),
            "{long}"
        );
        let twice = refused(|task| task.labels[1] = task.labels[0].clone());
        assert!(twice.contains("labels[1]: the label appears twice"), "{twice}");
        let many = refused(|task| task.labels.extend((2..32_769).map(|class| class.to_string())));
        assert!(many.contains("expected 1 to 32768 labels, found 32769"), "{many}");
        let heavy = refused(|task| task.labels.extend((2..32_768).map(|class| format!("{class:0256}"))));
        assert!(heavy.contains("its header would have"), "{heavy}");
        let large = refused(|task| task.preprocess.size = 8 * 46);
        assert!(large.contains("at most 2048 tokens, found 2117 tokens); give another --image-size"), "{large}");
        let odd = refused(|task| task.preprocess.size = 33);
        assert!(odd.contains("expected a multiple of 8, found 33"), "{odd}");
    }

    #[test]
    fn a_class_that_nobody_shows_is_named() {
        let job = testing::job_of(|_| (), |task| task.labels.push("nobody".into())).expect("a job");
        assert_eq!(job.empty_classes(), ["nobody"]);
    }
}
