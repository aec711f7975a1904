use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde::Serialize;

use super::loader::Stored;
use super::{Manager, locate};
use crate::adapter::{Adapter, Problem};
use crate::engine::{Form, Lens};
use crate::hash::content_hash;
use crate::registry::live::Slot;
use crate::registry::store::files::read_verified;
use crate::registry::store::state::Record;
use crate::registry::store::{Created, Store};
use crate::registry::{LabelsDiff, ManageError, Probed, StoreError, StoreLimit, TaskName};

/// How an upload is to be taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UploadOptions {
    /// Whether the version goes live. Unsaid: a new version does, an existing one changes nothing.
    pub activate: Option<bool>,
    /// Whether labels and problem may differ from the active version's.
    pub allow_labels_changed: bool,
    /// How the version is served; rescaled unless said.
    pub form: Option<Form>,
    /// The `If-Match` header.
    pub if_match: Option<String>,
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Uploaded {
    /// The version's number.
    pub version: u64,
    /// Its content hash.
    pub hash: String,
    /// Whether it is the active one now.
    pub active: bool,
    /// Whether it is new; else the bytes were those of an existing version.
    pub created: bool,
    /// What the probe said.
    pub probe: Probed,
}

/// An uploaded file that was checked and made ready, but not stored.
struct Candidate<'a> {
    task: &'a TaskName,
    bytes: &'a [u8],
    hash: String,
    options: &'a UploadOptions,
}

impl Manager {
    /// Validates, probes, stores and (unless staged) activates an adapter file. Bytes equal to an existing version's
    /// change nothing unless activation is asked for; they also mend a version whose file was damaged.
    pub fn upload(&self, task: &TaskName, bytes: &[u8], options: &UploadOptions) -> Result<Uploaded, ManageError> {
        let started = Instant::now();
        let result = self.take(task, bytes, options);
        let outcome = match &result {
            Ok(uploaded) if uploaded.created => "created",
            Ok(_) => "unchanged",
            Err(error) if error.is_failure() => "failed",
            Err(_) => "refused",
        };
        self.metrics.uploads_total.with_label_values(&[outcome]).inc();
        if outcome == "created" {
            self.metrics.upload_duration_seconds.observe(started.elapsed().as_secs_f64());
        }
        result
    }

    fn take(&self, task: &TaskName, bytes: &[u8], options: &UploadOptions) -> Result<Uploaded, ManageError> {
        self.check_size(bytes)?;
        let candidate = Candidate { task, bytes, hash: content_hash(bytes), options };
        let known = self.admit(&*self.writable()?, &candidate)?;
        if let Some(number) = known {
            return self.replay(&candidate, number);
        }
        let file = self.loader.read(bytes)?;
        self.check_labels(&self.store(), &candidate, (&file.adapter.labels, file.adapter.problem))?;
        let lens = self.loader.prepare(Arc::new(file.adapter), options.form.unwrap_or(Form::Rescaled))?;
        let probe = self.demand_probe(&lens, file.probe.as_ref())?;
        self.commit(&candidate, lens, probe)
    }

    pub(super) fn check_size(&self, bytes: &[u8]) -> Result<(), ManageError> {
        let (found, limit) = (bytes.len() as u64, self.limits.adapter_bytes_max);
        let which = StoreLimit::AdapterBytes;
        if found > limit { Err(ManageError::Limit { which, limit, found }) } else { Ok(()) }
    }

    /// Whether the store would take the file; the number of the version that has these bytes, if one does.
    fn admit(&self, store: &Store, candidate: &Candidate<'_>) -> Result<Option<u64>, ManageError> {
        let Candidate { task, bytes, hash, options } = candidate;
        Self::check_match(store, task, options.if_match.as_deref())?;
        let Some(entry) = store.task(task) else {
            let (found, limit) = (store.tasks().count() as u64, self.limits.tasks_max as u64);
            if found >= limit {
                return Err(ManageError::Limit { which: StoreLimit::Tasks, limit, found });
            }
            return self.check_room(store, bytes).map(|()| None);
        };
        let state = entry.state.as_ref().map_err(|fault| fault.unfit().of(task))?;
        match state.find(hash) {
            Some(number) => Ok(Some(number)),
            None => self.check_room(store, bytes).map(|()| None),
        }
    }

    fn check_room(&self, store: &Store, bytes: &[u8]) -> Result<(), ManageError> {
        let free = store.folder().free_bytes().map_err(ManageError::Store)?;
        let (found, limit) = (free.saturating_sub(bytes.len() as u64), self.limits.free_disk_bytes_min);
        if found < limit { Err(ManageError::Limit { which: StoreLimit::FreeDisk, limit, found }) } else { Ok(()) }
    }

    /// Labels and problem stay what clients know, unless the upload is staged or says that they may change.
    fn check_labels(
        &self,
        store: &Store,
        candidate: &Candidate<'_>,
        new: (&[String], Problem),
    ) -> Result<(), ManageError> {
        let Candidate { task, options, .. } = candidate;
        if options.allow_labels_changed || options.activate == Some(false) {
            return Ok(());
        }
        let Some((active, labels, problem)) = self.active_labels(store, task) else { return Ok(()) };
        match LabelsDiff::between((&labels, problem), new) {
            Some(diff) => Err(ManageError::LabelsChanged { active, diff }),
            None => Ok(()),
        }
    }

    /// Number, labels and problem of the active version; from its file when it cannot be served here. `None` when
    /// there is none or it cannot be read: then an upload is what mends the task.
    fn active_labels(&self, store: &Store, task: &TaskName) -> Option<(u64, Vec<String>, Problem)> {
        if let Ok(version) = self.registry.active(task) {
            let Adapter { labels, problem, .. } = &*version.lens.adapter;
            return Some((version.number, labels.clone(), *problem));
        }
        let active = store.task(task)?.state.as_ref().ok()?.active?;
        let stored = locate(store, task, active).ok()?;
        let bytes = read_verified(&stored.path, stored.record.bytes, &stored.record.hash).ok()?;
        let summary = self.loader.summary(&bytes)?;
        Some((active, summary.labels?, summary.problem?))
    }

    /// Stores and publishes, after a second look at what may have changed while the file was made ready.
    fn commit(&self, candidate: &Candidate<'_>, lens: Lens, probe: Probed) -> Result<Uploaded, ManageError> {
        let Candidate { task, bytes, hash, options } = candidate;
        let mut store = self.writable()?;
        if let Some(number) = self.admit(&store, candidate)? {
            drop(store);
            return self.replay(candidate, number);
        }
        self.check_labels(&store, candidate, (&lens.adapter.labels, lens.adapter.problem))?;
        let activate = options.activate.unwrap_or(true);
        let record = record(hash.clone(), bytes.len() as u64, &lens);
        let keep = self.limits.versions_per_task_max;
        let created = store.writer().ok_or(ManageError::ReadOnly)?.create(task, bytes, record, activate, keep);
        let Created { number, pruned } = created.map_err(write_error)?;
        if activate {
            let stored = locate(&store, task, number)?;
            self.publish(task, Some(Slot::Serving(stored.version(lens))));
        } else if self.registry.slot(task).is_none() {
            self.publish(task, Some(Slot::staged()));
        }
        self.forget(task, |kept| kept != number && !pruned.contains(&kept));
        Ok(Uploaded { version: number, hash: hash.clone(), active: activate, created: true, probe })
    }

    /// The bytes are those of a version that exists.
    fn replay(&self, candidate: &Candidate<'_>, number: u64) -> Result<Uploaded, ManageError> {
        let Candidate { task, bytes, hash, options } = candidate;
        self.mend(task, number, bytes)?;
        let mut probe = Probed::NotRun;
        if options.activate == Some(true) {
            let file = self.loader.read(bytes)?;
            self.check_labels(&self.store(), candidate, (&file.adapter.labels, file.adapter.problem))?;
            probe = self.switch(task, number, options.form, options.if_match.as_deref())?;
        }
        let active = self.active_number(task) == Some(number);
        Ok(Uploaded { version: number, hash: hash.clone(), active, created: false, probe })
    }

    /// Puts the file of a damaged version back; if it is the active one, the task answers again.
    fn mend(&self, task: &TaskName, number: u64, bytes: &[u8]) -> Result<(), ManageError> {
        let mut store = self.writable()?;
        if store.task(task).is_none_or(|entry| !entry.damaged.contains_key(&number)) {
            return Ok(());
        }
        self.check_room(&store, bytes)?;
        let restored = store.writer().ok_or(ManageError::ReadOnly)?.restore(task, number, bytes);
        restored.map_err(write_error)?;
        tracing::info!(%task, version = number, "an upload mended a damaged version");
        self.reload(&mut store, task);
        Ok(())
    }

    pub(super) fn active_number(&self, task: &TaskName) -> Option<u64> {
        self.store().task(task)?.state.as_ref().ok()?.active
    }

    /// Lets cached versions go, except those to be kept.
    pub(super) fn forget(&self, task: &TaskName, keep: impl Fn(u64) -> bool) {
        self.cache.retain(task, keep);
        self.count_resident();
    }
}

fn record(hash: String, bytes: u64, lens: &Lens) -> Record {
    let adapter = &lens.adapter;
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Record {
        hash,
        bytes,
        form: lens.form,
        backbone: adapter.backbone.clone(),
        method: adapter.method,
        problem: adapter.problem,
        classes: adapter.head.classes(),
        created_unix_s: since_epoch.map_or(0, |time| time.as_secs()),
    }
}

pub(super) fn write_error(error: StoreError) -> ManageError {
    if error.is_full() { ManageError::DiskFull(error) } else { ManageError::Store(error) }
}

impl Stored {
    /// Whether this is still the version that was read.
    pub(super) fn is_in(&self, store: &Store) -> bool {
        locate(store, &self.task, self.number).is_ok_and(|now| now.record.hash == self.record.hash)
    }
}
