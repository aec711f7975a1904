use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::placed::Placed;
use super::split::Split;
use super::{DataError, Dataset, Example};
use crate::image::is_picture_name;

/// Folders inside a class's folder.
const DEPTH_MAX: usize = 16;

/// A path of a hundred bytes each is a gigabyte then.
const PICTURES_MAX: usize = 10_000_000;

/// Reads a folder with a folder for each class, or with those in `train`, `val` (or `valid`, `validation`) and `test`, in
/// small letters or large ones. Classes are in the order of their names' bytes, as torchvision's `ImageFolder` has them.
/// What is hidden or not called like a picture is passed over; what else may have been meant is noted.
pub fn read(root: &Path) -> Result<Dataset, DataError> {
    let (mut walk, mut notes) = (Walk::default(), Vec::new());
    let folders = folders(root)?;
    let given = splits(root, &folders)?;
    note_strays(root, &mut notes)?;
    let mut found = Vec::new();
    for (name, path) in &folders {
        match given.get(path.as_path()) {
            Some(split) => {
                note_strays(path, &mut notes)?;
                found.extend(walk.classes(path)?.into_iter().map(|(class, paths)| (Some(*split), class, paths)));
            }
            None if given.is_empty() => found.push((None, name.clone(), walk.pictures(path)?)),
            None => notes.push(format!(
                "{} is passed over: beside folders of splits only train, val and test count, with a folder for each class",
                path.display()
            )),
        }
    }
    let labels: BTreeSet<String> = found.iter().map(|(_, class, _)| class.clone()).collect();
    let has_pictures = |label: &String| found.iter().any(|(_, class, paths)| class == label && !paths.is_empty());
    if let Some(empty) = labels.iter().find(|label| !has_pictures(label)) {
        let split = found.iter().find(|(_, class, _)| class == empty).and_then(|(split, ..)| *split);
        let folder = given.iter().find(|(_, given)| Some(**given) == split).map_or(root, |(path, _)| path);
        return Err(DataError::EmptyClass(folder.join(empty)));
    }
    if labels.is_empty() {
        return Err(nothing(root)?);
    }
    Ok(Dataset { notes, ..gather(root, labels.into_iter().collect(), found) })
}

/// Pictures in a folder of folders have no class.
fn note_strays(folder: &Path, notes: &mut Vec<String>) -> Result<(), DataError> {
    let strays = entries(folder)?.into_iter().filter(|path| is_picture_name(path) && !path.is_dir()).count();
    if strays > 0 {
        notes.push(format!("{}: pictures without a folder of their class are passed over: {strays}", folder.display()));
    }
    Ok(())
}

/// The folders that are splits: they have folders of classes, and one of them is to train on, or nothing else is there. A
/// folder `train` with pictures is a class, of trains, if it is not beside splits alone.
fn splits<'a>(root: &Path, folders: &'a BTreeMap<String, PathBuf>) -> Result<BTreeMap<&'a Path, Split>, DataError> {
    let (mut splits, mut named) = (BTreeMap::new(), 0);
    for (name, path) in folders {
        let Some(split) = Split::parse(name) else { continue };
        named += 1;
        if !self::folders(path)?.is_empty() {
            splits.insert(path.as_path(), split);
        }
    }
    if splits.values().any(|split| *split == Split::Train) || splits.len() == folders.len() {
        return Ok(splits);
    }
    // Flat splits, whose classes a table has.
    if named == folders.len() { Err(nothing(root)?) } else { Ok(BTreeMap::new()) }
}

/// Says where pictures may be instead.
fn nothing(root: &Path) -> Result<DataError, DataError> {
    let csv = |path: &PathBuf| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    Ok(match entries(root)?.into_iter().find(csv) {
        Some(file) => DataError::CsvInside { path: root.to_owned(), file },
        None => DataError::Empty(root.to_owned()),
    })
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

/// Path from the data's folder, the same on every system.
fn key(root: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(root).unwrap_or(path);
    inner.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The folders in a folder by name, hidden ones left out.
fn folders(path: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let entries = entries(path)?.into_iter().filter(|path| path.is_dir());
    Ok(entries.map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path)).collect())
}

/// Finds pictures, each folder once.
#[derive(Default)]
struct Walk {
    /// Every folder so far, with links followed, and the path by which it was reached.
    seen: HashMap<PathBuf, PathBuf>,
    pictures: usize,
}

impl Walk {
    /// Of each class of a split.
    fn classes(&mut self, split: &Path) -> Result<Vec<(String, Vec<PathBuf>)>, DataError> {
        folders(split)?.into_iter().map(|(name, path)| Ok((name, self.pictures(&path)?))).collect()
    }

    /// Those in a folder and in the folders in it, in order.
    fn pictures(&mut self, path: &Path) -> Result<Vec<PathBuf>, DataError> {
        let mut found = Vec::new();
        self.gather(path, DEPTH_MAX, &mut found)?;
        Ok(found)
    }

    fn gather(&mut self, path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
        let real = fs::canonicalize(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
        if let Some(first) = self.seen.insert(real, path.to_owned()) {
            return Err(DataError::Linked { path: path.to_owned(), first });
        }
        for path in entries(path)? {
            if path.is_dir() {
                if depth > 0 {
                    self.gather(&path, depth - 1, found)?;
                }
            } else if is_picture_name(&path) {
                self.pictures += 1;
                if self.pictures > PICTURES_MAX {
                    return Err(DataError::TooMany(path));
                }
                found.push(path);
            }
        }
        Ok(())
    }
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
        fs::create_dir_all(folder.path().join("Train/cat")).expect("created");
        fs::create_dir_all(folder.path().join("Test/none")).expect("created");
        fs::write(folder.path().join("Train/cat/a.png"), []).expect("written");
        let error = read(folder.path()).expect_err("none").to_string();
        assert!(error.contains("Test/none: there is no picture of this class"), "{error}");
        let nothing = tempfile::tempdir().expect("a folder");
        assert!(matches!(read(nothing.path()), Err(DataError::Empty(_))));
    }

    #[test]
    fn splits_may_have_large_letters_and_what_is_passed_over_is_noted() {
        let files = ["Train/a/1.png", "Train/b/2.png", "Val/a/3.png", "TEST/b/4.png", "docs/notes.txt"];
        let folder = folder(&files);
        let data = read(folder.path()).expect("data");
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (2, 1, 1));
        assert_eq!(data.notes.len(), 1, "docs: {:?}", data.notes);
        for stray in ["5.png", "Train/6.png", "test/7.png"] {
            fs::create_dir_all(folder.path().join("test")).expect("created");
            fs::write(folder.path().join(stray), []).expect("written");
        }
        let notes = read(folder.path()).expect("data").notes.join("\n");
        for part in
            ["Train: pictures without a folder of their class are passed over: 1", "docs is passed", "test is passed"]
        {
            assert!(notes.contains(part), "{notes}");
        }
    }

    /// As competitions have them: what is in which class is said by a table.
    #[test]
    fn flat_splits_are_no_classes() {
        let folder = folder(&["train/1.png", "test/2.png", "labels.csv"]);
        let error = read(folder.path()).expect_err("no classes").to_string();
        assert!(error.contains("labels.csv as --data"), "{error}");
    }

    #[test]
    fn there_may_be_pictures_to_report_on_alone() {
        let folder = folder(&["test/a/1.png", "test/b/2.png"]);
        let data = read(folder.path()).expect("data");
        assert_eq!((data.labels.join(" "), data.train.len(), data.test.len()), ("a b".into(), 0, 2));
    }

    #[test]
    fn a_class_may_be_called_train() {
        let files: Vec<_> =
            ["bus", "train"].iter().flat_map(|class| (0..20).map(move |i| format!("{class}/{i}.png"))).collect();
        let folder = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
        let data = read(folder.path()).expect("data");
        assert_eq!((data.labels.join(" "), data.train.len()), ("bus train".into(), 28));
    }

    #[test]
    fn a_folder_that_is_reached_twice_is_named() {
        let folder = folder(&["cat/a.png", "dog/b.png"]);
        std::os::unix::fs::symlink(folder.path().join("cat"), folder.path().join("dog/more")).expect("linked");
        let error = read(folder.path()).expect_err("cats among dogs").to_string();
        assert!(error.contains("dog/more: it is the folder") && error.contains("/cat"), "{error}");
        fs::remove_file(folder.path().join("dog/more")).expect("removed");
        std::os::unix::fs::symlink(folder.path(), folder.path().join("dog/loop")).expect("linked");
        assert!(matches!(read(folder.path()), Err(DataError::Linked { .. })));
    }

    #[test]
    fn a_folder_with_csv_files_is_told_from_an_empty_one() {
        let folder = folder(&["labels.csv"]);
        let error = read(folder.path()).expect_err("no class").to_string();
        assert!(error.contains("labels.csv as --data"), "{error}");
    }
}
