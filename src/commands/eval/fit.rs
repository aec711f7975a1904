use serde::Serialize;
use serde_json::{Value, json};

use super::{Args, Error};
use crate::adapter::{Adapter, Problem};
use crate::evaluate::{Fitted, Known, OperatingPoint, fit_all, fit_temperature};

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

/// Refuses a temperature, or a limit below which the adapter abstains, under thresholds that were fitted without it and are
/// not fitted again.
pub fn check(args: &Args, adapter: &Adapter) -> Result<(), Error> {
    let limits = adapter.problem == Problem::SingleLabel && args.operating_points.iter().any(|p| p.label.is_none());
    let stale = stale(adapter, &args.operating_points);
    if (args.fit_temperature || limits) && !stale.is_empty() { Err(Error::Stale(stale)) } else { Ok(()) }
}

/// Thresholds that are not fitted again; 0.5, which nobody fitted, needs it not.
fn stale(adapter: &Adapter, points: &[OperatingPoint]) -> Vec<String> {
    let Adapter { decision, labels, .. } = adapter;
    let again = |label: Option<&String>| points.iter().any(|point| point.label.as_ref() == label);
    // A point without a label sets the limit of classes that exclude each other, else the thresholds of all.
    let several = adapter.problem == Problem::MultiLabel;
    let limit = decision.abstain_below.filter(|_| several || !again(None));
    let limit = limit.map(|_| "the one below which it abstains".to_owned());
    let all = again(None) && several;
    let classes = labels.iter().zip(&decision.thresholds);
    let classes = classes.filter(|&(label, &threshold)| threshold != 0.5 && !all && !again(Some(label)));
    limit.into_iter().chain(classes.map(|(label, _)| label.clone())).collect()
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

/// Former fits that a lineage lists.
const FORMER_MAX: usize = 8;

/// The lineage says what was fitted after training, and what was before. One that is no object is kept inside.
fn note(lineage: &mut Value, fits: &Fits) {
    if !lineage.is_object() {
        *lineage = if lineage.is_null() { json!({}) } else { json!({"before": lineage.take()}) };
    }
    let Fits { pictures, temperature, operating_points } = fits;
    let listed = &operating_points[..operating_points.len().min(POINTS_LISTED_MAX)];
    if let Some(former) = lineage.get("fitted_on_validation") {
        // Of its points the number, for a lineage's bytes have a limit.
        let points = former["operating_points"].as_array().map_or(0, Vec::len) as u64;
        let points = points + former["more_operating_points"].as_u64().unwrap_or(0);
        let [pictures, temperature] = ["pictures", "temperature"].map(|key| former[key].as_f64());
        let mut all = lineage["fitted_before"].as_array().cloned().unwrap_or_default();
        all.push(json!({"pictures": pictures, "temperature": temperature, "operating_points": points}));
        lineage["fitted_before"] = all.split_off(all.len().saturating_sub(FORMER_MAX)).into();
    }
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
    use crate::adapter::Rule;
    use crate::train::{State, testing};

    #[test]
    fn the_lineage_keeps_what_it_said() {
        let (mut object, mut text, mut nothing) = (json!({"seed": 1}), json!("by hand"), Value::Null);
        [&mut object, &mut text, &mut nothing].into_iter().for_each(|lineage| note(lineage, &Fits::default()));
        assert_eq!((&object["seed"], &text["before"]), (&json!(1), &json!("by hand")));
        assert_eq!(nothing["fitted_on_validation"]["pictures"], 0);
        assert_eq!(nothing.get("fitted_before"), None);
        for pictures in 1..20 {
            note(&mut nothing, &Fits { pictures, ..Fits::default() });
        }
        let before = nothing["fitted_before"].as_array().expect("a list");
        assert_eq!((before.len(), &before[7]["pictures"]), (FORMER_MAX, &json!(18.0)));
    }

    #[test]
    fn thresholds_of_another_temperature_are_fitted_again_or_named() {
        let job = testing::job(|_| ());
        let mut adapter = job.adapter(State::initial(&job).chosen(), Value::Null);
        let stale = |adapter: &Adapter, points: &[&str]| {
            stale(adapter, &points.iter().map(|point| point.parse().expect("a point")).collect::<Vec<_>>())
        };
        adapter.labels = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(stale(&adapter, &[]), Vec::<String>::new());
        (adapter.decision.rule, adapter.decision.thresholds) = (Rule::Threshold, vec![0.5, 0.7, 0.2]);
        assert_eq!(stale(&adapter, &["precision=0.9:b"]), ["c"]);
        adapter.decision.abstain_below = Some(0.4);
        assert_eq!(stale(&adapter, &["recall=0.9:b", "recall=0.9:c"]), ["the one below which it abstains"]);
        assert_eq!(stale(&adapter, &["precision=0.9", "recall=0.9:b", "recall=0.9:c"]), Vec::<String>::new());
        adapter.problem = Problem::MultiLabel;
        assert_eq!(stale(&adapter, &["precision=0.9"]), ["the one below which it abstains"]);
        adapter.decision.abstain_below = None;
        assert_eq!(stale(&adapter, &["precision=0.9"]), Vec::<String>::new());
    }
}
