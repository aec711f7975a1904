use serde::Serialize;
use serde_json::{Value, json};

use super::{Args, Error};
use crate::adapter::Adapter;
use crate::evaluate::{Fitted, Known, fit_all, fit_temperature};

/// What was fitted on the validation split, and on how much.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Fits {
    /// Pictures.
    pub pictures: usize,
    /// If it was asked for.
    pub temperature: Option<f32>,
    /// Those of no class first.
    pub operating_points: Vec<Fitted>,
}

/// Fits the temperature, then the thresholds on the probabilities that it gives, and changes the adapter accordingly.
pub fn fit(known: &Known<'_>, args: &Args, adapter: &mut Adapter) -> Result<Fits, Error> {
    let mut fits = Fits { pictures: known.targets.len(), ..Fits::default() };
    if args.fit_temperature {
        adapter.temperature = fit_temperature(known)?;
        fits.temperature = Some(adapter.temperature);
    }
    let (points, decision) = (&args.operating_points, &mut adapter.decision);
    fits.operating_points = fit_all(points, *known, adapter.temperature, &adapter.labels, decision)?;
    note(&mut adapter.lineage, &fits);
    Ok(fits)
}

/// Operating points that a lineage lists; its bytes have a limit, and the decision has all thresholds.
const POINTS_LISTED_MAX: usize = 64;

/// The lineage says what was fitted after training. One that is no object is kept inside.
fn note(lineage: &mut Value, fits: &Fits) {
    if !lineage.is_object() {
        *lineage = if lineage.is_null() { json!({}) } else { json!({"before": lineage.take()}) };
    }
    let Fits { pictures, temperature, operating_points } = fits;
    let listed = &operating_points[..operating_points.len().min(POINTS_LISTED_MAX)];
    lineage["fitted_on_validation"] = json!({
        "pictures": pictures,
        "temperature": temperature,
        "operating_points": listed,
        "more_operating_points": operating_points.len() - listed.len(),
    });
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
