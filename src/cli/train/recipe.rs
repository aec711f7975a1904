use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::train::{ClassWeight, Consistency, FitOn, Method, Mode, Preset, Recipe, Sampler, SelectBy};

/// How the adapter is trained. What is not given is the recipe's.
#[derive(Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// default, reference, fgvc, vtab-1k, or vtab-1k:TASK
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = str::parse::<Preset>)]
    pub recipe: Preset,

    /// Epochs, cool-down not counted; warm-up and cool-down shrink and grow with them
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,

    /// Peak of the learning rate
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    lr: Option<f64>,

    /// Decay towards 0 of the scales of linears, the patch embedding's scale and shift, and the head's weight
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    weight_decay: Option<f64>,

    /// Dropout of the last block; it grows from 0 at the first one
    #[arg(long, value_name = "RATE")]
    dropout: Option<f32>,

    /// Pictures of one step
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,

    /// Passes that one step's pictures are split into, to save memory
    #[arg(long, value_name = "PASSES")]
    accumulate: Option<usize>,

    /// Share of the target that all classes share
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f32>,

    /// Largest norm of a step's gradient
    #[arg(long, value_name = "NORM")]
    clip_norm: Option<f32>,

    /// Mirror half of the pictures
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    flip: Option<bool>,

    /// Cut pictures out of larger ones at random
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    random_crop: Option<bool>,

    /// How much a class counts: none, balanced (rare classes count more), or a file with one number a line
    #[arg(long, value_name = "none|balanced|FILE", value_parser = class_weight)]
    class_weight: Option<Weights>,

    /// How an epoch's pictures are drawn; balanced draws every class equally often
    #[arg(long, value_parser = named(Sampler::NAMED))]
    sampler: Option<Sampler>,

    /// What is trained: everything, the head alone, or one of the baselines
    #[arg(long, value_parser = named(Method::NAMED))]
    method: Option<Method>,

    /// Draw logits under noise together (PACE): full takes twice the time, fast no extra time [default: the recipe's;
    /// default has fast, the others none]
    #[arg(long, value_parser = named(&MODES))]
    consistency: Option<Drawn>,

    /// How much the logits' difference counts [default: 0.02]
    #[arg(long, value_name = "LAMBDA", requires = "consistency")]
    consistency_lambda: Option<f32>,

    /// Standard deviation of the noise in the block where it is largest [default: 0.25]
    #[arg(long, value_name = "SIGMA", requires = "consistency")]
    consistency_sigma: Option<f32>,

    /// Fit on the training split and choose the best epoch on the validation split, or fit on both and take the last
    /// [default: train, and all with the published recipes]
    #[arg(long, value_parser = named(FitOn::NAMED))]
    pub fit_on: Option<FitOn>,

    /// What the best epoch has most of on the validation split; fits on the training split [default: accuracy, and
    /// macro_f1 where pictures have several labels]
    #[arg(long, value_parser = named(SelectBy::NAMED))]
    select_by: Option<SelectBy>,

    /// Of everything that is random; the same seed, data and engine give the same file, however many threads
    /// compute (with --engine onnx the same number)
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// What `--consistency` says; clap takes an `Option` that is spelled out for a value that may be left out.
type Drawn = Option<Mode>;

/// What `--class-weight` says.
#[derive(Clone, Debug, PartialEq)]
enum Weights {
    None,
    Balanced,
    File(PathBuf),
}

impl RecipeArgs {
    /// Flags given together of which one would have no effect.
    pub fn conflict(&self) -> Option<&'static str> {
        let noise = self.consistency_lambda.is_some() || self.consistency_sigma.is_some();
        if self.fit_on == Some(FitOn::All) && self.select_by.is_some() {
            Some("--fit-on all leaves nothing to select on: leave it out, or --select-by")
        } else if self.consistency == Some(None) && noise {
            Some("--consistency none has neither lambda nor sigma: give full or fast, or leave these out")
        } else {
            None
        }
    }

    /// The preset with what was given instead, and the file of class weights.
    pub fn typed(self) -> (Recipe, Option<PathBuf>) {
        let mut recipe = self.recipe.recipe(self.epochs.unwrap_or_else(|| self.recipe.epochs()));
        set(&mut recipe.learning_rate, self.lr);
        set(&mut recipe.weight_decay, self.weight_decay);
        set(&mut recipe.dropout, self.dropout);
        set(&mut recipe.batch_size, self.batch_size);
        set(&mut recipe.passes, self.accumulate);
        set(&mut recipe.label_smoothing, self.label_smoothing);
        recipe.clip_norm = self.clip_norm.or(recipe.clip_norm);
        set(&mut recipe.flip, self.flip);
        set(&mut recipe.random_crop, self.random_crop);
        set(&mut recipe.sampler, self.sampler);
        set(&mut recipe.method, self.method);
        set(&mut recipe.fit_on, self.fit_on.or(self.select_by.map(|_| FitOn::Train)));
        recipe.select_by = self.select_by;
        recipe.seed = self.seed;
        // A head alone has nothing that noise or dropout could act on; who asks for both is told.
        if recipe.method == Method::Linear {
            recipe.consistency = None;
            recipe.dropout = self.dropout.unwrap_or(0.0);
        }
        if let Some(mode) = self.consistency {
            recipe.consistency = mode.map(|mode| {
                let Consistency { lambda, sigma, .. } = Consistency::of(mode);
                let lambda = self.consistency_lambda.unwrap_or(lambda);
                Consistency { mode, lambda, sigma: self.consistency_sigma.unwrap_or(sigma) }
            });
        }
        let file = match self.class_weight {
            Some(Weights::File(path)) => Some(path),
            Some(Weights::Balanced) => {
                recipe.class_weight = ClassWeight::Balanced;
                None
            }
            Some(Weights::None) => {
                recipe.class_weight = ClassWeight::None;
                None
            }
            None => None,
        };
        (recipe, file)
    }
}

fn set<T>(field: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *field = given;
    }
}

const MODES: [(&str, Drawn); 3] = [("none", None), ("full", Some(Mode::Full)), ("fast", Some(Mode::Fast))];

fn class_weight(text: &str) -> Result<Weights, String> {
    match text {
        "none" => Ok(Weights::None),
        "balanced" => Ok(Weights::Balanced),
        _ if text.contains(['.', '/']) => Ok(Weights::File(text.into())),
        _ => Err("there are none and balanced; a file's name has a dot or a slash".into()),
    }
}

/// Words that stand for values.
fn named<T: Copy + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> + use<T> {
    let find =
        move |word: String| words.iter().find(|(name, _)| *name == word).map(|&(_, value)| value).ok_or("unknown");
    PossibleValuesParser::new(words.iter().map(|(name, _)| *name)).try_map(find)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        recipe: RecipeArgs,
    }

    #[test]
    fn the_help_tells_the_defaults() {
        let help = <Line as clap::CommandFactory>::command().render_long_help().to_string();
        let Consistency { lambda, sigma, .. } = Consistency::of(Mode::Fast);
        for default in [lambda, sigma] {
            assert!(help.contains(&format!("[default: {default}]")), "{default}");
        }
    }

    fn typed(line: &str) -> (Recipe, Option<PathBuf>) {
        Line::parse_from(line.split_whitespace()).recipe.typed()
    }

    #[test]
    fn what_is_not_given_is_the_presets() {
        let reference = "reference".parse::<Preset>().expect("a preset");
        assert_eq!(typed("train --recipe reference").0, reference.recipe(20));
        let (recipe, _) = typed("train --recipe vtab-1k:kitti --flip=false --lr 0.5 --epochs 7");
        assert_eq!((recipe.flip, recipe.learning_rate, recipe.dropout, recipe.schedule.epochs), (false, 0.5, 0.3, 7));
    }

    #[test]
    fn selecting_needs_a_split_that_is_not_fitted_on() {
        assert_eq!(typed("train --recipe reference").0.fit_on, FitOn::All);
        assert_eq!(typed("train --recipe reference --select-by auroc").0.fit_on, FitOn::Train);
        let conflict = |line: &str| Line::parse_from(line.split_whitespace()).recipe.conflict();
        assert!(conflict("train --fit-on all --select-by auroc").is_some_and(|said| said.contains("--select-by")));
        assert!(conflict("train --consistency none --consistency-sigma 0.5").is_some());
        assert_eq!(conflict("train --fit-on all --consistency full --consistency-sigma 0.5"), None);
    }

    #[test]
    fn consistency_is_the_recipes_unless_it_is_given() {
        let consistency = |line: &str| typed(line).0.consistency;
        assert_eq!(consistency("train"), Some(Consistency::of(Mode::Fast)));
        assert_eq!(consistency("train --consistency none"), None);
        assert_eq!(consistency("train --method linear"), None);
        assert!(!typed("train --method linear --consistency full").0.faults().is_empty());
        assert!(!typed("train --method linear --dropout 0.1").0.faults().is_empty());
        assert!(typed("train --method linear --recipe vtab-1k:kitti").0.faults().is_empty());
        assert_eq!(consistency("train --recipe reference"), None);
        assert_eq!(
            consistency("train --recipe reference --consistency full --consistency-sigma 0.5"),
            Some(Consistency { sigma: 0.5, ..Consistency::of(Mode::Full) })
        );
    }

    #[test]
    fn a_negative_rate_is_a_fault_and_no_flag() {
        assert_eq!(typed("train --lr -1 --weight-decay -2").0.faults().len(), 2);
    }

    #[test]
    fn class_weights_are_a_word_or_a_file() {
        assert_eq!(typed("train --class-weight balanced").0.class_weight, ClassWeight::Balanced);
        assert_eq!(typed("train --class-weight w.txt").1, Some("w.txt".into()));
        assert!(class_weight("balance").is_err());
    }
}
