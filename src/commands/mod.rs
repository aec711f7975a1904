//! One file per subcommand; each takes typed arguments, prints its result, and answers with a typed error.
#![forbid(unsafe_code)]

pub mod inspect;

/// Why a command failed, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backbone cannot be loaded.
    #[error(transparent)]
    Backbone(#[from] crate::backbone::BackboneError),
}
