use std::path::Path;

use serde::Serialize;

use super::{Args, Fits};
use crate::engine::Description;
use crate::evaluate::{Fitted, Goal, Held, Report, Share};
use crate::table::{printable, table};

/// What a program reads.
#[derive(Serialize)]
struct Printed<'a> {
    adapter: &'a Path,
    data: &'a Path,
    split: &'static str,
    engine: &'a Description,
    bad_files: usize,
    fitted: Option<&'a Fits>,
    held: Vec<Held>,
    out: Option<&'a Path>,
    #[serde(flatten)]
    report: &'a Report,
}

/// A table for people or JSON.
pub fn print(args: &Args, engine: &Description, fits: &Fits, report: &Report, bad_files: usize) {
    if args.json {
        let printed = Printed {
            adapter: &args.adapter,
            data: &args.data,
            split: args.split.name(),
            engine,
            bad_files,
            fitted: (fits.pictures > 0).then_some(fits),
            held: fits.operating_points.iter().map(|point| Held::of(point, report)).collect(),
            out: args.out.as_deref(),
            report,
        };
        println!("{}", serde_json::to_string_pretty(&printed).expect("our own types have string keys only"));
        return;
    }
    let held = fits.operating_points.iter().map(|point| held(&Held::of(point, report), args.split.name()));
    fitted(fits).into_iter().chain(held).for_each(|line| println!("{line}"));
    println!("{}", figures(report, args.split.name()));
    println!("{}", classes(report));
    if let Some(out) = &args.out {
        println!("written: {}", out.display());
    }
}

fn fitted(fits: &Fits) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(temperature) = fits.temperature {
        lines.push(format!("temperature {temperature:.4} (on {} validation pictures)", fits.pictures));
    }
    let point = |Fitted { label, threshold, precision: answers, recall, .. }: &Fitted| match label {
        Some(label) => {
            let [precision, recall] = [answers, recall].map(share);
            format!(
                "{}: threshold {threshold:.4}: precision {precision}, recall {recall} on validation",
                printable(label)
            )
        }
        None => format!(
            "abstain below {threshold:.4}: {} of {} pictures are answered, {} of them right, on validation",
            answers.all,
            fits.pictures,
            share(answers)
        ),
    };
    lines.extend(fits.operating_points.iter().map(point));
    if fits.operating_points.iter().any(|point| point.label.is_some()) {
        lines.push(
            "every class at or above its threshold is answered now (0.5 where none was fitted): several, or none, may be"
                .to_owned(),
        );
    }
    lines
}

/// Whether the other pictures speak against what was to be reached.
fn held(held: &Held, split: &str) -> String {
    let Held { goal, label, reached, holds } = held;
    let what = if matches!(goal, Goal::Precision(_)) { "precision" } else { "recall" };
    let of = label.as_ref().map_or(String::new(), |label| format!("{}: ", printable(label)));
    let holds = if *holds { "holds within its binomial interval" } else { "does not hold: it is above the interval" };
    format!("{of}{what} {} on {split}: the goal {} {holds}", share(reached), percent(Some(goal.share())))
}

fn figures(report: &Report, split: &str) -> String {
    let top_k = format!("top {} accuracy", report.k);
    let calibration = &report.calibration;
    let rows = [
        ("pictures", report.pictures.to_string()),
        ("top 1 accuracy", share(&report.top1)),
        (&*top_k, share(&report.top_k)),
        ("decided exactly right", share(&report.decided_right)),
        ("right where it does not abstain", share(&report.answered_right)),
        ("abstained", report.abstained.to_string()),
        ("balanced accuracy", percent(report.balanced_accuracy)),
        ("macro F1", percent(report.macro_f1)),
        ("mean average precision", percent(report.mean_average_precision)),
        ("macro AUROC", percent(report.macro_auroc)),
        ("calibration error (15 bins)", percent(Some(calibration.expected_error))),
        ("negative log likelihood", format!("{:.4}", calibration.negative_log_likelihood)),
    ];
    table(&[&format!("on {split}"), ""], &rows.map(|(name, value)| vec![name.to_owned(), value]))
}

fn classes(report: &Report) -> String {
    let titles = ["class", "pictures", "precision", "recall", "F1", "average precision", "AUROC"];
    let row = |class: &crate::evaluate::ClassReport| {
        let counts = vec![printable(&class.label), class.pictures.to_string()];
        let shares = [class.precision.value, class.recall.value, class.f1, class.average_precision, class.auroc];
        counts.into_iter().chain(shares.map(percent)).collect()
    };
    table(&titles, &report.classes.iter().map(row).collect::<Vec<Vec<String>>>())
}

fn share(share: &Share) -> String {
    let (low, high) = share.interval;
    format!("{} ({:.1} to {:.1})", percent(share.value), 100.0 * low, 100.0 * high)
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{:.2} %", 100.0 * value))
}
