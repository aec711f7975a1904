use std::fmt::Write as _;
use std::path::Path;

use super::comparison::{Change, Comparison};
use crate::html::{data_uri, escape};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;\
color:#1c2330;background:#fff}table{border-collapse:collapse;margin:1rem 0}\
td,th{padding:.3rem .8rem;border-bottom:1px solid #dde;text-align:left}td.n{text-align:right}\
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:1rem}\
figure{margin:0;border:1px solid #dde;border-radius:.4rem;padding:.6rem}\
figure.flip{border-color:#c33}img{width:100%;height:9rem;object-fit:contain;image-rendering:pixelated;background:#f4f5f8}\
figcaption{font-size:.85rem;overflow-wrap:anywhere}";

/// One self-contained page.
pub fn page(task: &str, comparison: &Comparison) -> String {
    let [a, b] = comparison.versions;
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{task}: {a} and {b}</title><style>{STYLE}</style><h1>{task}: version {a} and version {b}</h1><p>{}</p>",
        escape(&comparison.summary()),
        task = escape(task),
    );
    if !comparison.flips_by_labels.is_empty() {
        let _ = write!(page, "<h2>Decisions that differ</h2><table><tr><th>version {a}<th>version {b}<th>pictures");
        for flips in &comparison.flips_by_labels {
            let (from, to) = (escape(&flips.from), escape(&flips.to));
            let _ = write!(page, "<tr><td>{from}<td>{to}<td class=n>{}", flips.count);
        }
        page += "</table>";
    }
    if !comparison.worst.is_empty() {
        page += "<h2>Pictures that change most</h2><div class=grid>";
        comparison.worst.iter().for_each(|change| page += &figure(change));
        page += "</div>";
    }
    if !comparison.failed.is_empty() {
        page += "<h2>Pictures without answers</h2><table>";
        for failed in &comparison.failed {
            let _ = write!(page, "<tr><td>{}<td>{}", escape(&failed.picture), escape(&failed.error));
        }
        page += "</table>";
    }
    page + "</html>"
}

fn figure(change: &Change) -> String {
    let class = if change.flips() { " class=flip" } else { "" };
    let name = escape(&change.picture);
    let image = data_uri(Path::new(&change.picture))
        .map(|uri| format!("<img alt=\"{name}\" src=\"{uri}\">"))
        .unwrap_or_default();
    let (from, to) = (escape(&change.from), escape(&change.to));
    let moved = 100.0 * change.change;
    format!(
        "<figure{class}>{image}<figcaption><b>{from} → {to}</b><br>moved {moved:.1} %<br>{name}</figcaption></figure>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_paths_cannot_break_out_of_the_page() {
        let change =
            Change { picture: "\"><script>1</script>".into(), from: "<b>".into(), to: "a & b".into(), change: 0.5 };
        let html = figure(&change);
        assert!(!html.contains("<script>") && html.contains("&lt;b&gt; → a &amp; b"), "{html}");
    }
}
