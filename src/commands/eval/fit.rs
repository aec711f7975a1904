use serde::Serialize;
use serde_json::{Value, json};

use super::{Args, Error};
use crate::adapter::Adapter;
use crate::evaluate::{Answers, Fitted, Known, Temperature};

/// What was fitted on the validation split, and on how much.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Fits {
    /// Pictures.
    pub pictures: usize,
    /// If it was asked for.
    pub temperature: Option<Temperature>,
    /// In the order in which they were asked for.
    pub operating_points: Vec<Fitted>,
}

/// Fits the temperature, then the thresholds on the probabilities that it gives, and changes the adapter accordingly.
pub fn fit(known: &Known<'_>, args: &Args, adapter: &mut Adapter) -> Result<Fits, Error> {
    let mut fits = Fits { pictures: known.targets.len(), ..Fits::default() };
    if args.fit_temperature {
        let fitted = Temperature::fit(known);
        adapter.temperature = fitted.value;
        fits.temperature = Some(fitted);
    }
    for point in &args.operating_points {
        let answers = Answers::new(*known, adapter.temperature, &adapter.decision);
        fits.operating_points.extend(point.fit(&answers, &adapter.labels, &mut adapter.decision)?);
    }
    note(&mut adapter.lineage, &fits);
    Ok(fits)
}

/// The lineage says what was fitted after training. One that is no object is kept inside.
fn note(lineage: &mut Value, fits: &Fits) {
    if !lineage.is_object() {
        *lineage = if lineage.is_null() { json!({}) } else { json!({"before": lineage.take()}) };
    }
    lineage["fitted_on_validation"] = serde_json::to_value(fits).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lineage_keeps_what_it_said() {
        let (mut object, mut text, mut nothing) = (json!({"seed": 1}), json!("by hand"), Value::Null);
        [&mut object, &mut text, &mut nothing].into_iter().for_each(|lineage| note(lineage, &Fits::default()));
        assert_eq!((&object["seed"], &text["before"]), (&json!(1), &json!("by hand")));
        assert_eq!(nothing["fitted_on_validation"]["pictures"], 0);
    }
}
