use std::path::Path;

use serde::Serialize;

use super::{Args, Fits};
use crate::engine::Description;
use crate::evaluate::{Fitted, Report, Share};
use crate::table::table;

/// What a program reads.
#[derive(Serialize)]
struct Printed<'a> {
    adapter: &'a Path,
    data: &'a Path,
    split: &'static str,
    engine: &'a Description,
    bad_files: usize,
    fitted: Option<&'a Fits>,
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
            out: args.out.as_deref(),
            report,
        };
        println!("{}", serde_json::to_string_pretty(&printed).expect("our own types have string keys only"));
        return;
    }
    fitted(fits).into_iter().for_each(|line| println!("{line}"));
    println!("{}", figures(report, args.split.name()));
    println!("{}", classes(report));
    if let Some(out) = &args.out {
        println!("written: {}", out.display());
    }
}

fn fitted(fits: &Fits) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(temperature) = fits.temperature {
        let limit =
            if temperature.at_limit { ", the end of what is looked at: too few wrong answers to tell" } else { "" };
        lines.push(format!("temperature {:.4}{limit} (on {} validation pictures)", temperature.value, fits.pictures));
    }
    let point = |Fitted { label, threshold, precision, recall }: &Fitted| {
        let of = label.as_ref().map_or("abstain below".to_owned(), |label| format!("{label}: threshold"));
        format!("{of} {threshold:.4}: precision {}, recall {} on validation", share(precision), share(recall))
    };
    lines.extend(fits.operating_points.iter().map(point));
    lines
}

fn figures(report: &Report, split: &str) -> String {
    let top_k = format!("top {} accuracy", report.k);
    let calibration = &report.calibration;
    let rows = [
        ("pictures", report.pictures.to_string()),
        ("top 1 accuracy", share(&report.top1)),
        (&*top_k, share(&report.top_k)),
        ("decided exactly right", share(&report.decided_right)),
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
        let counts = vec![class.label.replace(char::is_control, "\u{fffd}"), class.pictures.to_string()];
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
