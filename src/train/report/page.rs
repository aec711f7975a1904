use super::{Run, sections};
use crate::html::escape;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;\
color:#1c2330;background:#fff}h2{margin-top:2.5rem}table{border-collapse:collapse;margin:1rem 0}\
td,th{padding:.25rem .7rem;border-bottom:1px solid #dde;text-align:left}td.n,th.n{text-align:right}\
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(26rem,1fr));gap:1.5rem}svg{width:100%;height:auto}\
.confusion td{min-width:1.6rem;padding:.2rem .4rem;text-align:center;border:1px solid #fff;font-size:.85rem}\
.wide{overflow-x:auto}.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(10rem,1fr));gap:1rem}\
figure{margin:0;border:1px solid #dde;border-radius:.4rem;padding:.6rem}\
figure img{width:100%;height:8rem;object-fit:contain;image-rendering:pixelated;background:#f4f5f8}\
figcaption{font-size:.85rem;overflow-wrap:anywhere}pre{background:#f4f5f8;padding:1rem;overflow-x:auto}\
p.note{color:#566}";

/// The page. Nothing in it asks a host for anything, and a policy in its head says so to the browser.
pub fn html(run: &Run<'_>) -> String {
    let title = escape(run.title);
    let figures = run.figures.as_ref();
    let sections = [
        sections::summary(run),
        sections::curves(&run.epochs, run.measure, run.chosen.0),
        figures.and_then(sections::confusion),
        figures.map(sections::classes),
        sections::mistakes(&run.mistakes),
        figures.and_then(sections::calibration),
        sections::moved(&run.moved),
        sections::settings(run.settings),
    ];
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\
         <link rel=icon href=\"data:,\"><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>{}</html>",
        sections.into_iter().flatten().collect::<String>(),
    )
}
