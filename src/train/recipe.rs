use serde::{Deserialize, Serialize};

use super::consistency::Consistency;
use super::schedule::Schedule;
use crate::adapter::Problem;

/// Everything that decides what training does, apart from data, pictures and engine. Written into the adapter's lineage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is trained.
    pub method: Method,
    /// Peak of the learning rate.
    pub learning_rate: f64,
    /// Learning rate by epoch.
    pub schedule: Schedule,
    /// AdamW's decoupled decay, times the learning rate at every step.
    pub weight_decay: f64,
    /// Dropout rate of the last block; it grows from 0 at the first one, evenly.
    pub dropout: f32,
    /// Pictures of one step.
    pub batch_size: usize,
    /// Passes that one step's pictures are split into; the gradient is that of all of them.
    pub passes: usize,
    /// What is taken from the true class and shared by all.
    pub label_smoothing: f32,
    /// Largest Euclidean norm of a step's gradient.
    pub clip_norm: Option<f32>,
    /// How much a class counts.
    pub class_weight: ClassWeight,
    /// How an epoch's pictures are drawn.
    pub sampler: Sampler,
    /// Whether half of the pictures are mirrored.
    pub flip: bool,
    /// Whether pictures are resized larger by 8/7 (or to what the preprocessing says before its crop) and a window is cut
    /// out at random.
    pub random_crop: bool,
    /// PACE's rule.
    pub consistency: Option<Consistency>,
    /// What is fitted on.
    pub fit_on: FitOn,
    /// What the best epoch has most of; the problem's own measure unless given.
    pub select_by: Option<SelectBy>,
    /// Of everything that is random.
    pub seed: u64,
}

macro_rules! words {
    ($(#[$about:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $type {
            /// Every value by its name on the command line and in files.
            pub const NAMED: &[(&'static str, Self)] = &[$(($word, Self::$variant),)*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// Which parts of the adapter are trained; the head always is.
    Method {
        /// All of it: low-rank rescaling of every linear, scale and shift after norms and patch embedding.
        Rlrr = "rlrr",
        /// Only the head.
        Linear = "linear",
        /// The baseline SSF (NeurIPS 2022): scale and shift after every operation, a rescaling with scale_in = 1.
        Ssf = "ssf",
        /// A baseline: only what is added.
        Shifts = "shifts",
    }
}

words! {
    /// How an epoch's pictures are drawn.
    Sampler {
        /// Each once, in a random order.
        Uniform = "uniform",
        /// As many, with replacement, every class as often as any other.
        Balanced = "balanced",
    }
}

words! {
    /// Which splits are fitted on.
    FitOn {
        /// The training split; the best epoch is chosen on the validation split.
        Train = "train",
        /// Training and validation split; the last epoch is taken, for there is nothing to choose on.
        All = "all",
    }
}

words! {
    /// What the best epoch has most of, on the validation split.
    SelectBy {
        /// Right answers.
        Accuracy = "accuracy",
        /// The mean over classes of the share of a class that was found.
        BalancedAccuracy = "balanced_accuracy",
        /// The mean over classes of F1.
        MacroF1 = "macro_f1",
        /// The mean over classes of the area under the ROC curve.
        Auroc = "auroc",
    }
}

/// How much a class counts in the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeight {
    /// As often as it comes.
    None,
    /// Inversely to how often it comes: n / (classes · n of the class). Where a picture has several labels, a yes and a no
    /// to each class count the same: n / (2 · n with it), n / (2 · n without it).
    Balanced,
    /// One number per class, in head order.
    Given(Vec<f32>),
}

impl SelectBy {
    /// What tells good epochs from bad ones. Where a picture has several labels nearly every decision is a no, and
    /// accuracy is high when nothing was learnt.
    pub fn of(problem: Problem) -> Self {
        match problem {
            Problem::SingleLabel => Self::Accuracy,
            Problem::MultiLabel => Self::MacroF1,
        }
    }

    /// Its name in a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced accuracy",
            Self::MacroF1 => "macro F1",
            Self::Auroc => "AUROC",
        }
    }
}

impl Method {
    /// Whether it trains the layout's segment of that name.
    pub fn trains(self, segment: &str) -> bool {
        match self {
            Self::Rlrr => true,
            Self::Linear => false,
            Self::Ssf => !segment.ends_with(".scale_in"),
            Self::Shifts => segment.ends_with(".shift"),
        }
    }
}

/// Far beyond what is useful, and far below where numbers of steps overflow.
const EPOCHS_MAX: usize = 100_000;

impl Recipe {
    /// Dropout rate per block: rate · i / (depth - 1) at block i.
    #[expect(clippy::cast_precision_loss, reason = "blocks are far fewer than 2^24")]
    pub fn dropout_by_block(&self, depth: usize) -> Vec<f32> {
        if self.dropout == 0.0 {
            return Vec::new();
        }
        let last = depth.saturating_sub(1).max(1) as f32;
        (0..depth).map(|block| self.dropout * block as f32 / last).collect()
    }

    /// What cannot be trained with, one sentence each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, fault: &str| {
            if !ok {
                faults.push(fault.to_owned());
            }
        };
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let epochs = format!("--epochs must be between 1 and {EPOCHS_MAX}");
        check((1..=EPOCHS_MAX).contains(&self.schedule.epochs), &epochs);
        check(self.schedule.warmup_epochs < self.schedule.epochs.max(1), "--warmup-epochs must be below --epochs");
        check(positive(self.learning_rate), "--lr must be above 0");
        check(self.weight_decay >= 0.0 && self.weight_decay.is_finite(), "--weight-decay must be 0 or more");
        check((0.0..1.0).contains(&self.dropout), "--dropout must be at least 0 and below 1");
        check(self.batch_size > 0, "--batch-size must be at least 1");
        check(self.passes > 0 && self.passes <= self.batch_size, "--accumulate must be between 1 and --batch-size");
        check((0.0..1.0).contains(&self.label_smoothing), "--label-smoothing must be at least 0 and below 1");
        check(self.clip_norm.is_none_or(|norm| positive(norm.into())), "--clip-norm must be above 0");
        check(
            self.method != Method::Linear || self.dropout == 0.0,
            "--dropout needs a method that adapts the backbone",
        );
        if let Some(consistency) = &self.consistency {
            check(consistency.is_valid(), "--consistency-lambda and --consistency-sigma must be above 0");
            check(self.method != Method::Linear, "--consistency needs a method that adapts the backbone");
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use crate::train::presets::Preset;

    #[test]
    fn dropout_grows_evenly_with_depth() {
        let mut recipe = "vtab-1k".parse::<Preset>().expect("a preset").recipe(10);
        recipe.dropout = 0.3;
        let rates = recipe.dropout_by_block(4);
        assert!(rates.iter().zip([0.0, 0.1, 0.2, 0.3]).all(|(a, b)| (a - b).abs() < 1e-6), "{rates:?}");
        assert_eq!(recipe.dropout_by_block(1), [0.0]);
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let mut recipe = "default".parse::<Preset>().expect("a preset").recipe(10);
        assert_eq!(recipe.faults(), Vec::<String>::new());
        (recipe.learning_rate, recipe.dropout, recipe.batch_size) = (f64::NAN, 1.0, 0);
        assert_eq!(recipe.faults().len(), 4, "{:?}", recipe.faults());
    }
}
