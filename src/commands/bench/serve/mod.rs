//! `manylens bench serve`: latency and throughput of a running server, over the load.

mod connection;
mod curve;
mod load;
mod made;
mod plan;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::Serialize;

use super::turns;
use crate::client::{Client, ClientError, Question};
use crate::commands::file::ReadError;
use crate::commands::{self, PicturesError, file, pictures};
use crate::table::table;
use load::{Target, millis};
use plan::Step;

pub use made::picture as made;

/// Bytes of one picture.
const PICTURE_BYTES_MAX: u64 = 32 << 20;
/// For the first answer, which shows that the server, the key and the tasks are right.
const FIRST_TIMEOUT: Duration = Duration::from_secs(60);

/// What to measure.
pub struct Args {
    /// `http://host:port`
    pub url: String,
    /// What the server wants to see.
    pub key: Option<String>,
    /// Tasks that are asked in turns.
    pub tasks: Vec<String>,
    /// Picture files and folders; a picture of `made` pixels, width and height, when there are none.
    pub pictures: Vec<PathBuf>,
    /// Width and height of the picture that is made.
    pub made: (u16, u16),
    /// Clients that wait for their answers, to find the throughput.
    pub clients: usize,
    /// Time for each load.
    pub time: Duration,
    /// Loads as parts of the throughput.
    pub loads: Vec<f64>,
    /// Where the curve is drawn.
    pub svg: Option<PathBuf>,
    /// JSON instead of a table.
    pub json: bool,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No address that we can connect to.
    #[error("{0}: give the server's address as http://host:port")]
    Url(String),
    /// The server or its answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A picture.
    #[error(transparent)]
    Pictures(#[from] PicturesError),
    /// A picture's file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The curve's file.
    #[error("{}: {source}", path.display())]
    Svg {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The clients got no answer with 200.
    #[error("{0}: no request was answered while the throughput was measured; look into the server's log")]
    Silent(String),
    /// The process has no runtime.
    #[error("the system refused: {0}")]
    Runtime(std::io::Error),
}

/// Measures and prints.
pub fn run(args: &Args) -> Result<ExitCode, commands::Error> {
    let report = measure(args)?;
    if let Some(path) = &args.svg {
        let curve = curve::svg(&report.title(), report.throughput, &report.results);
        std::fs::write(path, curve).map_err(|source| Error::Svg { path: path.clone(), source })?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("a report is plain data"));
    } else {
        println!("{}", report.table());
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args) -> Result<Report, Error> {
    let pictures = read(args)?;
    let client = Client::new(&args.url, args.key.clone(), FIRST_TIMEOUT);
    for task in &args.tasks {
        let question = Question { task: task.clone(), version: None, top_k: 1, logits: false };
        client.classify(&question, &pictures[0])?;
    }
    let address = address(&args.url)?;
    let turns = pictures.len().max(args.tasks.len());
    let request = |turn: usize| {
        let task = &args.tasks[turn % args.tasks.len()];
        request(&address, task, args.key.as_deref(), &pictures[turn % pictures.len()])
    };
    let target = Target::new(address.clone(), (0..turns).map(request).collect());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let bar = turns::bar(0, args.url.clone());
    bar.set_length(millis(args.time) * (1 + args.loads.len() as u64));
    let begun = (Instant::now(), processor_seconds());
    let (throughput, results) = runtime.block_on(loads(args, &target, &bar))?;
    bar.finish_and_clear();
    let used = processor_seconds().zip(begun.1).map(|(end, begin)| end - begin);
    let client_cores = used.map(|seconds| seconds / begun.0.elapsed().as_secs_f64());
    Ok(Report {
        url: args.url.clone(),
        tasks: args.tasks.len(),
        pictures: pictures.len(),
        throughput,
        client_cores,
        results,
    })
}

async fn loads(args: &Args, target: &Arc<Target>, bar: &ProgressBar) -> Result<(f64, Vec<Step>), Error> {
    let throughput = target.closed_loop(args.clients, args.time, bar).await;
    if throughput == 0.0 {
        return Err(Error::Silent(args.url.clone()));
    }
    let mut steps = Vec::new();
    for (seed, &load) in args.loads.iter().enumerate() {
        let arrivals = plan::arrivals(load * throughput, args.time, seed as u64);
        let samples = target.open_loop(&arrivals, bar).await;
        steps.push(Step::of(load, args.time, &samples));
    }
    Ok((throughput, steps))
}

fn read(args: &Args) -> Result<Vec<Vec<u8>>, Error> {
    if args.pictures.is_empty() {
        return Ok(vec![made(args.made)]);
    }
    let mut read = Vec::new();
    for path in &args.pictures {
        for picture in pictures::find(path)? {
            read.push(file::read(&picture.path, PICTURE_BYTES_MAX)?);
        }
    }
    Ok(read)
}

/// `host:port` of `http://host:port`.
fn address(url: &str) -> Result<String, Error> {
    let address = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let address = address.filter(|rest| !rest.is_empty() && !rest.contains(['/', '@', '?', '#', '\r', '\n']));
    let address = address.ok_or_else(|| Error::Url(url.to_owned()))?;
    let port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(if port { address.to_owned() } else { format!("{address}:80") })
}

fn request(host: &str, task: &str, key: Option<&str>, picture: &[u8]) -> Vec<u8> {
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let length = picture.len();
    let head = format!(
        "POST /v1/tasks/{task}/classify?top_k=1 HTTP/1.1\r\nhost: {host}\r\n{key}\
         content-type: application/octet-stream\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), picture].concat()
}

fn processor_seconds() -> Option<f64> {
    plan::processor_seconds(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// What was measured.
#[derive(Serialize)]
struct Report {
    url: String,
    /// Tasks that were asked in turns.
    tasks: usize,
    /// Different pictures.
    pictures: usize,
    /// Answers per second to clients that always wait for one.
    throughput: f64,
    /// Cores that this client took, which a server beside it lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cores: Option<f64>,
    /// One per load.
    results: Vec<Step>,
}

impl Report {
    fn title(&self) -> String {
        let Self { url, tasks, pictures, .. } = self;
        format!("{url}, {tasks} tasks, {pictures} pictures in turns")
    }

    fn table(&self) -> String {
        let titles = ["load", "offered/s", "answered/s", "p50 ms", "p99 ms", "200", "429", "504", "other"];
        let ms = |ms: Option<f64>| ms.map(|ms| format!("{ms:.1}")).unwrap_or_default();
        let row = |step: &Step| {
            let mut row = vec![format!("{:.2}", step.load)];
            row.extend([step.offered_per_second, step.answered_per_second].map(|rate| format!("{rate:.1}")));
            row.extend([step.p50_ms, step.p99_ms].map(ms));
            row.extend([step.ok, step.overloaded, step.late, step.failed].map(|count| count.to_string()));
            row
        };
        let rows: Vec<_> = self.results.iter().map(row).collect();
        let cores = self.client_cores.map(|cores| format!("; this client took {cores:.2} cores")).unwrap_or_default();
        format!("{}\n{}\nthroughput {:.1}/s{cores}", self.title(), table(&titles, &rows), self.throughput)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let address = |url| address(url).ok();
        assert_eq!(address("http://localhost:8080/").as_deref(), Some("localhost:8080"));
        assert_eq!(address("http://[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(address("http://example").as_deref(), Some("example:80"));
        for url in ["localhost:8080", "https://example", "http://", "http://a/b", "http://a\r\nb"] {
            assert_eq!(address(url), None, "{url:?}");
        }
    }

    #[test]
    fn a_request_is_whole() {
        let request = request("a:1", "t", Some("secret"), b"body");
        let text = String::from_utf8(request).expect("text");
        assert!(text.starts_with("POST /v1/tasks/t/classify?top_k=1 HTTP/1.1\r\nhost: a:1\r\n"), "{text}");
        assert!(text.contains("\r\nauthorization: Bearer secret\r\n"), "{text}");
        assert!(text.ends_with("\r\ncontent-length: 4\r\n\r\nbody"), "{text}");
    }
}
