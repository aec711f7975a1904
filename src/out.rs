//! Standard streams that may end before we do. `println!` and `eprintln!` of the standard library panic when their reader
//! has gone (`manylens train … 2>&1 | head`) or their file has no room, and a training would end as if it had failed.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

static FAILED: AtomicBool = AtomicBool::new(false);

/// The standard library's, for a reader that may have gone.
macro_rules! print {
    ($($text:tt)*) => { $crate::out::write(format_args!($($text)*)) };
}

/// The standard library's, for a reader that may have gone.
macro_rules! println {
    ($($text:tt)*) => { $crate::out::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// The standard library's, for a reader that may have gone.
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::out::note(format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes, and says once on standard error why it could not. A reader that has gone wanted no more.
pub fn write(text: Arguments<'_>) {
    let mut out = stdout().lock();
    let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) else { return };
    if error.kind() != ErrorKind::BrokenPipe && !FAILED.swap(true, Ordering::Relaxed) {
        eprintln!("manylens: standard output: {error}");
    }
}

/// Writes to standard error as one piece. There is nowhere left to say that it cannot be written to.
pub fn note(text: Arguments<'_>) {
    let _ = stderr().write_all(text.to_string().as_bytes());
}

/// Whether anything was lost that somebody wanted to read.
pub fn failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}
