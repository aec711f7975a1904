use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::split::{Loose, Percent, Split, split};
use super::{DataError, Dataset, Example};
use crate::image::is_picture_name;

/// Folders inside a class's folder.
const DEPTH_MAX: usize = 16;

/// Reads a folder with a folder for each class, or with those in `train`, `val` (or `valid`, `validation`) and `test`.
/// Classes are in the order of their names' bytes, as torchvision's `ImageFolder` has them. What is hidden or not called
/// like a picture is passed over.
pub fn read(root: &Path) -> Result<Dataset, DataError> {
    let folders = folders(root)?;
    let split_of = |name: &str| Split::parse(name).filter(|_| folders.contains_key("train"));
    let mut found = Vec::new();
    for (name, path) in &folders {
        match split_of(name) {
            Some(split) => found.extend(classes(path)?.into_iter().map(|(class, paths)| (Some(split), class, paths))),
            None if folders.contains_key("train") => {}
            None => found.push((None, name.clone(), pictures(path)?)),
        }
    }
    let labels: Vec<String> =
        found.iter().map(|(_, class, _)| class.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    if let Some(empty) =
        labels.iter().find(|label| found.iter().all(|(_, class, paths)| class != *label || paths.is_empty()))
    {
        return Err(DataError::EmptyClass(
            root.join(if folders.contains_key("train") { "train" } else { "" }).join(empty),
        ));
    }
    if labels.is_empty() {
        return Err(DataError::Empty(root.to_owned()));
    }
    Ok(gather(root, labels, found))
}

fn gather(root: &Path, labels: Vec<String>, found: Vec<(Option<Split>, String, Vec<PathBuf>)>) -> Dataset {
    let mut placed = Placed::default();
    for (split, class, paths) in found {
        let targets: Vec<usize> = labels.binary_search(&class).into_iter().collect();
        let examples = paths.into_iter().map(|path| Example { path, targets: targets.clone() });
        examples.for_each(|example| placed.add(split, key(root, &example.path), example));
    }
    placed.dataset(labels, false)
}

/// Pictures whose splits are known, and those whose are not.
#[derive(Default)]
pub struct Placed {
    known: Vec<(Split, String, Example)>,
    loose: Vec<Loose>,
}

impl Placed {
    /// A picture, with what decides its split if none is given.
    pub fn add(&mut self, split: Option<Split>, key: String, example: Example) {
        match split {
            Some(split) => self.known.push((split, key, example)),
            None => self.loose.push(Loose { example, key }),
        }
    }

    /// Finds splits for what has none, and pictures to select on where there are none.
    pub fn dataset(self, labels: Vec<String>, multi_label: bool) -> Dataset {
        let Self { known, loose } = self;
        let has = |split| known.iter().any(|(s, _, _)| *s == split);
        let lacks_validation = loose.is_empty() && has(Split::Train) && !has(Split::Validation);
        let mut split_loose = split(loose, if has(Split::Test) { Percent::VALIDATION } else { Percent::BOTH });
        if lacks_validation {
            let (train, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|(s, _, _)| *s == Split::Train);
            let train = train.into_iter().map(|(_, key, example)| Loose { example, key });
            split_loose.extend(split(train.collect(), Percent::VALIDATION));
            split_loose.extend(others.into_iter().map(|(split, _, example)| (split, example)));
        } else {
            split_loose.extend(known.into_iter().map(|(split, _, example)| (split, example)));
        }
        let of = |split| split_loose.iter().filter(|(s, _)| *s == split).map(|(_, e)| e.clone()).collect();
        let (train, validation, test) = (of(Split::Train), of(Split::Validation), of(Split::Test));
        Dataset { labels, multi_label, train, validation, test }
    }
}

/// Path from the data's folder, the same on every system.
fn key(root: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(root).unwrap_or(path);
    inner.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn classes(split: &Path) -> Result<Vec<(String, Vec<PathBuf>)>, DataError> {
    folders(split)?.into_iter().map(|(name, path)| Ok((name, pictures(&path)?))).collect()
}

/// The folders in a folder by name, hidden ones left out.
fn folders(path: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let entries = entries(path)?.into_iter().filter(|path| path.is_dir());
    Ok(entries.map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path)).collect())
}

/// The pictures in a folder and the folders in it, in order.
fn pictures(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut found = Vec::new();
    walk(path, DEPTH_MAX, &mut found)?;
    Ok(found)
}

fn walk(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for path in entries(path)? {
        if path.is_dir() {
            if depth > 0 {
                walk(&path, depth - 1, found)?;
            }
        } else if is_picture_name(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn entries(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let error = |source| DataError::Read { path: path.to_owned(), source };
    let entries = fs::read_dir(path).map_err(error)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(error)?;
    entries.retain(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("inside")).expect("created");
            fs::write(path, []).expect("written");
        }
        folder
    }

    fn names(root: &Path, examples: &[Example]) -> Vec<String> {
        examples.iter().map(|example| format!("{} {:?}", key(root, &example.path), example.targets)).collect()
    }

    #[test]
    fn given_splits_are_kept_and_classes_are_sorted() {
        let files = [
            "train/dog/b.png",
            "train/cat/x/a.JPG",
            "train/cat/notes.txt",
            "val/dog/c.png",
            "test/cat/.d.png",
            "test/cat/d.png",
        ];
        let folder = folder(&files);
        let data = read(folder.path()).expect("data");
        assert_eq!(data.labels, ["cat", "dog"]);
        assert_eq!(names(folder.path(), &data.train), ["train/cat/x/a.JPG [0]", "train/dog/b.png [1]"]);
        assert_eq!(names(folder.path(), &data.validation), ["val/dog/c.png [1]"]);
        assert_eq!(names(folder.path(), &data.test), ["test/cat/d.png [0]"]);
    }

    #[test]
    fn without_splits_they_are_made() {
        let files: Vec<_> =
            ["a", "b"].iter().flat_map(|class| (0..20).map(move |i| format!("{class}/{i}.png"))).collect();
        let folder = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
        let data = read(folder.path()).expect("data");
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (28, 6, 6));
    }

    #[test]
    fn a_split_to_select_on_comes_out_of_the_one_to_fit_on() {
        let files: Vec<_> = (0..10).map(|i| format!("train/a/{i}.png")).chain(["test/a/x.png".into()]).collect();
        let folder = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
        let data = read(folder.path()).expect("data");
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (8, 2, 1));
    }

    #[test]
    fn an_empty_class_is_named() {
        let folder = folder(&["cat/a.png", "dog/notes.txt"]);
        let error = read(folder.path()).expect_err("no dogs").to_string();
        assert!(error.contains("dog: there is no picture of this class"), "{error}");
        let nothing = tempfile::tempdir().expect("a folder");
        assert!(matches!(read(nothing.path()), Err(DataError::Empty(_))));
    }
}
