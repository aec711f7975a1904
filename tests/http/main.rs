//! The server end to end, in process, over real connections on port 0.

mod bad_input;
mod bench;
mod classify;
mod client;
mod commands;
mod compare;
mod frame;
mod gate;
mod keys;
mod lifecycle;
mod limits;
mod server;
mod tasks;

use client::{Reply, call, get, json};
use server::{Running, World};
