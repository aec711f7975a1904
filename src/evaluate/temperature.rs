use super::Known;
use crate::adapter::Problem;
use crate::serving::respond::ranked;

/// Temperatures that are looked at. Where no picture is answered wrongly, the likelihood has no maximum.
const MIN: f64 = 0.05;
const MAX: f64 = 20.0;
/// Halvings of the interval in ln T: far below what an f32 can hold.
const STEPS: usize = 60;

/// Pictures that tell no temperature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no temperature fits: the best is at the end of what is looked at ({MIN} to {MAX}), for {right} of the {pictures} \
     pictures have the right class as their most probable one, which does not tell how sure an answer should be; give \
     more pictures to fit on, or leave --fit-temperature out"
)]
pub struct TemperatureError {
    /// Pictures that were looked at.
    pub pictures: usize,
    /// Those that are answered rightly.
    pub right: usize,
}

/// The temperature of the greatest likelihood (Guo et al. 2017). The negative log likelihood is convex in 1 / T, so the
/// sign of its slope tells on which side the minimum is.
pub fn fit_temperature(known: &Known<'_>) -> Result<f32, TemperatureError> {
    let (mut low, mut high) = (MIN.ln(), MAX.ln());
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        // A positive slope in 1 / T: less 1 / T, so a higher T, is likelier.
        if slope(known, (-middle).exp()) > 0.0 { low = middle } else { high = middle }
    }
    let value = f64::midpoint(low, high).exp();
    if !(MIN * 1.001..=MAX / 1.001).contains(&value) {
        let rows = known.logits.rows().into_iter().zip(known.targets);
        let right = rows.filter(|(row, targets)| ranked(&row.to_vec()).first().is_some_and(|c| targets.contains(c)));
        return Err(TemperatureError { pictures: known.targets.len(), right: right.count() });
    }
    #[expect(clippy::cast_possible_truncation, reason = "between 0.05 and 20")]
    Ok(value as f32)
}

/// d NLL / d β at β = 1 / T, not divided by the number of pictures.
fn slope(known: &Known<'_>, beta: f64) -> f64 {
    let rows = known.logits.rows().into_iter().zip(known.targets);
    let of_row = |(row, targets): (ndarray::ArrayView1<'_, f32>, &Vec<usize>)| {
        let logits: Vec<f64> = row.iter().map(|&logit| f64::from(logit)).collect();
        match known.problem {
            Problem::SingleLabel => expectation(&logits, beta) - targets.first().map_or(0.0, |&t| logits[t]),
            Problem::MultiLabel => {
                let of_class = |(class, &x): (usize, &f64)| {
                    let truth = f64::from(u8::from(targets.contains(&class)));
                    (1.0 / (1.0 + (-beta * x).exp()) - truth) * x
                };
                logits.iter().enumerate().map(of_class).sum()
            }
        }
    };
    rows.map(of_row).sum()
}

/// The mean logit by softmax.
fn expectation(logits: &[f64], beta: f64) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights = logits.iter().map(|x| (beta * (x - largest)).exp());
    let (sum, total) = logits.iter().zip(weights).fold((0.0, 0.0), |(sum, total), (x, w)| (sum + x * w, total + w));
    sum / total
}
