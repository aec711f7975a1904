use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use super::{DataError, Dataset, Example, Split, csv, folder, lists};

/// Reads labelled pictures in whichever form they have:
///
/// - a file is CSV with the titles `path,label[,split][,group]`: paths from its own folder, `|` between several labels;
/// - a folder with VTAB-1k's lists (`train800.txt`, `val200.txt`, `train800val200.txt`, `test.txt`, lines
///   `<path> <class>` with classes counted from 0, and perhaps `classes.txt`);
/// - a folder with a folder for each class, or with those in `train`, `val` and `test`.
///
/// Pictures that are in no split are put into one by their path's hash, class by class: 15 % to select on and 15 % to
/// report on. Where only those to select on are missing they are 20 % of those to fit on.
pub fn read(path: &Path) -> Result<Dataset, DataError> {
    let metadata = std::fs::metadata(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let data = if metadata.is_file() {
        csv::read(path)?
    } else if lists::are_in(path) {
        lists::read(path)?
    } else {
        folder::read(path)?
    };
    one_split_each(&data)?;
    Ok(data)
}

/// Refuses two paths of different splits or classes that lead to one file. Whether a file is there is found out when it is
/// read.
fn one_split_each(data: &Dataset) -> Result<(), DataError> {
    let mut seen: HashMap<PathBuf, (&Example, Split)> = HashMap::new();
    for split in [Split::Train, Split::Validation, Split::Test] {
        for example in data.of(split) {
            let Ok(real) = example.path.canonicalize() else { continue };
            let &mut (first, other) = seen.entry(real).or_insert((example, split));
            let [path, first_path] = [example, first].map(|example| example.path.clone());
            if other != split {
                return Err(DataError::SameFile { path, split, first: first_path, other });
            }
            if first.targets != example.targets {
                return Err(DataError::TwoClasses { path, first: first_path });
            }
        }
    }
    Ok(())
}

/// Whether pictures lie there in folders of their classes, so that every folder inside means something.
pub fn is_class_folders(path: &Path) -> bool {
    path.is_dir() && !lists::are_in(path)
}

/// Bytes of a list: ten million lines of a hundred.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// A text file; none when there is none.
pub fn text(path: &Path) -> Result<Option<String>, DataError> {
    let error = |source| DataError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(error(source)),
    };
    let mut text = String::new();
    file.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text).map_err(error)?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(DataError::TooLarge { path: path.to_owned(), bytes_max: TEXT_BYTES_MAX });
    }
    Ok(Some(text))
}

/// A relative path that does not climb out of its folder, written in the one way that tells it from others: without `.` and
/// doubled slashes.
pub fn inside(picture: &str) -> Option<String> {
    let part = |part| match part {
        Component::CurDir => Some(None),
        Component::Normal(name) => Some(name.to_str()),
        _ => None,
    };
    let parts: Vec<Option<&str>> = Path::new(picture).components().map(part).collect::<Option<_>>()?;
    let path = parts.into_iter().flatten().collect::<Vec<_>>().join("/");
    (!path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_in_one_split_by_whatever_paths() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("real")).expect("created");
        std::fs::write(folder.path().join("real/a.png"), []).expect("written");
        std::os::unix::fs::symlink("real", folder.path().join("alias")).expect("linked");
        let table = folder.path().join("data.csv");
        let read = |text: &str| {
            std::fs::write(&table, text).expect("written");
            read(&table).expect_err("one file")
        };
        let error = read("path,label,split\nreal/a.png,x,train\nalias/a.png,x,test\n").to_string();
        assert!(
            error.contains("alias/a.png is to report on and ") && error.contains("real/a.png to train on"),
            "{error}"
        );
        let error = read("path,label,split\nreal/a.png,x,train\nalias/a.png,y,train\n");
        assert!(matches!(error, DataError::TwoClasses { .. }), "{error}");
    }

    #[test]
    fn a_path_has_one_form_and_stays_inside() {
        for (written, form) in [("a.png", "a.png"), ("./a//b.png", "a/b.png"), ("a/./b c/", "a/b c")] {
            assert_eq!(inside(written).as_deref(), Some(form));
        }
        for outside in ["", ".", "/a", "../a", "a/../../b", "a/.."] {
            assert_eq!(inside(outside), None, "{outside}");
        }
    }
}
