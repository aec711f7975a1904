use ndarray::{Array2, ArrayView1, ArrayViewMut1};

use super::data::Example;
use super::recipe::ClassWeight;
use crate::adapter::Problem;

/// Cross-entropy over classes that exclude each other, or the mean binary cross-entropy of classes that don't; both
/// with label smoothing and class weights, as PyTorch defines them.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// Softmax or sigmoid.
    pub problem: Problem,
    /// What is taken from the true class and shared by all.
    pub smoothing: f32,
    /// How much each class counts …
    pub weights: Vec<f32>,
    /// … and, where each class is a question of its own, how much a no to it.
    pub no_weights: Vec<f32>,
}

impl Loss {
    /// With weights found from the examples.
    pub fn new(problem: Problem, smoothing: f32, weight: &ClassWeight, examples: &[Example], classes: usize) -> Self {
        let (weights, no_weights) = match (weight, problem) {
            (ClassWeight::None, _) => (vec![1.0; classes], vec![1.0; classes]),
            (ClassWeight::Given(weights), _) => (weights.clone(), weights.clone()),
            (ClassWeight::Balanced, Problem::SingleLabel) => (balanced(&counts(examples, classes)), vec![1.0; classes]),
            (ClassWeight::Balanced, Problem::MultiLabel) => {
                balanced_answers(&counts(examples, classes), examples.len())
            }
        };
        Self { problem, smoothing, weights, no_weights }
    }

    /// What an example counts in a mean.
    pub fn weight(&self, targets: &[usize]) -> f64 {
        match self.problem {
            Problem::SingleLabel => targets.iter().map(|&class| f64::from(self.weights[class])).sum(),
            Problem::MultiLabel => 1.0,
        }
    }

    /// The sum of the rows' losses and its derivative by the logits `[rows, classes]`, both divided by `total`: the
    /// weight of all examples that the mean is over.
    pub fn backward(&self, logits: &Array2<f32>, targets: &[&[usize]], total: f64) -> (f64, Array2<f32>) {
        let mut d = Array2::zeros(logits.dim());
        let rows = logits.rows().into_iter().zip(d.rows_mut()).zip(targets);
        let loss: f64 = rows.map(|((logits, d), targets)| self.row(logits, d, targets, total)).sum();
        (loss, d)
    }

    fn row(&self, logits: ArrayView1<'_, f32>, d: ArrayViewMut1<'_, f32>, targets: &[usize], total: f64) -> f64 {
        match self.problem {
            Problem::SingleLabel => self.softmax_row(logits, d, targets, total),
            Problem::MultiLabel => self.sigmoid_row(logits, d, targets, total),
        }
    }
}

/// A row's loss; its derivative goes to `d`.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "computed in f64, handed on in f32")]
impl Loss {
    fn softmax_row(
        &self,
        logits: ArrayView1<'_, f32>,
        d: ArrayViewMut1<'_, f32>,
        targets: &[usize],
        total: f64,
    ) -> f64 {
        let max = f64::from(logits.fold(f32::NEG_INFINITY, |max, &v| max.max(v)));
        let sum: f64 = logits.iter().map(|&v| (f64::from(v) - max).exp()).sum();
        let smoothing = f64::from(self.smoothing);
        let share = smoothing / logits.len() as f64;
        // How much of the target lies on each class, its weight included.
        let on = |class: usize| {
            let hit = if targets.contains(&class) { 1.0 - smoothing } else { 0.0 };
            f64::from(self.weights[class]) * (hit + share) / total
        };
        let all: f64 = (0..logits.len()).map(on).sum();
        let mut loss = 0.0;
        for (class, (d, &logit)) in d.into_iter().zip(logits).enumerate() {
            let log = f64::from(logit) - max - sum.ln();
            // A class without weight has no part in the loss, however unlikely it is.
            loss -= if on(class) == 0.0 { 0.0 } else { on(class) * log };
            *d = (all * log.exp() - on(class)) as f32;
        }
        if sum.is_finite() { loss } else { f64::NAN }
    }

    fn sigmoid_row(
        &self,
        logits: ArrayView1<'_, f32>,
        d: ArrayViewMut1<'_, f32>,
        targets: &[usize],
        total: f64,
    ) -> f64 {
        let smoothing = f64::from(self.smoothing);
        let classes = logits.len() as f64;
        let mut loss = 0.0;
        for (class, (d, &logit)) in d.into_iter().zip(logits).enumerate() {
            let x = f64::from(logit);
            let hit = if targets.contains(&class) { 1.0 } else { 0.0 };
            let target = hit * (1.0 - smoothing) + 0.5 * smoothing;
            // By what the picture shows: weights of the smoothed target would pull a no towards a rare yes.
            let weights = if hit > 0.0 { &self.weights } else { &self.no_weights };
            let weight = f64::from(weights[class]) / (classes * total);
            // log(1 + exp(x)) without overflow.
            loss += weight * (x.max(0.0) + (-x.abs()).exp().ln_1p() - target * x);
            *d = (weight * (1.0 / (1.0 + (-x).exp()) - target)) as f32;
        }
        loss
    }
}

/// Examples of each class.
fn counts(examples: &[Example], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    examples.iter().flat_map(|example| &example.targets).for_each(|&class| counts[class] += 1);
    counts
}

/// n / (classes with examples · n of the class), as scikit-learn counts. A class without examples counts nothing: the
/// others' pictures push it down anyway.
fn balanced(counts: &[usize]) -> Vec<f32> {
    let (all, there) = (counts.iter().sum(), counts.iter().filter(|&&count| count > 0).count());
    counts.iter().map(|&count| share(all, there * count).unwrap_or(0.0)).collect()
}

/// Of each class, n / (2 · n with it) for a yes and n / (2 · n without it) for a no: both answers count the same. A class
/// that no example or every example has is learnt as the one answer that there is.
fn balanced_answers(counts: &[usize], all: usize) -> (Vec<f32>, Vec<f32>) {
    let pair = |&count: &usize| share(all, 2 * count).zip(share(all, 2 * (all - count))).unwrap_or((1.0, 1.0));
    counts.iter().map(pair).unzip()
}

/// None of nothing.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a ratio in f32")]
fn share(part: usize, all: usize) -> Option<f32> {
    (all > 0).then(|| (part as f64 / all as f64) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(targets: &[usize]) -> Example {
        Example { path: "".into(), targets: targets.to_vec() }
    }

    fn loss(problem: Problem) -> Loss {
        Loss { problem, smoothing: 0.2, weights: vec![1.0, 0.5, 2.0], no_weights: vec![1.0, 3.0, 0.25] }
    }

    #[test]
    fn a_plain_cross_entropy_is_the_logarithm() {
        let plain = Loss { problem: Problem::SingleLabel, smoothing: 0.0, weights: vec![1.0; 2], no_weights: vec![] };
        let logits = Array2::from_shape_vec((1, 2), vec![0.0, 3f32.ln()]).expect("a row");
        let (loss, d) = plain.backward(&logits, &[&[0]], 1.0);
        assert!((loss - 4f64.ln()).abs() < 1e-6, "{loss}");
        assert!((d[[0, 0]] + 0.75).abs() < 1e-6 && (d[[0, 1]] - 0.75).abs() < 1e-6, "{d}");
    }

    #[test]
    fn derivatives_are_the_limit_of_differences() {
        let logits = Array2::from_shape_vec((2, 3), vec![0.5, -1.0, 2.0, 30.0, 0.25, -40.0]).expect("two rows");
        for (problem, targets) in [(Problem::SingleLabel, [&[1][..], &[0]]), (Problem::MultiLabel, [&[0, 2][..], &[]])]
        {
            let loss = loss(problem);
            let (_, d) = loss.backward(&logits, &targets, 2.5);
            for at in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
                let [up, down] = [0.01, -0.01].map(|step| {
                    let mut logits = logits.clone();
                    logits[at] += step;
                    loss.backward(&logits, &targets, 2.5).0
                });
                let expected = (up - down) / 0.02;
                assert!((f64::from(d[at]) - expected).abs() < 1e-4, "{problem:?} {at:?}: {} {expected}", d[at]);
            }
        }
    }

    #[test]
    fn nothing_overflows_and_a_nan_shows() {
        for problem in [Problem::SingleLabel, Problem::MultiLabel] {
            let loss = loss(problem);
            let large = Array2::from_shape_vec((1, 3), vec![1e30, -1e30, 0.0]).expect("a row");
            let (value, d) = loss.backward(&large, &[&[1]], 1.0);
            assert!(value.is_finite() && d.iter().all(|d| d.is_finite()), "{problem:?} {value}");
            let nan = Array2::from_elem((1, 3), f32::NAN);
            assert!(loss.backward(&nan, &[&[1]], 1.0).0.is_nan(), "{problem:?}");
        }
    }

    #[test]
    fn balanced_weights_make_classes_count_the_same() {
        let examples: Vec<_> = [0, 0, 0, 0, 0, 0, 0, 0, 2, 2].iter().map(|&class| example(&[class])).collect();
        let loss = Loss::new(Problem::SingleLabel, 0.0, &ClassWeight::Balanced, &examples, 3);
        assert_eq!(loss.weights, [0.625, 0.0, 2.5]);
        assert_eq!(8.0 * loss.weight(&[0]), 2.0 * loss.weight(&[2]));
    }

    #[test]
    fn balanced_weights_make_yes_and_no_count_the_same() {
        let examples = [&[0][..], &[], &[], &[]].map(example);
        let loss = Loss::new(Problem::MultiLabel, 0.0, &ClassWeight::Balanced, &examples, 2);
        assert_eq!((&loss.weights[..], &loss.no_weights[..]), (&[2.0, 1.0][..], &[2.0 / 3.0, 1.0][..]));
        // Of a class whose logits are all 0 both answers pull alike.
        let targets: Vec<&[usize]> = examples.iter().map(|example| &example.targets[..]).collect();
        let (_, d) = loss.backward(&Array2::zeros((4, 2)), &targets, 1.0);
        assert!(d.column(0).sum().abs() < 1e-6 && d[[0, 0]] < 0.0, "{d}");
        let smooth = Loss::new(Problem::MultiLabel, 0.4, &ClassWeight::Balanced, &examples, 2);
        let (_, d) = smooth.backward(&Array2::zeros((4, 2)), &targets, 1.0);
        assert!(d[[0, 0]] < 0.0 && d.iter().skip(1).all(|&d| d > 0.0), "a no stays a no: {d}");
    }
}
