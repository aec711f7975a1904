use plotters::prelude::*;

/// Pixels, which the page scales.
const SIZE: (u32, u32) = (520, 300);
/// Tell eight lines apart also for those who see few colours (Okabe and Ito 2008).
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
    RGBColor(150, 150, 150),
];

/// Lines over a common axis.
pub struct Chart<'a> {
    /// What the horizontal axis counts.
    pub x: &'a str,
    /// What the vertical axis measures.
    pub y: &'a str,
    /// At least one with a point.
    pub lines: Vec<Line<'a>>,
}

/// Points that are joined, and marked.
pub struct Line<'a> {
    /// In the legend.
    pub name: &'a str,
    /// Those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// Draws it as an `<svg>`; none when there is nothing to draw.
pub fn svg(chart: &Chart<'_>) -> Option<String> {
    let lines: Vec<(&str, Vec<(f64, f64)>)> = chart.lines.iter().map(|line| (line.name, finite(line))).collect();
    let points = || lines.iter().flat_map(|(_, points)| points);
    let x = range(points().map(|point| point.0))?;
    let y = range(points().map(|point| point.1))?;
    let mut text = String::new();
    draw(chart, &lines, x, y, &mut text).ok()?;
    // Its size is the page's matter.
    Some(text.replacen(&format!(r#"width="{}" height="{}" "#, SIZE.0, SIZE.1), "", 1))
}

fn finite(line: &Line<'_>) -> Vec<(f64, f64)> {
    line.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

/// From the smallest to the largest and a little beyond; 0 is in it when it is near.
fn range(values: impl Iterator<Item = f64>) -> Option<std::ops::Range<f64>> {
    let (low, high) = values.map(|v| (v, v)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    let low = if low > 0.0 && low < 0.5 * high { 0.0 } else { low };
    let room = if high > low { 0.04 * (high - low) } else { 0.5 };
    Some(if low == 0.0 { low } else { low - room }..high + room)
}

/// A value on an axis where nothing lies between whole numbers.
fn whole_tick(value: &f64) -> String {
    if value.fract() == 0.0 { tick(value) } else { String::new() }
}

/// A value on an axis, as short as it can be.
fn tick(value: &f64) -> String {
    if *value != 0.0 && value.abs() < 1e-3 {
        return format!("{value:.1e}");
    }
    format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The corner for the legend: that with the fewest points.
fn emptiest(
    lines: &[(&str, Vec<(f64, f64)>)],
    x: std::ops::Range<f64>,
    y: std::ops::Range<f64>,
) -> SeriesLabelPosition {
    const CORNER: (f64, f64) = (0.35, 0.3);
    let points = || lines.iter().flat_map(|(_, points)| points);
    let inside = |right: bool, upper: bool| {
        let from = |value: f64, range: &std::ops::Range<f64>, end: bool| {
            (value - if end { range.end } else { range.start }).abs() / (range.end - range.start)
        };
        points().filter(|(px, py)| from(*px, &x, right) < CORNER.0 && from(*py, &y, upper) < CORNER.1).count()
    };
    let corners = [
        (inside(true, true), SeriesLabelPosition::UpperRight),
        (inside(true, false), SeriesLabelPosition::LowerRight),
        (inside(false, true), SeriesLabelPosition::UpperLeft),
        (inside(false, false), SeriesLabelPosition::LowerLeft),
    ];
    corners.into_iter().min_by_key(|(count, _)| *count).map_or(SeriesLabelPosition::UpperRight, |(_, corner)| corner)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(
    chart: &Chart<'_>,
    lines: &[(&str, Vec<(f64, f64)>)],
    x: std::ops::Range<f64>,
    y: std::ops::Range<f64>,
    text: &mut String,
) -> Drawn {
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    let mut axes = ChartBuilder::on(&area)
        .margin(10)
        .x_label_area_size(38)
        .y_label_area_size(56)
        .build_cartesian_2d(x, y)
        .map_err(|error| error.to_string())?;
    let whole = lines.iter().flat_map(|(_, points)| points).all(|(x, _)| x.fract() == 0.0);
    let x_tick: fn(&f64) -> String = if whole { whole_tick } else { tick };
    let mesh = axes
        .configure_mesh()
        .x_desc(chart.x)
        .y_desc(chart.y)
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&x_tick)
        .y_label_formatter(&tick)
        .draw();
    mesh.map_err(|error| error.to_string())?;
    for ((name, points), &color) in
        lines.iter().zip(COLORS.iter().cycle()).filter(|((_, points), _)| !points.is_empty())
    {
        // One point is there to be seen beside a line.
        let size = if points.len() == 1 { 5 } else { 2 };
        let line = LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(size);
        let drawn = axes.draw_series(line).map_err(|error| error.to_string())?;
        drawn.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    // One line is named by its axis, and a legend would lie on its end.
    if lines.iter().filter(|(_, points)| !points.is_empty()).count() > 1 {
        let corner = emptiest(lines, axes.x_range(), axes.y_range());
        let legend = axes
            .configure_series_labels()
            .position(corner)
            .background_style(WHITE.mix(0.85))
            .border_style(TRANSPARENT)
            .draw();
        legend.map_err(|error| error.to_string())?;
    }
    area.present().map_err(|error| error.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_names_and_what_is_not_finite_is_left_out() {
        let points = vec![(0.0, 2.0), (1.0, f64::NAN), (2.0, 1.0)];
        let line = |name, points| Line { name, points };
        let chart = |points, others| Chart {
            x: "epoch",
            y: "loss",
            lines: vec![line("a < b", points), line("nothing", Vec::new()), line("c", others)],
        };
        let text = svg(&chart(points, vec![(1.0, 1.5)])).expect("a chart");
        assert!(text.starts_with("<svg") && text.contains("a &lt; b") && !text.contains("NaN"), "{text}");
        assert!(!text.contains("nothing"), "{text}");
        assert_eq!(text.matches("<circle").count(), 3);
        assert_eq!(svg(&chart(vec![(0.0, f64::INFINITY)], Vec::new())), None);
        let alone =
            svg(&Chart { x: "epoch", y: "loss", lines: vec![line("a < b", vec![(0.0, 1.0)])] }).expect("a chart");
        assert!(!alone.contains("a &lt; b"), "its axis names it");
    }

    #[test]
    fn a_legend_lies_where_no_points_are() {
        let rising = [("a", (1..=10).map(|i| (f64::from(i), f64::from(i))).collect())];
        assert!(matches!(emptiest(&rising, 0.0..10.0, 0.0..10.0), SeriesLabelPosition::LowerRight));
        let falling = [("a", (1..=10).map(|i| (f64::from(i), 10.0 - f64::from(i))).collect())];
        assert!(matches!(emptiest(&falling, 0.0..10.0, 0.0..10.0), SeriesLabelPosition::UpperRight));
    }

    #[test]
    fn ticks_are_short() {
        assert_eq!(
            [0.0, 2.0, 0.25, 12.5, 3e-4, -1e-7].map(|value| tick(&value)),
            ["0", "2", "0.25", "12.5", "3.0e-4", "-1.0e-7"]
        );
    }

    #[test]
    fn a_range_is_never_empty() {
        assert_eq!(range([3.0].into_iter()), Some(2.5..3.5));
        assert_eq!(range([0.0, 1.0].into_iter()), Some(0.0..1.04));
        assert_eq!(range(std::iter::empty()), None);
    }
}
