use std::path::{Path, PathBuf};

use super::Error;
use crate::train::data::is_class_folders;
use crate::train::run::is_own;

/// Refuses places of adapter and run that would destroy each other, or look like classes among the data.
pub fn check(out: &Path, run_dir: &Path, data: &Path) -> Result<(), Error> {
    let [real_out, real_run] = [out, run_dir].map(real);
    let in_run = real_out.parent() == Some(&real_run) && out.file_name().is_some_and(is_own);
    if real_out == real_run || in_run {
        return Err(Error::SameName(out.to_owned()));
    }
    let inside = |path: &Path| path.parent().is_some_and(|folder| folder.starts_with(real(data)));
    if is_class_folders(data) && (inside(&real_out) || inside(&real_run)) {
        return Err(Error::InData(data.to_owned()));
    }
    Ok(())
}

/// The path without links and dots, of which the end need not be there yet.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    there.map_or(absolute.clone(), |(folder, real)| match absolute.strip_prefix(folder) {
        Ok(rest) if rest.as_os_str().is_empty() => real,
        Ok(rest) => real.join(rest),
        Err(_) => absolute.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_are_one_by_any_spelling_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let data = at("data.csv");
        std::fs::write(&data, []).expect("written");
        std::fs::create_dir(at("there")).expect("made");
        std::os::unix::fs::symlink(at("there"), at("link")).expect("linked");
        let checked = |out: &str, run: &str| check(&at(out), &at(run), &data);
        for (out, run) in
            [("a", "a"), ("./a", "a"), ("there/a", "link/a"), ("run/config.json", "run"), ("link/lock", "there")]
        {
            assert!(matches!(checked(out, run), Err(Error::SameName(_))), "{out} {run}");
        }
        assert!(checked("run/a.safetensors", "run").is_ok() && checked("a", "b").is_ok());
        assert!(matches!(check(&at("there/x/a"), &at("b"), &at("link")), Err(Error::InData(_))));
        assert!(matches!(check(&at("a"), &at("there/run"), &at("there")), Err(Error::InData(_))));
        assert!(check(&at("there.safetensors"), &at("there.run"), &at("there")).is_ok());
    }
}
