use std::path::PathBuf;
use std::time::Duration;

use super::Error;
use crate::client::{Client, Described, Fault, Published, Validated};
use crate::train::Job;

/// A server that gets the adapter as a new version of a task.
#[derive(Clone)]
pub struct Publish {
    /// `http://host:port`
    pub url: String,
    /// The task.
    pub task: String,
    /// What the server wants to see of whoever manages tasks.
    pub key: Option<String>,
    /// The adapter file, for the error's sentence.
    pub out: PathBuf,
}

/// An upload is probed on the serving engine, which may be busy.
const TIMEOUT: Duration = Duration::from_secs(300);

impl Publish {
    /// Asks whether the server would take such an adapter from us; it keeps nothing.
    pub fn rehearse(&self, job: &Job) -> Result<(), Error> {
        let client = self.client();
        let Validated { valid, problems } = client.validate(&job.first_file()).map_err(Error::Rehearse)?;
        if !valid {
            let faults = problems.iter().map(|Fault { place, problem }| format!("{place}: {problem}"));
            return Err(Error::NotTaken(faults.collect::<Vec<_>>().join("; ")));
        }
        let Some(Described { labels: Some(labels), problem }) = client.task(&self.task).map_err(Error::Rehearse)?
        else {
            return Ok(());
        };
        let (there, here) = ((labels, problem), (job.task.labels.clone(), Some(job.task.problem)));
        if there == here { Ok(()) } else { Err(Error::OtherTask { task: self.task.clone(), there, here }) }
    }

    /// Uploads it.
    pub fn send(&self, adapter: &[u8]) -> Result<Published, Error> {
        self.client().publish(&self.task, adapter).map_err(|source| Error::Publish { path: self.out.clone(), source })
    }

    fn client(&self) -> Client {
        Client::new(&self.url, self.key.clone(), TIMEOUT)
    }
}
