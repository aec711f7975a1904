use serde::Serialize;

use crate::random::Random;
use crate::train::{Method, Recipe};

/// Of those trials that a rung has, one in so many goes on to the next.
pub const KEPT_ONE_IN: usize = 3;

const DECAYS: [f64; 4] = [5e-5, 5e-4, 5e-3, 5e-2];
const DROPOUTS: [f32; 4] = [0.0, 0.1, 0.2, 0.3];
/// Learning rates reach so many powers of ten to both sides of the recipe's.
const RATE_REACH: f64 = 0.75;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// Peak of the learning rate.
    pub learning_rate: f64,
    /// Decay of what decays.
    pub weight_decay: f64,
    /// Dropout of the last block.
    pub dropout: f32,
}

impl Trial {
    /// The recipe with it.
    pub fn recipe(&self, base: &Recipe) -> Recipe {
        let &Self { learning_rate, weight_decay, dropout } = self;
        Recipe { learning_rate, weight_decay, dropout, ..base.clone() }
    }
}

/// As many trials, the first one being the recipe itself; the same for the same recipe, seed included, so that fewer are
/// the first of more.
pub fn draw(count: usize, base: &Recipe) -> Vec<Trial> {
    let mut random = Random::seeded(base.seed);
    let own = Trial { learning_rate: base.learning_rate, weight_decay: base.weight_decay, dropout: base.dropout };
    let other = || {
        let power = RATE_REACH * (2.0 * unit(&mut random) - 1.0);
        let learning_rate = rounded(base.learning_rate * 10f64.powf(power));
        Trial {
            learning_rate,
            weight_decay: DECAYS[random.below(DECAYS.len())],
            // A head alone has nothing that dropout acts on.
            dropout: DROPOUTS[random.below(DROPOUTS.len())] * if base.method == Method::Linear { 0.0 } else { 1.0 },
        }
    };
    std::iter::once(own).chain(std::iter::repeat_with(other)).take(count).collect()
}

/// In [0, 1).
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn unit(random: &mut Random) -> f64 {
    (random.bits() >> 11) as f64 / (1u64 << 53) as f64
}

/// To two digits, which a person can repeat.
fn rounded(rate: f64) -> f64 {
    format!("{rate:.1e}").parse().unwrap_or(rate)
}

/// Epochs and number of trials of each rung: the last one has all epochs and, if there are enough trials, one in nine.
/// Where epochs are few there are fewer rungs: one with the former's epochs would tell nothing new.
pub fn rungs(trials: usize, epochs: usize) -> Vec<(usize, usize)> {
    let mut counts = vec![trials.max(1)];
    while counts[counts.len() - 1] > 1 && counts.len() < RUNGS_MAX {
        counts.push(counts[counts.len() - 1].div_ceil(KEPT_ONE_IN));
    }
    let last = counts.len() - 1;
    let share = |rung: usize| (0..last - rung).fold(epochs, |epochs, _| epochs.div_ceil(KEPT_ONE_IN));
    let epochs = |rung: usize| share(rung).max(EPOCHS_MIN).min(epochs.max(1));
    let mut rungs: Vec<_> = counts.iter().enumerate().map(|(rung, &count)| (epochs(rung), count)).collect();
    rungs.dedup_by_key(|(epochs, _)| *epochs);
    rungs
}

const RUNGS_MAX: usize = 3;
/// The first epoch only warms up.
const EPOCHS_MIN: usize = 3;

/// The best of them by index, ties by index; what has no score is last.
pub fn best(scores: &[Option<f64>], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let score = |i: usize| scores[i].unwrap_or(f64::NEG_INFINITY);
    order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Preset;

    #[test]
    fn trials_repeat_and_begin_with_the_recipe() {
        let base = Preset::Default.recipe(30);
        let trials = draw(9, &base);
        assert_eq!(trials[0].recipe(&base), base);
        assert_eq!(trials[..4], draw(4, &base));
        let reach = 10f64.powf(RATE_REACH) * 1.05;
        let near = |t: &Trial| (base.learning_rate / reach..base.learning_rate * reach).contains(&t.learning_rate);
        assert!(trials.iter().all(near) && trials[1] != trials[2]);
        let head = Recipe { method: Method::Linear, consistency: None, ..base.clone() };
        assert!(draw(20, &head).iter().all(|trial| trial.recipe(&head).faults().is_empty()));
        assert_ne!(draw(9, &Recipe { seed: 2, ..base })[1..], trials[1..]);
    }

    #[test]
    fn rungs_have_fewer_trials_and_more_epochs() {
        assert_eq!(rungs(9, 30), [(4, 9), (10, 3), (30, 1)]);
        assert_eq!(rungs(20, 30), [(4, 20), (10, 7), (30, 3)]);
        assert_eq!(rungs(1, 30), [(30, 1)]);
        assert_eq!(rungs(9, 9), [(3, 9), (9, 1)]);
        assert_eq!(rungs(9, 3), [(3, 9)]);
        assert_eq!(rungs(0, 2), [(2, 1)]);
    }

    #[test]
    fn the_best_go_on() {
        assert_eq!(best(&[Some(0.5), None, Some(0.9), Some(0.5)], 3), [2, 0, 3]);
        assert_eq!(best(&[None], 2), [0]);
    }
}
