use std::path::PathBuf;
use std::time::Duration;

use crate::cli::classify::inference_key;
use crate::commands::Error;
use crate::commands::bench::serve;

/// Measure a running server: latency over the load
///
/// Finds the throughput with clients that wait for their answers, then offers parts of it in requests that begin at
/// random times whatever becomes of the earlier ones (Poisson). Latency counts from the time at which a request was
/// meant to begin. Above its throughput a server's queue fills, and it answers 429 when it is full.
#[derive(clap::Args)]
pub struct Args {
    /// The server, http://host:port
    #[arg(value_name = "URL")]
    url: String,

    /// Picture files and folders of them [default: a picture that is made, which costs no decoding]
    #[arg(value_name = "PICTURE")]
    pictures: Vec<PathBuf>,

    /// Tasks, asked in turns
    #[arg(long = "task", value_name = "TASK", value_delimiter = ',', required = true)]
    tasks: Vec<String>,

    /// Size of the picture that is made when none is given
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "224x224", value_parser = size)]
    made: (u16, u16),

    /// Clients that wait for their answers, to find the throughput
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512))]
    clients: u16,

    /// Time for the throughput and for each load
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Offered loads as parts of the throughput
    #[arg(long, value_delimiter = ',', default_value = "0.2,0.4,0.6,0.8,0.9,1,1.1,1.2", value_parser = part)]
    loads: Vec<f64>,

    /// Draw the curve of latency over load into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// File whose first line is the key [default: MANYLENS_INFERENCE_KEY, if set]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl TryFrom<Args> for serve::Args {
    type Error = Error;

    fn try_from(args: Args) -> Result<Self, Error> {
        Ok(Self {
            url: args.url,
            key: inference_key(args.key_file)?,
            tasks: args.tasks,
            pictures: args.pictures,
            made: args.made,
            clients: args.clients.into(),
            time: Duration::from_secs(args.seconds),
            loads: args.loads,
            svg: args.svg,
            json: args.json,
        })
    }
}

fn size(text: &str) -> Result<(u16, u16), &'static str> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=8192).contains(side));
    let size = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    size.ok_or("a size is two numbers of pixels, at most 8192, such as 224x224")
}

fn part(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|part| (0.01..=20.0).contains(part)).ok_or("a load is 0.01 to 20 times the throughput")
}
