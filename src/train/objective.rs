use ndarray::{Array2, Axis, concatenate};

use super::consistency::{Consistency, Mode};
use super::loss::Loss;

/// What one pass's logits are judged by.
pub struct Objective<'a> {
    /// The loss of answers.
    pub loss: &'a Loss,
    /// PACE's rule.
    pub consistency: Option<&'a Consistency>,
    /// Classes of every picture.
    pub targets: Vec<&'a [usize]>,
    /// Weight of all pictures of the step.
    pub total: f64,
    /// Pictures of the step.
    pub pictures: usize,
}

/// In place of logits that there are none of yet.
pub const NO_LOGITS: f32 = f32::INFINITY;

impl Objective<'_> {
    /// The pass's part of the step's loss, and its derivative. With [`Mode::Full`], `logits` has every picture twice,
    /// first all and then all again; with [`Mode::Fast`], `previous` has the logits of every picture's former pass and
    /// takes the new ones.
    pub fn backward(&self, logits: &Array2<f32>, previous: &mut Array2<f32>) -> (f64, Array2<f32>) {
        let Some(Consistency { mode, lambda, .. }) = self.consistency else {
            return self.loss.backward(logits, &self.targets, self.total);
        };
        #[expect(clippy::cast_precision_loss, reason = "pictures of a step are far fewer than 2^24")]
        let scale = lambda / self.pictures as f32;
        let count = self.targets.len();
        let (first, second) = logits.view().split_at(Axis(0), count);
        let first = first.to_owned();
        let (loss, d) = self.loss.backward(&first, &self.targets, self.total);
        match mode {
            Mode::Full => {
                let apart = first - second;
                let both = concatenate![Axis(0), d + &apart * (2.0 * scale), &apart * (-2.0 * scale)];
                (loss + squares(&apart) * f64::from(scale), both)
            }
            Mode::Fast => {
                let mut apart = &first - &*previous;
                apart.mapv_inplace(|d| if d.is_infinite() { 0.0 } else { d });
                previous.assign(&first);
                (loss + squares(&apart) * f64::from(scale), d + apart * (2.0 * scale))
            }
        }
    }
}

fn squares(values: &Array2<f32>) -> f64 {
    values.iter().map(|&v| f64::from(v).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Problem;

    fn loss() -> Loss {
        Loss { problem: Problem::SingleLabel, smoothing: 0.0, weights: vec![1.0; 3], no_weights: vec![] }
    }

    fn logits(rows: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, 3), |(row, class)| ((5 * row + 3 * class) % 7) as f32 / 3.0)
    }

    /// Two of a step's four pictures.
    fn objective<'a>(loss: &'a Loss, consistency: &'a Consistency) -> Objective<'a> {
        Objective { loss, consistency: Some(consistency), targets: vec![&[0], &[2]], total: 4.0, pictures: 4 }
    }

    fn compare(mode: Mode, rows: usize, previous: &Array2<f32>) {
        let (loss, consistency) = (loss(), Consistency { mode, lambda: 0.7, sigma: 1.0 });
        let objective = objective(&loss, &consistency);
        let (_, d) = objective.backward(&logits(rows), &mut previous.clone());
        for at in (0..rows).flat_map(|row| (0..3).map(move |class| (row, class))) {
            let [up, down] = [0.01, -0.01].map(|step| {
                let mut logits = logits(rows);
                logits[at] += step;
                objective.backward(&logits, &mut previous.clone()).0
            });
            let expected = (up - down) / 0.02;
            assert!((f64::from(d[at]) - expected).abs() < 1e-4, "{mode:?} {at:?}: {} {expected}", d[at]);
        }
    }

    #[test]
    fn derivatives_are_the_limit_of_differences() {
        compare(Mode::Full, 4, &Array2::zeros((0, 0)));
        compare(Mode::Fast, 2, &Array2::from_elem((2, 3), 0.5));
    }

    #[test]
    fn a_picture_that_was_never_met_is_drawn_nowhere() {
        let (loss, consistency) = (loss(), Consistency { mode: Mode::Fast, lambda: 0.7, sigma: 1.0 });
        let mut previous = Array2::from_elem((2, 3), NO_LOGITS);
        let found = objective(&loss, &consistency).backward(&logits(2), &mut previous);
        assert_eq!(found, loss.backward(&logits(2), &[&[0], &[2]], 4.0));
        assert_eq!(previous, logits(2));
    }
}
