use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Dataset, Example, PictureCache, PictureError};
use crate::hash::Hasher;
use crate::parallel;

/// What was found when every picture to fit and to select on was read.
#[derive(Debug)]
pub struct Checked {
    /// What is no picture, in the data's order.
    pub bad: Vec<BadFile>,
    /// `sha256:` + hex of the others: of each its split, its path below the data's folder, its bytes and its classes.
    pub hash: String,
    /// Pictures to select on whose very bytes are among those to fit on, in the data's order.
    pub twins: Vec<PathBuf>,
}

/// A file that is no picture, and why.
#[derive(Debug)]
pub struct BadFile {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: PictureError,
}

const TRAIN: &str = "train";

/// Reads and decodes every picture to fit and to select on, on that many threads, and takes those that cannot be decoded
/// out of the splits. Paths are hashed as they are below `root`, so that a data folder may move.
pub fn check(data: &mut Dataset, root: &Path, pictures: &PictureCache, threads: usize) -> Checked {
    let (mut bad, mut hasher) = (Vec::new(), Hasher::default());
    let (mut fitted, mut twins) = (HashSet::new(), Vec::new());
    for (name, split) in [(TRAIN, &mut data.train), ("validation", &mut data.validation)] {
        let read = |index: usize| pictures.hash(&split[index].path);
        let mut found = parallel::map(split.len(), threads, read).into_iter();
        hasher.update(format!("{name}\n").as_bytes());
        split.retain(|example| match found.next() {
            None => true,
            Some(Ok(content)) => {
                take(&mut hasher, root, example, &content);
                if name == TRAIN {
                    fitted.insert(content);
                } else if fitted.contains(&content) {
                    twins.push(example.path.clone());
                }
                true
            }
            Some(Err(error)) => {
                bad.push(BadFile { path: example.path.clone(), error });
                false
            }
        });
    }
    Checked { bad, hash: hasher.finish(), twins }
}

/// Fields end with a byte that no path has.
fn take(hasher: &mut Hasher, root: &Path, example: &Example, content: &str) {
    let path = example.path.strip_prefix(root).unwrap_or(&example.path);
    hasher.update(path.as_os_str().as_encoded_bytes());
    hasher.update(format!("\0{content}\0{:?}\0", example.targets).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/preprocess/images/cat.png");

    fn data(train: &[&Path], validation: &[&Path]) -> Dataset {
        let examples =
            |paths: &[&Path]| paths.iter().map(|path| Example { path: path.into(), targets: vec![0] }).collect();
        let (train, validation) = (examples(train), examples(validation));
        Dataset {
            labels: vec!["a".to_owned()],
            multi_label: false,
            train,
            validation,
            test: vec![],
            unplaced: 0,
            notes: vec![],
        }
    }

    #[test]
    fn what_is_no_picture_is_taken_out_and_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let good = Path::new(CAT);
        let [empty, missing] = ["empty.png", "missing.png"].map(|name| folder.path().join(name));
        std::fs::write(&empty, []).expect("written");
        let mut data = data(&[&empty, good, &missing, good], &[good]);
        let checked = check(&mut data, folder.path(), &PictureCache::new(0), 3);
        assert_eq!(checked.bad.iter().map(|bad| &bad.path).collect::<Vec<_>>(), [&empty, &missing]);
        assert_eq!((data.train.len(), data.validation.len()), (2, 1));
        assert_eq!(checked.twins, [good]);
    }

    #[test]
    fn the_hash_is_that_of_contents_wherever_the_folder_is() {
        let hash = |picture: &str, name: &str, validation: bool| {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join(name);
            std::fs::copy(Path::new(CAT).with_file_name(picture), &path).expect("copied");
            let paths: &[&Path] = &[&path];
            let mut data = if validation { data(&[], paths) } else { data(paths, &[]) };
            check(&mut data, folder.path(), &PictureCache::new(0), 1).hash
        };
        let first = hash("cat.png", "a.png", false);
        assert_eq!(first, hash("cat.png", "a.png", false));
        for other in [hash("tall.png", "a.png", false), hash("cat.png", "b.png", false), hash("cat.png", "a.png", true)]
        {
            assert_ne!(first, other);
        }
    }
}
