use std::time::{Duration, Instant};

use serde::Serialize;

use super::interrupt::Interrupt;
use super::progress::Display;
use crate::train::run::{RunError, RunFolder};
use crate::train::{EpochRecord, Job, Next, Progress, State, Watch};

/// Keeps a run's states and log, shows how it comes along, and stops it when somebody wants that.
pub struct Follow<'a> {
    pub folder: &'a RunFolder,
    pub interrupt: &'a Interrupt,
    /// Between two states that are kept within an epoch.
    pub keep_every: Duration,
    pub display: Display,
    /// Pictures of one epoch.
    pub pictures: usize,
    pub epochs: usize,
    kept_at: Instant,
    epoch_began: Instant,
    line: Option<Line>,
}

/// A line of the log.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    record: EpochRecord,
    /// That this process spent on it.
    seconds: f64,
    /// Since this process began to train.
    images_per_second: f64,
}

impl<'a> Follow<'a> {
    pub fn new(
        job: &Job,
        state: &State,
        folder: &'a RunFolder,
        interrupt: &'a Interrupt,
        keep_every: Duration,
    ) -> Self {
        let (pictures, epochs) = (job.train.len(), job.recipe.schedule.total());
        let (display, now) = (Display::new(pictures * epochs, &state.at, job.measure), Instant::now());
        Self { folder, interrupt, keep_every, display, pictures, epochs, kept_at: now, epoch_began: now, line: None }
    }
}

impl Watch for Follow<'_> {
    type Error = RunError;

    fn stepped(&mut self, progress: &Progress<'_>) -> Next {
        let seen = self.pictures * progress.at.epoch + progress.at.pictures;
        self.display.stepped(progress, seen, self.pictures * self.epochs);
        if self.interrupt.is_asked() {
            Next::Stop
        } else if self.kept_at.elapsed() >= self.keep_every {
            Next::Keep
        } else {
            Next::Go
        }
    }

    fn epoch_done(&mut self, record: &EpochRecord) {
        self.display.epoch_done(record, self.epochs);
        let seconds = self.epoch_began.elapsed().as_secs_f64();
        self.epoch_began = Instant::now();
        let images_per_second = self.display.images_per_second();
        self.line = Some(Line { record: record.clone(), seconds, images_per_second });
    }

    fn is_asked_to_stop(&self) -> bool {
        self.interrupt.is_asked()
    }

    fn keep(&mut self, state: &State) -> Result<(), RunError> {
        // The line before the state: a line too many is cut off when the run goes on, a missing one would stay missing.
        if let Some(line) = self.line.take() {
            self.folder.log(&line)?;
        }
        self.folder.keep(state)?;
        self.kept_at = Instant::now();
        Ok(())
    }
}
