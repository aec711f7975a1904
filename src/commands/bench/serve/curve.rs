//! Latency over load as an SVG.

use std::fmt::Write as _;

use super::plan::Step;

/// The plot's corners, in pixels.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 650.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 360.0;

/// A curve: its name, its colour, and its value at a step.
type Line = (&'static str, &'static str, fn(&Step) -> Option<f64>);

const LINES: [Line; 2] = [("p50", "#2563a8", |step| step.p50_ms), ("p99", "#b4431f", |step| step.p99_ms)];

/// Draws p50 and p99 over the offered load, latency on a logarithmic axis; the throughput is a vertical line. `title`
/// says what was measured.
pub fn svg(title: &str, throughput: f64, steps: &[Step]) -> String {
    let plot = Plot::of(throughput, steps);
    let mut svg = String::from(concat!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 420" font-family="sans-serif" font-size="13">"#,
        "\n<rect width=\"720\" height=\"420\" fill=\"white\"/>\n",
    ));
    let mut add = |text: String| writeln!(svg, "{text}").expect("a string takes everything");
    add(format!(r#"<text x="{LEFT}" y="26" font-size="15">{}</text>"#, escaped(title)));
    add(format!(r##"<text x="{LEFT}" y="44" fill="#555">latency from the intended arrival, ms</text>"##));
    let middle = f64::midpoint(LEFT, RIGHT);
    add(format!(r##"<text x="{middle}" y="404" text-anchor="middle" fill="#555">offered load, pictures/s</text>"##));
    for ms in plot.latencies() {
        let y = plot.y(ms);
        add(format!(r##"<path d="M{LEFT} {y:.1}H{RIGHT}" stroke="#e3e3e3"/>"##));
        add(format!(r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{ms}</text>"#, LEFT - 8.0, y + 4.5));
    }
    for rate in plot.rates() {
        let x = plot.x(rate);
        add(format!(r##"<path d="M{x:.1} {BOTTOM}v5" stroke="#888"/>"##));
        add(format!(r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{rate}</text>"#, BOTTOM + 20.0));
    }
    add(format!(r##"<path d="M{LEFT} {BOTTOM}H{RIGHT}" stroke="#888"/>"##));
    let x = plot.x(throughput);
    add(format!(r##"<path d="M{x:.1} {TOP}V{BOTTOM}" stroke="#888" stroke-dasharray="4 4"/>"##));
    add(format!(
        r##"<text x="{:.1}" y="{:.1}" text-anchor="end" fill="#555">throughput {throughput:.1}/s</text>"##,
        x - 6.0,
        TOP + 12.0
    ));
    for (name, color, value) in LINES {
        let points: Vec<_> =
            steps.iter().filter_map(|s| Some((plot.x(s.offered_per_second), plot.y(value(s)?)))).collect();
        add(line(name, color, &points));
    }
    svg.push_str("</svg>\n");
    svg
}

fn line(name: &str, color: &str, points: &[(f64, f64)]) -> String {
    let Some(&(x, y)) = points.last() else { return String::new() };
    let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let mut text = format!(r#"<path d="M{}" fill="none" stroke="{color}" stroke-width="2"/>"#, path.join("L"));
    for (x, y) in points {
        let _ = write!(text, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{color}"/>"#);
    }
    let _ =
        write!(text, r#"<text x="{:.1}" y="{:.1}" fill="{color}" font-weight="bold">{name}</text>"#, x + 9.0, y + 4.5);
    text
}

/// The axes: load from 0, latency between whole steps of 1, 2, 5.
struct Plot {
    rate_max: f64,
    ms_min: f64,
    ms_max: f64,
}

impl Plot {
    fn of(throughput: f64, steps: &[Step]) -> Self {
        let rate_max = steps.iter().map(|step| step.offered_per_second).fold(throughput, f64::max);
        let values = || steps.iter().flat_map(|step| [step.p50_ms, step.p99_ms]).flatten().filter(|&ms| ms > 0.0);
        let (least, most) =
            values().fold((f64::MAX, 0.0), |(least, most): (f64, f64), ms| (least.min(ms), most.max(ms)));
        let (least, most) = if most > 0.0 { (least, most) } else { (1.0, 10.0) };
        let ladder: Vec<f64> = ladder().collect();
        let ms_min = ladder.iter().copied().filter(|&ms| ms <= least).fold(ladder[0], f64::max);
        let ms_max = ladder.iter().copied().find(|&ms| ms >= most && ms > ms_min).unwrap_or(most);
        Self { rate_max: if rate_max > 0.0 { rate_max * 1.02 } else { 1.0 }, ms_min, ms_max }
    }

    fn x(&self, rate: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * rate / self.rate_max
    }

    fn y(&self, ms: f64) -> f64 {
        let share = (ms.max(self.ms_min) / self.ms_min).ln() / (self.ms_max / self.ms_min).ln();
        BOTTOM - (BOTTOM - TOP - 20.0) * share
    }

    fn latencies(&self) -> impl Iterator<Item = f64> {
        ladder().filter(|ms| (self.ms_min..=self.ms_max).contains(ms))
    }

    /// At most ten round numbers.
    fn rates(&self) -> impl Iterator<Item = f64> {
        let step = ladder().find(|step| self.rate_max / step <= 10.0).unwrap_or(self.rate_max);
        (0..=10).map(move |at| f64::from(at) * step).filter(|&rate| rate <= self.rate_max)
    }
}

/// 0.1, 0.2, 0.5, 1 … 500,000.
fn ladder() -> impl Iterator<Item = f64> {
    [0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5].into_iter().flat_map(|decade| [1.0, 2.0, 5.0].map(|step| decade * step))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(offered_per_second: f64, ms: Option<f64>) -> Step {
        Step {
            offered_per_second,
            p50_ms: ms,
            p99_ms: ms.map(|ms| 3.0 * ms),
            ..Step::of(1.0, std::time::Duration::from_secs(1), &[])
        }
    }

    #[test]
    fn points_lie_on_the_axes_scales() {
        let steps = [step(5.0, Some(50.0)), step(20.0, Some(500.0)), step(25.0, None)];
        let svg = svg("a < b", 20.0, &steps);
        assert!(svg.contains("a &lt; b") && svg.contains(">throughput 20.0/s<"));
        assert_eq!(svg.matches("<circle").count(), 4, "a load without answers has no point");
        let plot = Plot::of(20.0, &steps);
        assert_eq!((plot.y(50.0), plot.y(2000.0)), (BOTTOM, TOP + 20.0));
        assert_eq!(plot.latencies().collect::<Vec<_>>(), [50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0]);
        assert_eq!(plot.rates().collect::<Vec<_>>(), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]);
    }

    #[test]
    fn nothing_measured_is_an_empty_plot() {
        for steps in [vec![], vec![step(0.0, None)]] {
            let svg = svg("", 0.0, &steps);
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
