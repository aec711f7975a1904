use std::path::PathBuf;

use super::{Dataset, PictureCache, PictureError};
use crate::parallel;

/// A file that is no picture, and why.
#[derive(Debug)]
pub struct BadFile {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: PictureError,
}

/// Decodes every picture to fit and to select on, on that many threads, takes those that cannot be decoded out of the
/// splits, and answers with them in the data's order.
pub fn take_bad_files(data: &mut Dataset, pictures: &PictureCache, threads: usize) -> Vec<BadFile> {
    let mut bad = Vec::new();
    for split in [&mut data.train, &mut data.validation] {
        let error = |index: usize| pictures.picture(&split[index].path).err();
        let mut errors = parallel::map(split.len(), threads, error).into_iter();
        split.retain(|example| match errors.next().flatten() {
            None => true,
            Some(error) => {
                bad.push(BadFile { path: example.path.clone(), error });
                false
            }
        });
    }
    bad
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::Example;

    #[test]
    fn what_is_no_picture_is_taken_out_and_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let good = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/preprocess/images/cat.png"));
        let [empty, missing] = ["empty.png", "missing.png"].map(|name| folder.path().join(name));
        std::fs::write(&empty, []).expect("written");
        let example = |path: &PathBuf| Example { path: path.clone(), targets: vec![0] };
        let train = [&empty, &good, &missing, &good].map(example).to_vec();
        let labels = vec!["a".to_owned()];
        let mut data = Dataset { labels, multi_label: false, train, validation: vec![example(&good)], test: vec![] };
        let bad = take_bad_files(&mut data, &PictureCache::new(0), 3);
        assert_eq!(bad.iter().map(|bad| &bad.path).collect::<Vec<_>>(), [&empty, &missing]);
        assert_eq!((data.train.len(), data.validation.len()), (2, 1));
    }
}
