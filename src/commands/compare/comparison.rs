use std::collections::BTreeMap;

use serde::Serialize;

use crate::client::Answer;

/// Pictures that are listed with the greatest changes.
const WORST_MAX: usize = 20;

/// What both versions say of one picture.
pub struct Pair {
    /// The picture's path.
    pub path: String,
    /// The class that it is known to be, by its index.
    pub class: Option<usize>,
    /// Or why there are no answers.
    pub answers: Result<[Answer; 2], String>,
}

/// What changes from one version to the other.
#[derive(Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// From, to.
    pub versions: [u64; 2],
    /// Pictures that both versions answered.
    pub pictures: usize,
    /// Share of them that get the same decision; none when there are none.
    pub agreement: Option<f64>,
    /// Those that do not.
    pub flips: usize,
    /// Share of the pictures with a known class whose most probable class is that one, by version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<[f64; 2]>,
    /// The flips by what was decided, most frequent first.
    pub flips_by_labels: Vec<Flips>,
    /// Flips first, then by how far a probability moved.
    pub worst: Vec<Change>,
    /// Pictures without answers.
    pub failed: Vec<Failed>,
}

/// Flips of one kind.
#[derive(Debug, PartialEq, Serialize)]
pub struct Flips {
    /// The decision of the first version.
    pub from: String,
    /// The decision of the second.
    pub to: String,
    /// Pictures.
    pub count: usize,
}

/// What changes for one picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Its path.
    pub picture: String,
    /// The decision of the first version.
    pub from: String,
    /// The decision of the second.
    pub to: String,
    /// The greatest change of any class's probability.
    pub change: f32,
}

/// A picture without answers.
#[derive(Debug, PartialEq, Serialize)]
pub struct Failed {
    /// Its path.
    pub picture: String,
    /// Why.
    pub error: String,
}

impl Comparison {
    /// Sums up what versions say of pictures.
    pub fn of(versions: [u64; 2], pairs: &[Pair]) -> Self {
        let answered: Vec<_> = pairs.iter().filter_map(|p| p.answers.as_ref().ok().map(|a| (p, a))).collect();
        let mut changes: Vec<_> = answered.iter().map(|(pair, answers)| Change::of(&pair.path, answers)).collect();
        let flips = changes.iter().filter(|c| c.flips()).count();
        let flips_by_labels = flips_by_labels(&changes);
        changes.retain(|c| c.flips() || c.change > 0.0);
        changes.sort_by(|a, b| b.flips().cmp(&a.flips()).then(b.change.total_cmp(&a.change)));
        changes.truncate(WORST_MAX);
        let failed = |p: &Pair| {
            let error = p.answers.as_ref().err()?.clone();
            Some(Failed { picture: p.path.clone(), error })
        };
        Self {
            versions,
            pictures: answered.len(),
            agreement: (!answered.is_empty()).then(|| share(answered.len() - flips, answered.len())),
            flips,
            accuracy: accuracy(&answered),
            flips_by_labels,
            worst: changes,
            failed: pairs.iter().filter_map(failed).collect(),
        }
    }

    /// One or two sentences.
    pub fn summary(&self) -> String {
        let [a, b] = self.versions;
        let Self { pictures, flips, .. } = self;
        let Some(agreement) = self.agreement else {
            return format!("no picture was answered by both versions {a} and {b}.");
        };
        let mut text = format!(
            "versions {a} and {b} agree on {:.2} % of {pictures} pictures; {flips} would be decided otherwise.",
            100.0 * agreement
        );
        if let Some([from, to]) = self.accuracy {
            text += &format!(" Accuracy {:.2} % and {:.2} %.", 100.0 * from, 100.0 * to);
        }
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "pictures can be counted exactly")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

fn accuracy(answered: &[(&Pair, &[Answer; 2])]) -> Option<[f64; 2]> {
    let known: Vec<_> = answered.iter().filter_map(|(pair, answers)| Some((pair.class?, answers))).collect();
    let right = |version: usize| {
        let is_right = |(class, answers): &&(usize, &&[Answer; 2])| {
            answers[version].predictions.first().is_some_and(|p| p.index == *class)
        };
        share(known.iter().filter(is_right).count(), known.len())
    };
    (!known.is_empty()).then(|| [right(0), right(1)])
}

fn flips_by_labels(changes: &[Change]) -> Vec<Flips> {
    let mut counts = BTreeMap::new();
    for change in changes.iter().filter(|c| c.flips()) {
        *counts.entry((change.from.clone(), change.to.clone())).or_insert(0) += 1;
    }
    let mut flips: Vec<_> = counts.into_iter().map(|((from, to), count)| Flips { from, to, count }).collect();
    flips.sort_by_key(|f| std::cmp::Reverse(f.count));
    flips
}

impl Change {
    fn of(path: &str, [a, b]: &[Answer; 2]) -> Self {
        Self { picture: path.to_owned(), from: decision(a), to: decision(b), change: greatest_change(a, b) }
    }

    /// Whether the decision differs.
    pub fn flips(&self) -> bool {
        self.from != self.to
    }
}

fn decision(answer: &Answer) -> String {
    match answer.decision.labels.as_slice() {
        [] if answer.decision.abstained => "(not sure)".into(),
        [] => "(none)".into(),
        labels => {
            let mut labels = labels.to_vec();
            labels.sort();
            labels.join(", ")
        }
    }
}

/// A class that only one version has counts with its whole probability.
fn greatest_change(a: &Answer, b: &Answer) -> f32 {
    let by_label = |answer: &Answer| -> BTreeMap<String, f32> {
        answer.predictions.iter().map(|p| (p.label.clone(), p.probability)).collect()
    };
    let (a, b) = (by_label(a), by_label(b));
    let change = |label: &String| {
        let of = |side: &BTreeMap<String, f32>| side.get(label).copied().unwrap_or(0.0);
        (of(&a) - of(&b)).abs()
    };
    a.keys().chain(b.keys()).map(change).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Decision, Prediction};

    fn answer(version: u64, probabilities: &[f32]) -> Answer {
        let prediction = |(index, &probability)| Prediction { label: format!("c{index}"), index, probability };
        let mut predictions: Vec<_> = probabilities.iter().enumerate().map(prediction).collect();
        predictions.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        let decision = Decision { labels: vec![predictions[0].label.clone()], abstained: false };
        Answer { task: "t".into(), version, hash: String::new(), predictions, decision, logits: None }
    }

    fn pair(path: &str, class: Option<usize>, a: &[f32], b: &[f32]) -> Pair {
        Pair { path: path.into(), class, answers: Ok([answer(1, a), answer(2, b)]) }
    }

    #[test]
    fn flips_come_before_larger_changes_without_one() {
        let pairs = [
            pair("same", Some(0), &[0.9, 0.1], &[0.9, 0.1]),
            pair("surer", Some(0), &[0.6, 0.4], &[1.0, 0.0]),
            pair("flip", Some(1), &[0.51, 0.49], &[0.49, 0.51]),
            Pair { path: "gone".into(), class: None, answers: Err("no such file".into()) },
        ];
        let comparison = Comparison::of([1, 2], &pairs);
        let worst: Vec<_> = comparison.worst.iter().map(|c| c.picture.as_str()).collect();
        assert_eq!(worst, ["flip", "surer"]);
        assert_eq!((comparison.pictures, comparison.flips), (3, 1));
        assert_eq!(comparison.flips_by_labels, [Flips { from: "c0".into(), to: "c1".into(), count: 1 }]);
        assert_eq!(comparison.accuracy, Some([2.0 / 3.0, 1.0]));
        assert_eq!(comparison.failed.len(), 1);
        assert!(comparison.summary().starts_with("versions 1 and 2 agree on 66.67 % of 3 pictures"));
    }

    #[test]
    fn nothing_to_compare_is_no_division_by_zero() {
        let comparison = Comparison::of([1, 2], &[]);
        assert_eq!((comparison.agreement, comparison.accuracy), (None, None));
        assert!(comparison.summary().starts_with("no picture"));
    }

    #[test]
    fn a_flip_is_shown_even_when_no_probability_moved() {
        let mut unsure = pair("unsure", None, &[0.6, 0.4], &[0.6, 0.4]);
        if let Ok([_, b]) = &mut unsure.answers {
            b.decision = Decision { labels: vec![], abstained: true };
        }
        let comparison = Comparison::of([1, 2], &[unsure]);
        assert_eq!((comparison.flips, comparison.worst.len()), (1, 1));
    }
}
