use std::path::{Path, PathBuf};

use crate::image::is_picture_name;

/// Bytes of a list.
const LIST_BYTES_MAX: u64 = 64 << 20;
/// Folders inside folders.
const DEPTH_MAX: usize = 16;

/// A picture to ask about.
#[derive(Debug, PartialEq)]
pub struct Picture {
    /// Its file.
    pub path: PathBuf,
    /// The class that it is known to be, by its index.
    pub class: Option<usize>,
}

/// Pictures that cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum PicturesError {
    /// The folder or list cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A list that is no list.
    #[error("{}: a list has at most {LIST_BYTES_MAX} bytes, with a picture's path and perhaps its class index on each line", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// Nothing there.
    #[error("{}: there are no pictures", path.display())]
    None {
        /// Where.
        path: PathBuf,
    },
}

/// The pictures of a folder and the folders in it, those of a list, whose paths begin at its own folder, or the one
/// picture that the path is.
pub fn find(path: &Path) -> Result<Vec<Picture>, PicturesError> {
    let io = |source| PicturesError::Io { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    let pictures = if metadata.is_dir() {
        let mut pictures = Vec::new();
        walk(path, DEPTH_MAX, &mut pictures).map_err(io)?;
        pictures
    } else if is_picture_name(path) {
        vec![Picture { path: path.to_owned(), class: None }]
    } else if metadata.len() > LIST_BYTES_MAX {
        return Err(PicturesError::TooLarge { path: path.to_owned() });
    } else {
        let text = std::fs::read_to_string(path).map_err(io)?;
        list(&text, path.parent().unwrap_or(Path::new("")))
    };
    if pictures.is_empty() { Err(PicturesError::None { path: path.to_owned() }) } else { Ok(pictures) }
}

fn walk(folder: &Path, depth: usize, pictures: &mut Vec<Picture>) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for path in entries.into_iter().map(|e| e.path()) {
        if path.is_dir() {
            if depth > 0 {
                walk(&path, depth - 1, pictures)?;
            }
        } else if is_picture_name(&path) {
            pictures.push(Picture { path, class: None });
        }
    }
    Ok(())
}

/// `<path>` or, as VTAB-1k's lists, `<path> <class index>`; paths may have spaces.
fn list(text: &str, folder: &Path) -> Vec<Picture> {
    let picture = |line: &str| {
        let labelled = line.rsplit_once(' ').and_then(|(path, class)| Some((path, Some(class.parse().ok()?))));
        let (path, class) = labelled.unwrap_or((line, None));
        Picture { path: folder.join(path.trim_end()), class }
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_paths_with_spaces_and_perhaps_classes() {
        let pictures = list("a b.png 3\n\nc d.png\n/x/y.jpg 12\n", Path::new("/data"));
        let expected = [("/data/a b.png", Some(3)), ("/data/c d.png", None), ("/x/y.jpg", Some(12))];
        assert_eq!(pictures, expected.map(|(path, class)| Picture { path: path.into(), class }));
    }

    #[test]
    fn a_folder_is_walked_in_order_and_only_for_pictures() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("b")).expect("created");
        for name in ["c.PNG", "a.jpg", "notes.txt", "b/1.webp"] {
            std::fs::write(folder.path().join(name), b"").expect("written");
        }
        let found = find(folder.path()).expect("there are some");
        let names: Vec<_> = found.iter().filter_map(|p| p.path.strip_prefix(folder.path()).ok()).collect();
        assert_eq!(names, ["a.jpg", "b/1.webp", "c.PNG"].map(Path::new));
        let alone = folder.path().join("c.PNG");
        assert_eq!(find(&alone).expect("it is one"), [Picture { path: alone, class: None }]);
        assert!(matches!(find(&folder.path().join("notes.txt")), Err(PicturesError::None { .. })));
    }
}
