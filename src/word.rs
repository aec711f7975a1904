//! Values that are written as one of a few words, and names in sentences.
#![forbid(unsafe_code)]

/// Names that a sentence lists.
const NAMED_MAX: usize = 10;

/// The first names in quotes, and how many there are beside.
pub fn quoted(names: &[String]) -> String {
    let mut quoted: Vec<String> = names.iter().take(NAMED_MAX).map(|name| format!("{name:?}")).collect();
    if names.len() > NAMED_MAX {
        quoted.push(format!("and {} more", names.len() - NAMED_MAX));
    }
    quoted.join(", ")
}

/// The value of one of these words, or a sentence that names them all.
pub fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => Err(format!("use {}", words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", "))),
    }
}
