use std::fmt::Display;

/// Bad files that are named one by one.
const NAMED_MAX: usize = 20;

/// Files that are no pictures, and nobody said that they may be left out.
#[derive(Debug, thiserror::Error)]
#[error("files that cannot be used as pictures: {0}; mend them, or leave them out by --on-bad-file skip")]
pub struct BadFiles(pub usize);

/// Names the first of the bad files, and says that all are left out if they may be.
pub fn leave_out(bad: &[impl Display], may_skip: bool) -> Result<(), BadFiles> {
    bad.iter().take(NAMED_MAX).for_each(|bad| eprintln!("{bad}"));
    match bad.len() {
        0 => {}
        count if may_skip => eprintln!("files that cannot be used as pictures and are left out: {count}"),
        count => return Err(BadFiles(count)),
    }
    Ok(())
}
