use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::train::{EpochRecord, Position, Progress, SelectBy};

/// How often a plain line is written within an epoch.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows on stderr how a run comes along: a bar on a terminal, else plain lines.
pub struct Display {
    bar: Option<ProgressBar>,
    started: Instant,
    /// Pictures since then.
    pictures: usize,
    line_at: Instant,
    measure: SelectBy,
    /// By that measure.
    validation: Option<f64>,
}

impl Display {
    /// For a run of `pictures` in all, at `at`, whose epochs are compared by `measure`.
    pub fn new(pictures: usize, at: &Position, measure: SelectBy) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}\n{wide_msg}").expect("a valid template");
            ProgressBar::new(pictures as u64).with_style(style)
        });
        let last = at.history.last().and_then(|record| record.validation);
        let now = Instant::now();
        let validation = last.map(|scores| scores.selected(measure));
        Self { bar, started: now, pictures: 0, line_at: now, measure, validation }
    }

    /// Pictures per second since the display began.
    #[expect(clippy::cast_precision_loss, reason = "pictures are far fewer than 2^52")]
    pub fn images_per_second(&self) -> f64 {
        self.pictures as f64 / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    /// After a step; `seen` of all the run's pictures.
    pub fn stepped(&mut self, progress: &Progress<'_>, seen: usize, all: usize) {
        self.pictures += progress.pictures;
        let line = self.line(progress, all.saturating_sub(seen));
        if let Some(bar) = &self.bar {
            bar.set_position(seen as u64);
            bar.set_message(line);
        } else if self.line_at.elapsed() >= LINE_EVERY {
            self.line_at = Instant::now();
            eprintln!("{line}");
        }
    }

    /// After an epoch.
    pub fn epoch_done(&mut self, record: &EpochRecord, epochs: usize) {
        self.validation = record.validation.map(|scores| scores.selected(self.measure));
        let validation = record.validation.map_or(String::new(), |scores| {
            let score = percent(scores.selected(self.measure));
            format!(", validation: loss {:.4}, {} {score}", scores.loss, self.measure.words())
        });
        let EpochRecord { epoch, train_loss, learning_rate, .. } = record;
        self.say(&format!(
            "epoch {epoch}/{epochs}: loss {train_loss:.4}{validation}, lr {learning_rate:.2e}, {:.1} images/s",
            self.images_per_second()
        ));
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "pictures are far fewer than 2^52")]
    fn line(&self, progress: &Progress<'_>, left: usize) -> String {
        let Progress { at, steps, epochs, .. } = progress;
        let rate = self.images_per_second();
        let loss = at.loss_sum / at.pictures.max(1) as f64;
        let validation = self.validation.map_or(String::new(), |v| format!("  validation {}", percent(v)));
        let left = duration(Duration::from_secs_f64((left as f64 / rate).min(1e9)));
        format!(
            "epoch {}/{epochs} step {}/{steps}  {rate:.1} images/s  loss {loss:.4}{validation}  {left} left",
            at.epoch + 1,
            at.step
        )
    }
}

/// `97.50 %`
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// `2h05m`, `3m20s`, `12s`
fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let shown = [12, 200, 7500].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(shown, ["12s", "3m20s", "2h05m"]);
    }
}
