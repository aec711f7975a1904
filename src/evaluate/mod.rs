//! How good answers are: figures on logits and what is known about their pictures. Pure.
//!
//! Probabilities and decisions are those of serving, so that a figure speaks of what a client gets.
#![forbid(unsafe_code)]

mod answers;
mod calibration;
mod held;
mod interval;
mod odds;
mod operating_point;
mod ranking;
mod report;
mod temperature;

pub use answers::{Answers, Known, KnownError};
pub use calibration::{Bin, Calibration};
pub use held::Held;
pub use interval::{Share, wilson};
pub(crate) use odds::log_odds;
pub use operating_point::{Fitted, Goal, OperatingPoint, OperatingPointError, ParseError, fit_all};
pub use ranking::{auroc, average_precision};
pub use report::{ClassReport, Report};
pub use temperature::{TemperatureError, fit_temperature};

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "pictures are far fewer than 2^52")]
fn real(count: usize) -> f64 {
    count as f64
}

/// `part / all`; none of nothing.
fn ratio(part: usize, all: usize) -> Option<f64> {
    (all > 0).then(|| real(part) / real(all))
}

/// None of nothing.
fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / real(values.len()))
}

#[cfg(test)]
mod tests;
