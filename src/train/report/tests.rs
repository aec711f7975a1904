use ndarray::Array2;
use serde_json::json;

use super::*;
use crate::adapter::{Decision, Rule};
use crate::evaluate::Known;
use crate::random::Random;
use crate::train::report::moved::LAYERS;
use crate::vit::LinearAt;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/preprocess/images");

/// Sixty answers of four classes, one of them with a hostile name.
fn page(folder: &std::path::Path) -> String {
    let labels = ["cat", "dog", "<script>alert(1)</script>", "rocket & co"].map(str::to_owned);
    let mut random = Random::seeded(4);
    let targets: Vec<Vec<usize>> = (0..60).map(|i| vec![i % 4]).collect();
    let mut logits = Array2::from_shape_vec((60, 4), random.normals(240, 0.0, 1.5)).expect("240 values");
    targets.iter().enumerate().for_each(|(row, target)| logits[[row, target[0]]] += 2.0);
    let known = Known::new(&logits, &targets, Problem::SingleLabel).expect("they fit");
    let argmax = Decision { rule: Rule::Argmax, thresholds: Vec::new(), abstain_below: None };
    let answers = Answers::new(known, 1.0, &argmax);
    let paths: Vec<_> =
        ["cat.png", "rocket.jpg", "missing.png"].iter().cycle().take(60).map(|n| folder.join(n)).collect();
    let epoch = |i: i32| Epoch {
        learning_rate: 1e-3 / f64::from(i),
        train_loss: 1.4 / f64::from(i),
        validation: Some((1.5 / f64::from(i).sqrt(), 1.0 - 0.5 / f64::from(i))),
    };
    let places = (0..12).flat_map(|block| LAYERS.map(|(layer, _)| LinearAt { block, layer }));
    let moved = places.zip(random.values(72, 0.1, 0.05)).map(|(at, moved)| Moved {
        at,
        relative: moved.into(),
        singular: vec![f64::from(moved) / 2.0, -0.01],
    });
    html(&Run {
        title: "pets.safetensors",
        settings: &json!({"recipe": {"seed": 1, "name": "</pre>"}}),
        epochs: (1..=20).map(epoch).collect(),
        measure: "accuracy",
        chosen: (7, "accuracy"),
        figures: Some(Report::new(&answers, &labels, 2)),
        mistakes: mistakes(&answers, &paths, &labels, 8),
        moved: moved.collect(),
    })
}

#[test]
fn the_page_is_whole_and_asks_nobody() {
    let html = page(std::path::Path::new(FOLDER));
    for title in [
        "Curves",
        "Confusion",
        "Classes",
        "Most confident mistakes",
        "Calibration",
        "How far weights moved",
        "Settings",
    ] {
        assert!(html.contains(&format!("<h2>{title}</h2>")), "{title}");
    }
    assert_eq!(html.matches("<svg").count(), 6);
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;") && html.contains("&lt;/pre&gt;"));
    let namespace = html.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(html.matches("http").count(), namespace + html.matches("http-equiv").count());
    assert!(html.contains("of epoch 7 by accuracy"));
    assert_eq!(html.matches(">\nchosen\n").count(), 2);
    assert!(html.contains("<img alt=") && html.contains("data:image;base64,"));
    if let Some(path) = std::env::var_os("MANYLENS_TEST_REPORT") {
        std::fs::write(path, html).expect("written");
    }
}

#[test]
fn a_run_without_validation_says_so() {
    let run = Run {
        title: "a",
        settings: &json!({}),
        epochs: vec![],
        measure: "accuracy",
        chosen: (1, "last epoch"),
        figures: None,
        mistakes: vec![],
        moved: vec![],
    };
    let html = html(&run);
    assert!(html.contains("There is no validation split") && !html.contains("<h2>Curves"));
}

#[test]
fn mistakes_begin_with_the_most_confident() {
    let logits = Array2::from_shape_vec((3, 2), vec![0.0, 1.0, 0.0, 3.0, 5.0, 0.0]).expect("six values");
    let targets = [vec![0], vec![0], vec![0]];
    let known = Known::new(&logits, &targets, Problem::SingleLabel).expect("they fit");
    let argmax = Decision { rule: Rule::Argmax, thresholds: Vec::new(), abstain_below: None };
    let paths = ["a", "b", "c"].map(PathBuf::from);
    let labels = ["x", "y"].map(str::to_owned);
    let found = mistakes(&Answers::new(known, 1.0, &argmax), &paths, &labels, 5);
    assert_eq!(
        found.iter().map(|m| (m.path.to_str(), &*m.is, &*m.answer)).collect::<Vec<_>>(),
        [(Some("b"), "x", "y"), (Some("a"), "x", "y")]
    );
}

#[test]
fn of_several_labels_each_yes_and_no_may_be_a_mistake() {
    let logits = Array2::from_shape_vec((4, 2), vec![2.0, -1.0, -3.0, -3.0, -2.0, -2.0, 4.0, 4.0]).expect("eight");
    // Right, rightly nothing, a miss of y, and two alarms.
    let targets = [vec![0], vec![], vec![1], vec![]];
    let known = Known::new(&logits, &targets, Problem::MultiLabel).expect("they fit");
    let half = Decision { rule: Rule::Threshold, thresholds: vec![0.5; 2], abstain_below: None };
    let answers = Answers::new(known, 1.0, &half);
    let (paths, labels) = (["a", "b", "c", "d"].map(PathBuf::from), ["x", "y"].map(str::to_owned));
    let found = mistakes(&answers, &paths, &labels, 5);
    let told: Vec<_> = found.iter().map(|m| (m.path.to_str(), &*m.is, &*m.answer)).collect();
    assert_eq!(told, [(Some("d"), "none of them", "y"), (Some("c"), "y", "no y")]);
    let report = Report::new(&answers, &labels, 1);
    assert_eq!((report.top1.part, report.top1.all, report.decided_right.part, report.without_class), (1, 2, 2, 2));
}
