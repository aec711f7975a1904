use super::NetworkArgs;
use crate::cli::engine::EngineArgs;
use crate::commands::bench::train;

/// Measures a training step: images/s, share of the machine's peak, peak memory. A step is forward, backward and all
/// gradients of an RLRR adapter, with dropout, on random weights and pictures; the head and the optimizer's update,
/// which are no work of the engine, are left out.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    network: NetworkArgs,

    /// Pictures in a batch
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,

    /// Dropout rate of the last block; it grows from 0 at the first
    #[arg(long, default_value_t = 0.1, value_parser = rate)]
    dropout: f32,

    /// Bytes that activations may keep between forward and backward; 0 keeps one block at a time
    #[arg(long, default_value_t = 4 << 30)]
    memory_bytes_max: usize,

    /// Steps that are measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    engine: EngineArgs,
}

impl From<Args> for train::Args {
    fn from(args: Args) -> Self {
        Self {
            image_size: args.network.image_size,
            network: args.network.network(),
            engine: args.engine.engine,
            settings: args.engine.compute.settings(),
            batch: args.batch as usize,
            dropout: args.dropout,
            memory_bytes_max: args.memory_bytes_max,
            rounds: args.rounds as usize,
            json: args.json,
        }
    }
}

fn rate(text: &str) -> Result<f32, &'static str> {
    text.parse().ok().filter(|rate| (0.0..1.0).contains(rate)).ok_or("a rate is at least 0 and below 1")
}
