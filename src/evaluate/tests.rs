use ndarray::Array2;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::adapter::{Decision, Problem, Rule};

const ARGMAX: Decision = Decision { rule: Rule::Argmax, thresholds: vec![], abstain_below: None };

fn matrix(rows: &[Vec<f32>]) -> Array2<f32> {
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).expect("rows of one length")
}

fn names(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

/// Made by scripts/goldens/evaluate.py.
#[derive(Deserialize)]
struct Goldens {
    single: Golden,
    multi: Golden,
}

#[derive(Deserialize)]
struct Golden {
    logits: Vec<Vec<f32>>,
    targets: Vec<Vec<usize>>,
    macro_f1: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    average_precision: Vec<f64>,
    auroc: Vec<f64>,
    nll: f64,
    temperature: f64,
    accuracy: Option<f64>,
    interval: Option<(f64, f64)>,
    top3: Option<f64>,
    balanced_accuracy: Option<f64>,
    confusion: Option<Vec<Vec<usize>>>,
    exact: Option<f64>,
}

fn goldens() -> Goldens {
    let text = include_str!("../../tests/data/evaluate/sklearn.json");
    serde_json::from_str(text).expect("goldens")
}

#[track_caller]
fn near(found: Option<f64>, expected: Option<f64>, what: &str) {
    let (found, expected) = (found.unwrap_or(0.0), expected.expect(what));
    assert!((found - expected).abs() < 2e-6, "{what}: {found}, not {expected}");
}

fn compare(golden: &Golden, problem: Problem, decision: &Decision) -> Report {
    let (logits, labels) = (matrix(&golden.logits), names(golden.precision.len()));
    let known = Known::new(&logits, &golden.targets, problem).expect("they fit");
    let report = Report::new(&Answers::new(known, 1.0, decision), &labels, 3);
    for (i, class) in report.classes.iter().enumerate() {
        near(class.precision.value, Some(golden.precision[i]), "precision");
        near(class.recall.value, Some(golden.recall[i]), "recall");
        near(class.average_precision, Some(golden.average_precision[i]), "average precision");
        near(class.auroc, Some(golden.auroc[i]), "area under the ROC curve");
    }
    near(report.macro_f1, Some(golden.macro_f1), "macro F1");
    near(Some(report.calibration.negative_log_likelihood), Some(golden.nll), "likelihood");
    let fitted = fit_temperature(&known).expect("there is one");
    assert!((f64::from(fitted) / golden.temperature - 1.0).abs() < 1e-5, "{fitted:?}");
    report
}

#[test]
fn figures_of_exclusive_classes_are_those_of_scikit_learn() {
    let golden = goldens().single;
    let report = compare(&golden, Problem::SingleLabel, &ARGMAX);
    near(report.top1.value, golden.accuracy, "accuracy");
    near(Some(report.top1.interval.0), golden.interval.map(|i| i.0), "lower end");
    near(Some(report.top1.interval.1), golden.interval.map(|i| i.1), "upper end");
    near(report.top_k.value, golden.top3, "top 3");
    near(report.balanced_accuracy, golden.balanced_accuracy, "balanced accuracy");
    assert_eq!(report.confusion, golden.confusion);
    assert_eq!(report.decided_right, report.top1);
}

#[test]
fn figures_of_several_labels_are_those_of_scikit_learn() {
    let golden = goldens().multi;
    let decision = Decision { rule: Rule::Threshold, thresholds: vec![0.5; 4], abstain_below: None };
    let report = compare(&golden, Problem::MultiLabel, &decision);
    near(report.decided_right.value, golden.exact, "exact matches");
    assert_eq!(report.confusion, None);
}

#[test]
fn calibration_by_hand() {
    // ln 4 against 0: probability 0.8, in the bin of 0.8; three of four right. ln 1.5: 0.6, one of one.
    let [sure, unsure] = [vec![4.0f32.ln(), 0.0], vec![1.5f32.ln(), 0.0]];
    let logits = matrix(&[sure.clone(), sure.clone(), sure.clone(), sure, unsure]);
    let targets = [0, 0, 0, 1, 0].map(|class| vec![class]);
    let known = Known::new(&logits, &targets, Problem::SingleLabel).expect("they fit");
    let calibration = Calibration::of(&Answers::new(known, 1.0, &ARGMAX));
    let expected = 0.8 * (0.8 - 0.75) + 0.2 * (1.0 - 0.6);
    assert!((calibration.expected_error - expected).abs() < 1e-6, "{calibration:?}");
    assert_eq!(calibration.bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [1, 4]);
}

/// Probabilities of 1 by rounding still have an order and a price.
#[test]
fn certainty_is_neither_a_tie_nor_endless() {
    let logits = matrix(&[vec![30.0], vec![20.0], vec![25.0]]);
    let targets = [vec![0], vec![], vec![0]];
    let known = Known::new(&logits, &targets, Problem::MultiLabel).expect("they fit");
    let decision = Decision { rule: Rule::Threshold, thresholds: vec![0.5], abstain_below: None };
    let report = Report::new(&Answers::new(known, 1.0, &decision), &names(1), 1);
    assert_eq!((report.classes[0].auroc, report.classes[0].average_precision), (Some(1.0), Some(1.0)));
    assert!((report.calibration.negative_log_likelihood - 20.0 / 3.0).abs() < 1e-6, "{:?}", report.calibration);
}

#[test]
fn what_is_always_right_has_no_temperature() {
    let (logits, targets) = (matrix(&[vec![1.0, 0.0], vec![0.0, 1.0]]), [vec![0], vec![1]]);
    let known = Known::new(&logits, &targets, Problem::SingleLabel).expect("they fit");
    let error = fit_temperature(&known).expect_err("there is none");
    assert_eq!(error, TemperatureError { pictures: 2, right: 2 });
    assert!(error.to_string().contains("(0.05 to 20)"), "{error}");
}

/// Five pictures with probability 0.9, 0.8, 0.7, 0.6, 0.4 of class "1".
fn graded(of_class: [bool; 5]) -> (Array2<f32>, Vec<Vec<usize>>) {
    let logit = |p: f32| vec![0.0, (p / (1.0 - p)).ln()];
    (matrix(&[0.9, 0.8, 0.7, 0.6, 0.4].map(logit)), of_class.map(|is| vec![usize::from(is)]).to_vec())
}

fn fit(point: &str, of_class: [bool; 5], decision: &mut Decision) -> Result<Vec<Fitted>, OperatingPointError> {
    let (logits, targets) = graded(of_class);
    let known = Known::new(&logits, &targets, Problem::SingleLabel).expect("they fit");
    let points: Vec<OperatingPoint> = point.split(' ').map(|point| point.parse().expect("a point")).collect();
    let fitted = fit_all(&points, known, 1.0, &names(2), decision)?;
    let after = Answers::new(known, 1.0, decision);
    let report = Report::new(&after, &names(2), 1);
    for fitted in &fitted {
        let held = Held::of(fitted, &report);
        assert_eq!(held.reached, if matches!(fitted.goal, Goal::Recall(_)) { fitted.recall } else { fitted.precision });
        assert_eq!(held.holds, Some(true));
        if fitted.label.is_some() {
            assert_eq!((report.classes[1].precision, report.classes[1].recall), (fitted.precision, fitted.recall));
        }
    }
    Ok(fitted)
}

#[test]
fn thresholds_by_hand() {
    let of_class = [true, false, true, true, false];
    let mut decision = ARGMAX;
    let fitted = fit("precision=0.75:1", of_class, &mut decision).expect("reached");
    assert!((fitted[0].threshold - 0.6).abs() < 1e-6, "{fitted:?}");
    assert_eq!((decision.rule.clone(), decision.thresholds[0]), (Rule::Threshold, 0.5));
    let fitted = fit("recall=0.6:1", of_class, &mut decision).expect("reached");
    assert!((fitted[0].threshold - 0.7).abs() < 1e-6 && fitted[0].precision.part == 2, "{fitted:?}");
    // All five most probable classes: 0.9 right, 0.8 wrong, 0.7, 0.6 and (class 0) 0.6 right.
    let mut decision = ARGMAX;
    let fitted = fit("precision=0.8", of_class, &mut decision).expect("reached");
    assert!((decision.abstain_below.expect("a limit") - 0.6).abs() < 1e-6, "{fitted:?}");
    assert_eq!((decision.rule, fitted[0].precision.part), (Rule::Argmax, 4));
}

/// Where the adapter abstains a class is not found: its threshold is fitted on what is left, in whichever order the
/// points are given.
#[test]
fn abstaining_and_a_threshold_fit_together() {
    let of_class = [true, true, true, false, false];
    let (mut decision, mut turned) = (ARGMAX, ARGMAX);
    let fitted = fit("recall=0.6:1 precision=1", of_class, &mut decision).expect("reached");
    assert_eq!(fitted, fit("precision=1 recall=0.6:1", of_class, &mut turned).expect("reached"));
    assert_eq!(decision, turned);
    assert_eq!(fitted[0].label, None);
    assert!((decision.abstain_below.expect("a limit") - 0.7).abs() < 1e-6, "{decision:?}");
    assert!((decision.thresholds[1] - 0.8).abs() < 1e-6, "{decision:?}");

    let of_class = [true, false, true, true, false];
    let error = fit("precision=1 recall=1:1", of_class, &mut ARGMAX.clone()).expect_err("it abstains below 0.9");
    assert!(error.to_string().contains("the highest is 0.3333, for the adapter abstains"), "{error}");
    let twice = fit("precision=0.5:1 recall=0.5:1", of_class, &mut ARGMAX.clone());
    assert_eq!(twice, Err(OperatingPointError::Twice("class \"1\"".into())));
}

#[test]
fn a_goal_holds_unless_the_interval_is_below_it() {
    let (logits, targets) = graded([true, true, true, false, false]);
    let known = Known::new(&logits, &targets, Problem::SingleLabel).expect("they fit");
    let report = Report::new(&Answers::new(known, 1.0, &ARGMAX), &names(2), 1);
    let held = |goal: f64| {
        let nothing = Share::of(0, 0);
        let fitted =
            Fitted { goal: Goal::Precision(goal), label: None, threshold: 0.5, precision: nothing, recall: nothing };
        Held::of(&fitted, &report)
    };
    // Four of five are right: Wilson's interval is 0.38 to 0.96.
    assert_eq!((held(0.9).reached.part, held(0.9).holds, held(0.99).holds), (4, Some(true), Some(false)));
}

#[test]
fn what_cannot_be_reached_is_said() {
    let mut decision = ARGMAX;
    let error = fit("precision=0.9:1", [false, true, false, false, false], &mut decision).expect_err("never");
    assert!(error.to_string().contains("the highest is 0.5000"), "{error}");
    assert_eq!(decision, ARGMAX);
    let error = fit("recall=0.9:1", [false; 5], &mut decision).expect_err("absent");
    assert_eq!(error, OperatingPointError::Absent("1".into()));
    assert_eq!(fit("recall=0.9", [true; 5], &mut decision), Err(OperatingPointError::NoLabel));
    assert!(matches!(fit("recall=0.9:x", [true; 5], &mut decision), Err(OperatingPointError::Label { .. })));
}

#[test]
fn a_point_is_a_goal_and_perhaps_a_label() {
    let point = "recall=0.999:a:b".parse::<OperatingPoint>();
    assert_eq!(point, Ok(OperatingPoint { goal: Goal::Recall(0.999), label: Some("a:b".into()) }));
    for wrong in ["", "recall", "recall=", "recall=0", "recall=1.1", "recall=NaN", "f1=0.5", "precision=0.5:"] {
        assert!(wrong.parse::<OperatingPoint>().is_err(), "{wrong}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let logits = matrix(&[vec![0.0, 1.0]]);
    let single = |targets: &[Vec<usize>]| Known::new(&logits, targets, Problem::SingleLabel).map(drop);
    assert_eq!(single(&[]), Err(KnownError::Rows { rows: 1, pictures: 0 }));
    for targets in [vec![2], vec![], vec![0, 1]] {
        assert!(matches!(single(&[targets]), Err(KnownError::Targets { picture: 0, .. })));
    }
    assert!(Known::new(&logits, &[vec![0, 1]], Problem::MultiLabel).is_ok());
    let nan = matrix(&[vec![0.0, f32::NAN]]);
    assert_eq!(Known::new(&nan, &[vec![0]], Problem::SingleLabel).map(drop), Err(KnownError::NotFinite(0)));
}

proptest! {
    #[test]
    fn intervals_hold_the_share(part in 0usize..200, more in 0usize..200) {
        let share = Share::of(part, part + more);
        let (low, high) = share.interval;
        prop_assert!(0.0 <= low && low < high && high <= 1.0);
        prop_assert!(share.value.is_none_or(|p| low <= p + 1e-12 && p <= high + 1e-12));
    }

    #[test]
    fn areas_only_depend_on_the_order(scored in prop::collection::vec((0u8..20, any::<bool>()), 1..60)) {
        let by = |f: fn(f64) -> f64| scored.iter().map(|&(s, is)| (f(f64::from(s)), is)).collect::<Vec<_>>();
        let (plain, cubed) = (by(|s| s), by(|s| s * s * s - 7.0));
        prop_assert_eq!(auroc(&plain), auroc(&cubed));
        prop_assert_eq!(average_precision(&plain), average_precision(&cubed));
        let falling = by(|s| -s);
        if let (Some(up), Some(down)) = (auroc(&plain), auroc(&falling)) {
            prop_assert!((up + down - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_threshold_reaches_its_goal(
        scored in prop::collection::vec((0.01f32..0.99, any::<bool>()), 1..40), goal in 0.05f64..1.0
    ) {
        let logits = matrix(&scored.iter().map(|(p, _)| vec![(p / (1.0 - p)).ln()]).collect::<Vec<_>>());
        let targets: Vec<_> = scored.iter().map(|(_, is)| if *is { vec![0] } else { vec![] }).collect();
        let known = Known::new(&logits, &targets, Problem::MultiLabel).expect("they fit");
        for goal in [Goal::Precision(goal), Goal::Recall(goal)] {
            let mut decision = Decision { rule: Rule::Threshold, thresholds: vec![0.5], abstain_below: None };
            let point = OperatingPoint { goal, label: None };
            if fit_all(&[point], known, 1.0, &names(1), &mut decision).is_ok() {
                let class = Report::new(&Answers::new(known, 1.0, &decision), &names(1), 1).classes.remove(0);
                let reached = if matches!(goal, Goal::Recall(_)) { class.recall } else { class.precision };
                prop_assert!(reached.value.is_some_and(|value| value >= goal.share()), "{:?}", class);
            }
        }
    }

    #[test]
    fn points_that_are_fitted_together_all_hold(
        rows in prop::collection::vec((prop::collection::vec(-4.0f32..4.0, 3), 0usize..3), 1..40),
        precision in 0.05f64..1.0, recall in 0.05f64..1.0, other in 0.05f64..1.0,
    ) {
        let (logits, targets): (Vec<_>, Vec<_>) = rows.into_iter().map(|(row, is)| (row, vec![is])).unzip();
        let logits = matrix(&logits);
        let known = Known::new(&logits, &targets, Problem::SingleLabel).expect("they fit");
        let point = |goal, label: Option<&str>| OperatingPoint { goal, label: label.map(str::to_owned) };
        let points = [
            point(Goal::Recall(recall), Some("1")),
            point(Goal::Precision(precision), None),
            point(Goal::Precision(other), Some("0")),
        ];
        let mut decision = ARGMAX;
        if let Ok(fitted) = fit_all(&points, known, 1.0, &names(3), &mut decision) {
            let report = Report::new(&Answers::new(known, 1.0, &decision), &names(3), 1);
            for fitted in fitted {
                let held = Held::of(&fitted, &report);
                let said = if matches!(fitted.goal, Goal::Recall(_)) { fitted.recall } else { fitted.precision };
                prop_assert_eq!(held.reached, said);
                prop_assert!(said.value.is_some_and(|value| value >= fitted.goal.share()));
            }
        }
    }
}
