use std::str::FromStr;

use super::consistency::{Consistency, Mode};
use super::recipe::{ClassWeight, FitOn, Method, Recipe, Sampler};
use super::schedule::Schedule;
use crate::adapter::Pooling;
use crate::adapter::import::Preset as Preparation;
use crate::image::{Interpolation, Preprocess, Resize};

/// A recipe by its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Preset {
    /// What does best on small data sets that nothing is known about.
    Default,
    /// The recipe of an independent PyTorch implementation, whose adapters manylens is compared with: no augmentation, no
    /// dropout, all labelled pictures, the last epoch.
    Reference,
    /// RLRR's settings for VTAB-1k; those of one of its tasks when it is named.
    Vtab(VtabTask),
    /// RLRR's settings for fine-grained classification.
    Fgvc,
}

/// What RLRR's authors chose for a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VtabTask {
    learning_rate: f64,
    weight_decay: f64,
    dropout: f32,
    flip: bool,
}

/// A name that no recipe has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no recipe {name:?}; there are default, reference, fgvc, vtab-1k, and vtab-1k:TASK with {tasks}")]
pub struct UnknownRecipe {
    name: String,
    tasks: String,
}

impl FromStr for Preset {
    type Err = UnknownRecipe;

    fn from_str(name: &str) -> Result<Self, UnknownRecipe> {
        match name {
            "default" => Ok(Self::Default),
            "reference" => Ok(Self::Reference),
            "fgvc" => Ok(Self::Fgvc),
            "vtab-1k" => Ok(Self::Vtab(ANY_TASK)),
            _ => {
                let task = name.strip_prefix("vtab-1k:");
                let found = task.and_then(|task| VTAB.iter().find(|(name, _)| *name == task));
                found.map(|&(_, task)| Self::Vtab(task)).ok_or_else(|| UnknownRecipe {
                    name: name.to_owned(),
                    tasks: VTAB.map(|(name, _)| name).join(", "),
                })
            }
        }
    }
}

impl Preset {
    /// Epochs, cool-down not counted.
    pub fn epochs(self) -> usize {
        match self {
            Self::Default | Self::Reference => 20,
            Self::Vtab(_) => 100,
            Self::Fgvc => 50,
        }
    }

    /// The recipe with that many epochs; warm-up is a tenth of them.
    pub fn recipe(self, epochs: usize) -> Recipe {
        let published = |cooldown_epochs| Schedule { epochs, warmup_epochs: epochs / 10, cooldown_epochs, late: true };
        let base = Recipe {
            method: Method::Rlrr,
            learning_rate: 3e-3,
            schedule: Schedule {
                epochs,
                warmup_epochs: (epochs / 10).max(1).min(epochs.saturating_sub(1)),
                cooldown_epochs: 0,
                late: false,
            },
            weight_decay: 5e-5,
            dropout: 0.0,
            batch_size: 32,
            passes: 1,
            label_smoothing: 0.0,
            clip_norm: None,
            class_weight: ClassWeight::None,
            sampler: Sampler::Uniform,
            flip: false,
            random_crop: false,
            consistency: None,
            fit_on: FitOn::All,
            select_by: None,
            seed: 1,
        };
        match self {
            Self::Reference => base,
            Self::Default => Recipe { consistency: Some(Consistency::of(Mode::Fast)), fit_on: FitOn::Train, ..base },
            Self::Vtab(VtabTask { learning_rate, weight_decay, dropout, flip }) => {
                Recipe { learning_rate, weight_decay, dropout, flip, schedule: published(epochs / 10), ..base }
            }
            Self::Fgvc => {
                let schedule = published(epochs / 5);
                Recipe { learning_rate: 1e-3, weight_decay: 5e-2, flip: true, random_crop: true, schedule, ..base }
            }
        }
    }

    /// How pictures are prepared for a final side of `image_size` pixels.
    pub fn preprocess(self, image_size: usize) -> Preprocess {
        let imagenet = Preparation::Dinov2.at(image_size);
        match self {
            Self::Vtab(_) => Preparation::Vtab.at(image_size),
            Self::Fgvc => Preparation::Fgvc.at(image_size),
            Self::Default | Self::Reference => Preprocess {
                resize: Resize::Squash,
                interpolation: Interpolation::Bicubic,
                size: image_size,
                crop: None,
                ..imagenet
            },
        }
    }

    /// What the head reads.
    pub fn pooling(self) -> Pooling {
        match self {
            Self::Default | Self::Reference => Pooling::ClsMean,
            Self::Vtab(_) | Self::Fgvc => Pooling::Cls,
        }
    }
}

/// For a task that VTAB-1k does not have: what most of its tasks have.
const ANY_TASK: VtabTask = task(1e-3, 0.1, PLAIN);

const PLAIN: (f64, bool) = (5e-5, false);
const FLIP: (f64, bool) = (5e-5, true);
const STRONG: (f64, bool) = (5e-2, false);
const STRONG_FLIP: (f64, bool) = (5e-2, true);

const fn task(learning_rate: f64, dropout: f32, (weight_decay, flip): (f64, bool)) -> VtabTask {
    VtabTask { learning_rate, weight_decay, dropout, flip }
}

const VTAB: [(&str, VtabTask); 19] = [
    ("caltech", task(1e-3, 0.1, PLAIN)),
    ("cifar", task(3e-3, 0.1, PLAIN)),
    ("dtd", task(2e-3, 0.1, FLIP)),
    ("flowers", task(3e-3, 0.3, STRONG)),
    ("pets", task(1e-3, 0.1, FLIP)),
    ("svhn", task(5e-3, 0.3, PLAIN)),
    ("sun397", task(1e-3, 0.1, PLAIN)),
    ("patch_camelyon", task(3e-3, 0.3, STRONG_FLIP)),
    ("eurosat", task(1e-3, 0.1, FLIP)),
    ("resisc45", task(3e-3, 0.0, PLAIN)),
    ("retinopathy", task(5e-3, 0.1, FLIP)),
    ("clevr_count", task(5e-3, 0.5, FLIP)),
    ("clevr_dist", task(1e-2, 0.2, FLIP)),
    ("dmlab", task(5e-3, 0.3, FLIP)),
    ("kitti", task(3e-3, 0.3, STRONG_FLIP)),
    ("dsprites_loc", task(1e-2, 0.1, PLAIN)),
    ("dsprites_ori", task(5e-3, 0.1, PLAIN)),
    ("smallnorb_azi", task(5e-3, 0.3, STRONG)),
    ("smallnorb_ele", task(1e-3, 0.3, FLIP)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vtab_task_has_its_published_settings() {
        let kitti = "vtab-1k:kitti".parse::<Preset>().expect("a preset");
        let recipe = kitti.recipe(kitti.epochs());
        assert_eq!((recipe.learning_rate, recipe.weight_decay, recipe.dropout, recipe.flip), (3e-3, 5e-2, 0.3, true));
        assert_eq!(recipe.schedule, Schedule { epochs: 100, warmup_epochs: 10, cooldown_epochs: 10, late: true });
        assert_eq!((kitti.pooling(), kitti.preprocess(224).mean), (Pooling::Cls, [0.5; 3]));
    }

    #[test]
    fn fifty_epochs_of_fgvc_cool_down_for_ten() {
        let recipe = Preset::Fgvc.recipe(Preset::Fgvc.epochs());
        assert_eq!((recipe.schedule.epochs, recipe.schedule.cooldown_epochs), (50, 10));
        let preprocess = Preset::Fgvc.preprocess(224);
        assert_eq!((preprocess.size, preprocess.crop), (256, Some(224)));
    }

    #[test]
    fn every_preset_can_be_trained_with_any_epochs() {
        for name in ["default", "reference", "fgvc", "vtab-1k", "vtab-1k:dmlab"] {
            for epochs in [1, 2, 15, 100] {
                let recipe = name.parse::<Preset>().expect("a preset").recipe(epochs);
                assert_eq!(recipe.faults(), Vec::<String>::new(), "{name} {epochs}");
            }
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "vtab-1k:cifar100".parse::<Preset>().expect_err("unknown").to_string();
        assert!(error.contains("\"vtab-1k:cifar100\"") && error.contains("caltech, cifar, dtd"), "{error}");
    }
}
