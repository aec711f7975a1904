//! One frozen Vision Transformer, many tasks.
//!
//! manylens keeps one ViT backbone resident and applies tiny per-task adapters (RLRR, CVPR 2024: a low-rank rescaling
//! of the frozen weights) at request time, so that one server answers for every task in mixed batches.
//! ARCHITECTURE.md draws the way of the data and says which room may know which.
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[macro_use]
mod out;

pub mod adapter;
pub mod app;
pub mod archive;
pub mod backbone;
pub mod capped;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod durable;
pub mod engine;
pub mod evaluate;
pub mod hash;
pub mod html;
pub mod http;
pub mod image;
pub mod memory;
pub mod metrics;
pub mod parallel;
pub mod random;
pub mod registry;
pub mod serving;
pub mod table;
pub mod telemetry;
pub mod tensors;
pub mod train;
pub mod vit;
pub mod word;
