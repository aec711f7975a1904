//! What a new writer does with damaged files and with what a crash left. A step that fails is logged: it costs disk
//! space, and no answer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::entry::Entry;
use super::files::{self, create_folder, is_temporary, parent, sync_folder};
use super::state::{StateFault, TaskState};
use super::{Folder, version_name};
use crate::registry::TaskName;

/// Moves damaged files away and removes what no state names.
pub fn mend(folder: &Folder, tasks: &mut BTreeMap<TaskName, Entry>) {
    remove_unfinished(&folder.tasks());
    for (task, entry) in tasks {
        match &entry.state {
            Ok(state) => {
                for (number, reason) in &entry.damaged {
                    tracing::error!(%task, version = number, reason, "a stored version is damaged");
                    move_away(folder, task, &folder.version(task, *number));
                }
                remove_orphans(folder, task, state);
            }
            Err(StateFault::Damaged(reason)) => {
                tracing::error!(%task, reason, "a task's state file is damaged; its versions stay where they are");
                move_away(folder, task, &folder.state(task));
            }
            Err(fault) => {
                let reason = fault.unfit().reason;
                tracing::error!(%task, reason, "a task cannot be served");
            }
        }
    }
}

/// Moves a file into the quarantine under its task's name, beside whatever is there.
pub fn move_away(folder: &Folder, task: &TaskName, path: &Path) {
    if !path.exists() {
        return;
    }
    let place = free_place(&folder.quarantine(), task, path);
    let moved = create_folder(&folder.quarantine())
        .and_then(|()| fs::rename(path, &place).map_err(files::io_error(path, "could not move to the quarantine")))
        .and_then(|()| sync_folder(parent(&place)))
        .and_then(|()| sync_folder(parent(path)));
    match moved {
        Ok(()) => tracing::error!(%task, from = %path.display(), to = %place.display(), "moved a damaged file"),
        Err(error) => tracing::error!(%task, %error, "a damaged file stays where it is"),
    }
}

fn free_place(quarantine: &Path, task: &TaskName, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 1u64;
    loop {
        let place = quarantine.join(format!("{task}.{number}.{name}"));
        if !place.exists() {
            return place;
        }
        number += 1;
    }
}

/// The names that a task's files in the quarantine had before they were moved.
pub fn names_of(folder: &Folder, task: &TaskName) -> Vec<String> {
    let names = files::names(&folder.quarantine()).unwrap_or_default();
    let former = |name: &String| {
        let (count, former) = name.strip_prefix(task.as_str())?.strip_prefix('.')?.split_once('.')?;
        count.parse::<u64>().ok().map(|_| former.to_owned())
    };
    names.iter().filter_map(former).collect()
}

/// Removes files, or unfinished task folders, whose writing was cut.
fn remove_unfinished(folder: &Path) {
    for name in files::names(folder).unwrap_or_default().iter().filter(|name| is_temporary(name)) {
        let path = folder.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        report(&path, removed);
    }
}

fn remove_orphans(folder: &Folder, task: &TaskName, state: &TaskState) {
    remove_unfinished(&folder.task(task));
    let versions = folder.versions(task);
    let named = |name: &str| state.versions.keys().any(|&number| version_name(number) == name);
    for name in files::names(&versions).unwrap_or_default().iter().filter(|name| !named(name)) {
        let path = versions.join(name);
        report(&path, fs::remove_file(&path));
    }
}

fn report(path: &Path, removed: std::io::Result<()>) {
    match removed {
        Ok(()) => tracing::info!(path = %path.display(), "removed what an interrupted change left"),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "could not remove what an interrupted change left")
        }
    }
}
