use std::fmt::Write as _;

use serde_json::Value;

use super::chart::{Chart, Line, svg};
use super::moved::LAYERS;
use super::{Epoch, Mistake, Moved, Run};
use crate::adapter::Problem;
use crate::evaluate::{ClassReport, Report, Share};
use crate::html::{data_uri, escape};

/// Classes of a confusion matrix that a person can look at.
const CONFUSION_CLASSES_MAX: usize = 100;

/// The figures that are asked for first.
pub fn summary(run: &Run<'_>) -> Option<String> {
    let Some(report) = &run.figures else {
        return Some("<p>There is no validation split: nothing was selected on, and nothing can be said.</p>".into());
    };
    let calibration = &report.calibration;
    // Where a picture may have several labels or none, its most probable class is not its answer.
    let right = match report.problem {
        Problem::SingleLabel => ("accuracy", share(&report.top1)),
        Problem::MultiLabel => ("pictures with exactly their labels", share(&report.decided_right)),
    };
    let rows = [
        ("validation pictures", report.pictures.to_string()),
        right,
        ("balanced accuracy", percent(report.balanced_accuracy)),
        ("macro F1", percent(report.macro_f1)),
        ("mean average precision", percent(report.mean_average_precision)),
        ("macro AUROC", percent(report.macro_auroc)),
        ("calibration error, 15 bins", percent(Some(calibration.expected_error))),
        ("negative log likelihood", format!("{:.4}", calibration.negative_log_likelihood)),
    ];
    let (epoch, by) = (run.chosen.0, run.chosen.1.replace('_', " "));
    let mut text = format!(
        "<p>The chosen adapter, of epoch {epoch} by {by}, on the validation split, with 95 % intervals.</p><table>"
    );
    rows.iter().for_each(|(name, value)| text += &format!("<tr><th>{name}<td class=n>{value}"));
    Some(text + "</table>")
}

/// Something of an epoch, if it has it.
type Figure<'a> = &'a dyn Fn(&Epoch) -> Option<f64>;

/// Loss and score by epoch.
pub fn curves(epochs: &[Epoch], measure: &str, chosen: usize) -> Option<String> {
    let point = |(n, epoch): (i32, &Epoch), value: Figure<'_>| Some((f64::from(n), value(epoch)?));
    let by_epoch = |value: Figure<'_>| (1..).zip(epochs).filter_map(|epoch| point(epoch, value)).collect::<Vec<_>>();
    let of_chosen = |value: Figure<'_>| {
        let chosen = (1..).zip(epochs).nth(chosen.saturating_sub(1));
        chosen.and_then(|epoch| point(epoch, value)).into_iter().collect::<Vec<_>>()
    };
    let (validation, score): (Figure<'_>, Figure<'_>) = (&|e| Some(e.validation?.0), &|e| Some(e.validation?.1));
    // What has the same name in two charts has the same colour, points or not.
    let lines = |train, validation: Figure<'_>| {
        [("validation", by_epoch(validation)), ("chosen", of_chosen(validation)), ("train", train)]
    };
    let loss = lines(by_epoch(&|e| Some(e.train_loss)), validation);
    let score = lines(Vec::new(), score);
    let rate = [("learning rate", by_epoch(&|e| Some(e.learning_rate)))];
    let charts = [("loss", &loss[..]), (measure, &score[..]), ("learning rate", &rate[..])];
    let charts: String = charts.iter().filter_map(|(y, lines)| chart("epoch", y, lines)).collect();
    (!charts.is_empty()).then(|| format!("<h2>Curves</h2><div class=two>{charts}</div>"))
}

fn chart(x: &str, y: &str, lines: &[(&str, Vec<(f64, f64)>)]) -> Option<String> {
    let lines = lines.iter().map(|(name, points)| Line { name, points: points.clone() }).collect();
    svg(&Chart { x, y, lines }).map(|svg| format!("<div>{svg}</div>"))
}

/// What is taken for what.
pub fn confusion(report: &Report) -> Option<String> {
    let counts = report.confusion.as_ref().filter(|counts| counts.len() <= CONFUSION_CLASSES_MAX)?;
    let labels: Vec<String> = report.classes.iter().map(|class| escape(&class.label)).collect();
    let mut text = "<h2>Confusion</h2><p class=note>Rows are what pictures are, columns what was answered.</p>\
                    <div class=wide><table class=confusion><tr><th>"
        .to_owned();
    labels.iter().for_each(|label| text += &format!("<th>{label}"));
    for (row, (label, counts)) in labels.iter().zip(counts).enumerate() {
        let all = counts.iter().sum::<usize>().max(1);
        let _ = write!(text, "<tr><th>{label}");
        for (column, &count) in counts.iter().enumerate() {
            text += &match count {
                0 => "<td>".to_owned(),
                _ => format!("<td style=\"background:{}\">{count}", shade(count, all, row == column)),
            };
        }
    }
    Some(text + "</table></div>")
}

/// Blue for right answers and red for wrong ones, the stronger the more.
fn shade(count: usize, all: usize, right: bool) -> String {
    let hue = if right { 205 } else { 10 };
    // From nearly white to a colour on which black is still read.
    format!("hsl({hue} 85% {}%)", 97 - 32 * count.min(all) / all)
}

/// One line a class.
pub fn classes(report: &Report) -> String {
    let mut text = "<h2>Classes</h2><div class=wide><table><tr><th>class".to_owned();
    for title in ["pictures", "precision", "recall", "F1", "average precision", "AUROC"] {
        let _ = write!(text, "<th class=n>{title}");
    }
    for ClassReport { label, pictures, precision, recall, f1, average_precision, auroc, .. } in &report.classes {
        let _ = write!(text, "<tr><td>{}<td class=n>{pictures}", escape(label));
        for value in [precision.value, recall.value, *f1, *average_precision, *auroc] {
            let _ = write!(text, "<td class=n>{}", percent(value));
        }
    }
    text + "</table></div>"
}

/// Thumbnails of what was wrong and seemed right.
pub fn mistakes(mistakes: &[Mistake]) -> Option<String> {
    let figure = |Mistake { path, is, answer, probability }: &Mistake| {
        let name = escape(&path.display().to_string());
        let image = data_uri(path).map(|uri| format!("<img alt=\"{name}\" src=\"{uri}\">")).unwrap_or_default();
        let (is, answer, probability) = (escape(is), escape(answer), 100.0 * probability);
        format!(
            "<figure>{image}<figcaption><b>{is}</b>, answered {answer} ({probability:.1} %)<br>{name}</figcaption></figure>"
        )
    };
    let figures: String = mistakes.iter().map(figure).collect();
    (!figures.is_empty()).then(|| format!("<h2>Most confident mistakes</h2><div class=grid>{figures}</div>"))
}

/// Share right against probability.
pub fn calibration(report: &Report) -> Option<String> {
    let bins = report.calibration.bins.iter().map(|bin| (bin.confidence, bin.right)).collect();
    let lines = [("answers", bins), ("perfect", vec![(0.0, 0.0), (1.0, 1.0)])];
    let chart = chart("probability", "share right", &lines)?;
    let mut text = format!(
        "<h2>Calibration</h2><div class=two>{chart}<table><tr><th class=n>probability<th class=n>share right<th class=n>answers"
    );
    for bin in &report.calibration.bins {
        let (confidence, right) = (percent(Some(bin.confidence)), percent(Some(bin.right)));
        let _ = write!(text, "<tr><td class=n>{confidence}<td class=n>{right}<td class=n>{}", bin.count);
    }
    Some(text + "</table></div>")
}

/// How far weights moved, by block.
pub fn moved(moved: &[Moved]) -> Option<String> {
    let by_block = |value: &dyn Fn(&Moved) -> f64| {
        let line = |(layer, name): (crate::vit::Layer, &'static str)| {
            let of_layer = moved.iter().filter(|moved| moved.at.layer == layer);
            (name, (0..).zip(of_layer).map(|(block, moved)| (f64::from(block), value(moved))).collect::<Vec<_>>())
        };
        LAYERS.map(line)
    };
    let relative = chart("block", "‖ΔW‖ / ‖W‖", &by_block(&|moved| moved.relative))?;
    let largest =
        |moved: &Moved| moved.singular.iter().fold(0.0, |most: f64, s| if s.abs() > most.abs() { *s } else { most });
    let singular = chart("block", "change of a leading singular value", &by_block(&largest)).unwrap_or_default();
    Some(format!(
        "<h2>How far weights moved</h2><p class=note>Left: the Frobenius norm of each layer's change, relative to the \
         layer's own. Right: of the four largest singular values of each layer, the one that changes most, relative to \
         itself and to first order (uᵀ ΔW v / σ).</p><div class=two>{relative}{singular}</div>"
    ))
}

/// All that is needed to do it again.
pub fn settings(settings: &Value) -> Option<String> {
    let text = serde_json::to_string_pretty(settings).ok()?;
    Some(format!("<h2>Settings</h2><pre>{}</pre>", escape(&text)))
}

fn share(share: &Share) -> String {
    let (low, high) = share.interval;
    format!("{} ({:.1} to {:.1})", percent(share.value), 100.0 * low, 100.0 * high)
}

fn percent(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{:.2} %", 100.0 * value))
}
