//! Training adapters: data, recipe, loss, optimizer and the loop that fits them.
//!
//! Engines compute features and the gradient of the adapter's flat vector ([`crate::engine::training`]); the head, its
//! loss and everything that decides live here, in f32 and on one thread, so that a seed gives one file.
#![forbid(unsafe_code)]

pub mod data;
