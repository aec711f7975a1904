use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Dataset, Example};

/// Class names, one a line.
const CLASSES: &str = "classes.txt";
const TRAIN: &str = "train800.txt";
const VALIDATION: &str = "val200.txt";
const TEST: &str = "test.txt";

/// Why lists cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The system's answer.
    #[error("{}: {source}; a data folder in VTAB-1k's form has train800.txt, val200.txt and test.txt", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line that is no `<path> <label>`.
    #[error("{}: line {line} is {found:?}; it must be a path inside the folder, a blank, and a class counted from 0", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// A class that has no name.
    #[error("{}: line {line} has class {class}, and there are {classes} classes, counted from 0", path.display())]
    Class {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The class.
        class: usize,
        /// As many as there are names.
        classes: usize,
    },
}

/// Reads a folder with VTAB-1k's lists: `train800.txt`, `val200.txt`, `test.txt` with lines `<path> <class>`, the path
/// relative to the folder and the class counted from 0. Names are the lines of `classes.txt`; without it they are the
/// classes' numbers. A list that is not there is an empty split; the list to train on must be there.
pub fn read(folder: &Path) -> Result<Dataset, DataError> {
    let names = text(&folder.join(CLASSES))?;
    let named: Option<Vec<String>> = names.map(|names| names.lines().map(|name| name.trim().to_owned()).collect());
    let classes = named.as_ref().map_or(CLASSES_MAX, Vec::len);
    let train = folder.join(TRAIN);
    let missing = || DataError::Read { path: train.clone(), source: io::ErrorKind::NotFound.into() };
    let train = split(folder, TRAIN, classes)?.ok_or_else(missing)?;
    let [validation, test] = [VALIDATION, TEST].map(|list| split(folder, list, classes));
    let (validation, test) = (validation?.unwrap_or_default(), test?.unwrap_or_default());
    let largest = train.iter().chain(&validation).chain(&test).flat_map(|example| &example.targets).max();
    let numbers = || (0..largest.map_or(0, |largest| largest + 1)).map(|class| class.to_string()).collect();
    Ok(Dataset { labels: named.unwrap_or_else(numbers), multi_label: false, train, validation, test })
}

/// Classes that a head may have.
const CLASSES_MAX: usize = 32_768;

fn split(folder: &Path, list: &str, classes: usize) -> Result<Option<Vec<Example>>, DataError> {
    let path = folder.join(list);
    let Some(text) = text(&path)? else { return Ok(None) };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let example = |(index, line): (usize, &str)| {
        let parsed = line.trim().rsplit_once(char::is_whitespace).and_then(|(p, class)| Some((p, class.parse().ok()?)));
        let line_number = index + 1;
        let Some((picture, class)) = parsed.filter(|(picture, _)| is_inside(picture)) else {
            return Err(DataError::Line { path: path.clone(), line: line_number, found: line.to_owned() });
        };
        if class >= classes {
            return Err(DataError::Class { path: path.clone(), line: line_number, class, classes });
        }
        Ok(Example { path: folder.join(picture.trim_end()), targets: vec![class] })
    };
    lines.map(example).collect::<Result<_, _>>().map(Some)
}

/// A relative path that does not climb out of its folder.
fn is_inside(picture: &str) -> bool {
    let path = Path::new(picture);
    path.is_relative() && !path.components().any(|part| part == std::path::Component::ParentDir)
}

fn text(path: &Path) -> Result<Option<String>, DataError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).expect("written"));
        folder
    }

    #[test]
    fn lists_are_splits_with_named_classes() {
        let folder = folder(&[
            ("classes.txt", "cat\ndog\n"),
            ("train800.txt", "a b.png 1\nc.png 0\n"),
            ("val200.txt", "d.png 1\n"),
        ]);
        let data = read(folder.path()).expect("data");
        assert_eq!(data.labels, ["cat", "dog"]);
        let example = |name: &str, class| Example { path: folder.path().join(name), targets: vec![class] };
        assert_eq!(data.train, [example("a b.png", 1), example("c.png", 0)]);
        assert_eq!((data.validation, data.test), (vec![example("d.png", 1)], vec![]));
    }

    #[test]
    fn classes_without_names_are_numbers() {
        let folder = folder(&[("train800.txt", "a.png 0\nb.png 2\n")]);
        assert_eq!(read(folder.path()).expect("data").labels, ["0", "1", "2"]);
    }

    #[test]
    fn faults_are_named_with_their_line() {
        for (line, part) in [
            ("a.png", "line 2"),
            ("a.png x", "line 2"),
            ("../a.png 0", "line 2"),
            ("/etc/a.png 0", "line 2"),
            ("a.png 7", "class 7, and there are 2 classes"),
        ] {
            let folder = folder(&[("classes.txt", "cat\ndog\n"), ("train800.txt", &format!("b.png 0\n{line}\n"))]);
            let error = read(folder.path()).expect_err(line).to_string();
            assert!(error.contains(part) && error.contains("train800.txt"), "{error}");
        }
        let error = read(folder(&[]).path()).expect_err("no lists").to_string();
        assert!(error.contains("train800.txt"), "{error}");
    }
}
