use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::placed::Placed;
use super::read::{inside, text};
use super::split::Split;
use super::{DataError, Dataset, Example};

/// Class names, one a line.
const CLASSES: &str = "classes.txt";
const TRAIN: &str = "train800.txt";
const VALIDATION: &str = "val200.txt";
/// The two together; read where they are not there.
const BOTH: &str = "train800val200.txt";
const TEST: &str = "test.txt";

/// Classes that a head may have.
const CLASSES_MAX: usize = 32_768;

/// Whether a folder has VTAB-1k's lists.
pub fn are_in(folder: &Path) -> bool {
    [TRAIN, BOTH, TEST].iter().any(|list| folder.join(list).is_file())
}

/// Reads a folder with VTAB-1k's lists: `train800.txt`, `val200.txt`, `test.txt` with lines `<path> <class>`, the path
/// relative to the folder and the class counted from 0. Where `train800.txt` is not there, `train800val200.txt` is split.
/// Names are the lines of `classes.txt`; without it they are the classes' numbers. A list that is not there is an empty
/// split.
pub fn read(folder: &Path) -> Result<Dataset, DataError> {
    let named = names(&folder.join(CLASSES))?;
    let classes = named.as_ref().map_or(CLASSES_MAX, Vec::len);
    let lists: &[(&str, Split)] = if folder.join(TRAIN).is_file() {
        &[(TRAIN, Split::Train), (VALIDATION, Split::Validation), (TEST, Split::Test)]
    } else {
        &[(BOTH, Split::Train), (TEST, Split::Test)]
    };
    let mut placed = Placed::default();
    let (mut largest, mut split_of) = (None, HashMap::new());
    for &(list, split) in lists {
        let path = folder.join(list);
        for Line { line, picture, class } in examples(&path, classes)? {
            largest = largest.max(Some(class));
            // A list may have a picture twice, to make it count twice.
            let first = *split_of.entry(picture.clone()).or_insert(split);
            if first != split {
                return Err(DataError::TwoSplits { path, line, found: picture, other: first.verb() });
            }
            let example = Example { path: folder.join(&picture), targets: vec![class] };
            placed.add(Some(split), picture, example);
        }
    }
    let Some(largest) = largest else { return Err(DataError::Empty(folder.to_owned())) };
    let numbers = || (0..=largest).map(|class| class.to_string()).collect();
    Ok(placed.dataset(named.unwrap_or_else(numbers), false))
}

fn names(path: &Path) -> Result<Option<Vec<String>>, DataError> {
    let Some(text) = text(path)? else { return Ok(None) };
    let names: Vec<String> = text.trim_end().lines().map(|name| name.trim().to_owned()).collect();
    let mut seen = HashSet::new();
    for (line, name) in (1..).zip(&names) {
        if name.is_empty() {
            let expected = "the name of a class";
            return Err(DataError::Line { path: path.to_owned(), line, found: String::new(), expected });
        }
        if !seen.insert(name) {
            return Err(DataError::Twice { path: path.to_owned(), line, found: name.clone() });
        }
    }
    Ok(Some(names))
}

/// What a list says of a picture.
struct Line {
    line: u64,
    picture: String,
    class: usize,
}

fn examples(path: &Path, classes: usize) -> Result<Vec<Line>, DataError> {
    let text = text(path)?.unwrap_or_default();
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let example = |(line, found): (u64, &str)| {
        let parsed = found.trim().rsplit_once(char::is_whitespace);
        let parsed = parsed.and_then(|(picture, class)| Some((inside(picture.trim_end())?, class.parse().ok()?)));
        let Some((picture, class)) = parsed else {
            let expected = "a path inside the folder, a blank, and a class counted from 0";
            let found = found.chars().take(SHOWN_MAX).collect();
            return Err(DataError::Line { path: path.to_owned(), line, found, expected });
        };
        if class >= classes {
            return Err(DataError::Class { path: path.to_owned(), line, class, classes });
        }
        Ok(Line { line, picture, class })
    };
    lines.map(example).collect()
}

/// Characters of a line that an error shows.
const SHOWN_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).expect("written"));
        folder
    }

    #[test]
    fn lists_are_splits_with_named_classes() {
        let files =
            [("classes.txt", "cat\ndog\n"), ("train800.txt", "a b.png 1\nc.png 0\n"), ("val200.txt", "d.png 1\n")];
        let folder = folder(&files);
        let data = read(folder.path()).expect("data");
        assert_eq!(data.labels, ["cat", "dog"]);
        let example = |name: &str, class| Example { path: folder.path().join(name), targets: vec![class] };
        assert_eq!(data.train, [example("a b.png", 1), example("c.png", 0)]);
        assert_eq!((data.validation, data.test), (vec![example("d.png", 1)], vec![]));
    }

    #[test]
    fn classes_without_names_are_numbers() {
        let folder = folder(&[("test.txt", "a.png 0\r\nb.png 2\r\n")]);
        let data = read(folder.path()).expect("data");
        assert_eq!((data.labels.join(" "), data.train.len(), data.test.len()), ("0 1 2".into(), 0, 2));
    }

    #[test]
    fn one_list_to_fit_on_is_split() {
        let lines: String = (0..20).map(|i| format!("{i}.png {}\n", i % 2)).collect();
        let folder = folder(&[("train800val200.txt", &lines)]);
        let data = read(folder.path()).expect("data");
        assert_eq!((data.train.len(), data.validation.len()), (16, 4));
    }

    #[test]
    fn faults_are_named_with_their_line() {
        for (line, part) in [
            ("a.png", "line 2"),
            ("a.png x", "line 2"),
            ("a.png -1", "line 2"),
            ("a.png 99999999999999999999", "line 2"),
            ("../a.png 0", "line 2"),
            ("/etc/a.png 0", "line 2"),
            ("a.png 7", "class 7, and there are 2 classes"),
        ] {
            let folder = folder(&[("classes.txt", "cat\ndog\n"), ("train800.txt", &format!("b.png 0\n{line}\n"))]);
            let error = read(folder.path()).expect_err(line).to_string();
            assert!(error.contains(part) && error.contains("train800.txt"), "{error}");
        }
        let both = folder(&[("train800.txt", "a.png 0\na.png 0\nb.png 1\n"), ("test.txt", "c.png 0\n./b.png 1\n")]);
        let error = read(both.path()).expect_err("b.png is in both").to_string();
        assert!(error.contains("test.txt: line 2 names \"b.png\", which is to train on already"), "{error}");
        let twice = folder(&[("classes.txt", "cat\ncat\n"), ("test.txt", "a.png 0\n")]);
        assert!(matches!(read(twice.path()), Err(DataError::Twice { line: 2, .. })));
    }
}
