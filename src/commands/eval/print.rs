use std::path::Path;

use serde::Serialize;

use super::{Args, Fits};
use crate::engine::Description;
use crate::evaluate::{Fitted, Goal, Held, Report, Share};
use crate::table::{printable, table};
use crate::train::data::Split;

/// What a program reads.
#[derive(Serialize)]
struct Printed<'a> {
    /// The figures that are asked for first, as fractions; what has none is null.
    n: usize,
    top1: Option<f64>,
    top5: Option<f64>,
    balanced: Option<f64>,
    ece: f64,
    adapter: &'a Path,
    data: &'a Path,
    split: &'static str,
    engine: &'a Description,
    bad_files: usize,
    warnings: &'a [&'static str],
    fitted: Option<&'a Fits>,
    held: Vec<Held>,
    out: Option<&'a Path>,
    report: &'a Report,
}

/// What there is to say.
pub struct Findings<'a> {
    pub engine: &'a Description,
    pub fits: &'a Fits,
    pub report: &'a Report,
    /// Pictures of which one of the five most probable classes is theirs.
    pub top5: Share,
    pub bad_files: usize,
    pub warnings: &'a [&'static str],
}

/// A table for people or JSON.
pub fn print(args: &Args, findings: &Findings<'_>) {
    let &Findings { engine, fits, report, top5, bad_files, warnings } = findings;
    if args.json {
        let printed = Printed {
            adapter: &args.adapter,
            data: &args.data,
            split: args.part(),
            engine,
            bad_files,
            warnings,
            fitted: (fits.pictures > 0).then_some(fits),
            held: held_all(args, fits, report),
            out: args.out.as_deref(),
            n: report.pictures,
            top1: report.top1.value,
            top5: top5.value,
            balanced: report.balanced_accuracy,
            ece: report.calibration.expected_error,
            report,
        };
        println!("{}", serde_json::to_string_pretty(&printed).expect("our own types have string keys only"));
        return;
    }
    let held = held_all(args, fits, report).into_iter().map(|point| held(&point, args.part()));
    fitted(fits).into_iter().chain(held).for_each(|line| println!("{line}"));
    println!("{}", figures(report, args.part()));
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
            "abstain below {threshold:.4}: {} of {} pictures are left on validation, and the most probable class is right for {}",
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

/// What the points do on other pictures; those that they were fitted on tell nothing.
fn held_all(args: &Args, fits: &Fits, report: &Report) -> Vec<Held> {
    let others = args.split.is_some_and(|split| split != Split::Validation);
    fits.operating_points.iter().filter(|_| others).map(|point| Held::of(point, report)).collect()
}

/// Whether the other pictures speak against what was to be reached.
fn held(held: &Held, split: &str) -> String {
    let Held { goal, label, reached, holds } = held;
    let what = if matches!(goal, Goal::Precision(_)) { "precision" } else { "recall" };
    let of = label.as_ref().map_or("most probable class: ".to_owned(), |label| format!("{}: ", printable(label)));
    let holds = match holds {
        Some(true) => "holds within its binomial interval",
        Some(false) => "does not hold: it is above the interval",
        None => "is neither borne out nor refuted: no picture there tells",
    };
    format!("{of}{what} {} on {split}: the goal {} {holds}", share(reached), percent(Some(goal.share())))
}

fn figures(report: &Report, split: &str) -> String {
    let with_class = match report.top1.all {
        all if all < report.pictures => format!(" (of the {all} pictures that have a class)"),
        _ => String::new(),
    };
    let [top1, top_k] = [1, report.k].map(|k| format!("top {k} accuracy{with_class}"));
    let calibration = &report.calibration;
    let rows = [
        Some(("pictures", report.pictures.to_string())),
        Some((&*top1, share(&report.top1))),
        // With one class to look at, top-k is top 1.
        (report.k > 1).then(|| (&*top_k, share(&report.top_k))),
        Some(("decided exactly right", share(&report.decided_right))),
        Some(("top 1 accuracy where it does not abstain", share(&report.answered_right))),
        Some(("abstained", report.abstained.to_string())),
        Some(("no class at its threshold", report.without_class.to_string())),
        Some(("balanced accuracy", percent(report.balanced_accuracy))),
        Some(("macro F1", percent(report.macro_f1))),
        Some(("mean average precision", percent(report.mean_average_precision))),
        Some(("macro AUROC", percent(report.macro_auroc))),
        Some(("calibration error (15 bins)", percent(Some(calibration.expected_error)))),
        Some(("negative log likelihood", format!("{:.4}", calibration.negative_log_likelihood))),
    ];
    let rows = rows.into_iter().flatten().map(|(name, value)| vec![name.to_owned(), value]);
    table(&[&format!("on {split}"), ""], &rows.collect::<Vec<_>>())
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
