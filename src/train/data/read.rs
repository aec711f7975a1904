use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path};

use super::{DataError, Dataset, csv, folder, lists};

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
    if metadata.is_file() {
        csv::read(path)
    } else if lists::are_in(path) {
        lists::read(path)
    } else {
        folder::read(path)
    }
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
    fn a_path_has_one_form_and_stays_inside() {
        for (written, form) in [("a.png", "a.png"), ("./a//b.png", "a/b.png"), ("a/./b c/", "a/b c")] {
            assert_eq!(inside(written).as_deref(), Some(form));
        }
        for outside in ["", ".", "/a", "../a", "a/../../b", "a/.."] {
            assert_eq!(inside(outside), None, "{outside}");
        }
    }
}
