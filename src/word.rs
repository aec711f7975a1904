//! Values that are written as one of a few words.
#![forbid(unsafe_code)]

/// The value of one of these words, or a sentence that names them all.
pub fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => Err(format!("use {}", words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", "))),
    }
}
