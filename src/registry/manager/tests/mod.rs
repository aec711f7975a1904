mod change;
mod damage;
mod follow;
mod upload;

use super::*;
use crate::adapter::Problem;
use crate::engine::Form;
use crate::registry::testing::{Fixture, task};
use crate::registry::{LabelsDiff, Status, StoreLimit};

fn upload(manager: &Manager, bytes: &[u8]) -> Result<Uploaded, ManageError> {
    manager.upload(&task("digits"), bytes, &UploadOptions::default())
}

fn staged() -> UploadOptions {
    UploadOptions { activate: Some(false), ..Default::default() }
}

fn active(manager: &Manager, name: &str) -> Result<u64, LookupError> {
    manager.registry().active(&task(name)).map(|version| version.number)
}

/// Every file of the data folder that belongs to tasks.
fn files(fixture: &Fixture) -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => walk(&path, found),
                path => found.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned()),
            }
        }
    }
    let mut found = Vec::new();
    walk(&fixture.folder.path().join("tasks"), &mut found);
    found.sort();
    found
}

fn counted(fixture: &Fixture, line: &str) -> bool {
    fixture.metrics.render().lines().any(|found| found == line)
}
