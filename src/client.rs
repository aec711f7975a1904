//! A client of the server, for commands.
#![forbid(unsafe_code)]

use std::fmt;
use std::thread::sleep;
use std::time::Duration;

use crate::adapter::Problem;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::Body;
use ureq::RequestBuilder;
use ureq::http::Response;
use ureq::typestate::WithBody;

/// How often an overloaded server is asked again.
const TRIES: usize = 8;
/// What a server that is overloaded can make us wait for at once.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A server, as its clients see it.
pub struct Client {
    agent: Agent,
    url: String,
    key: Option<String>,
}

/// What to ask of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The task.
    pub task: String,
    /// A version's number instead of the active one.
    pub version: Option<u64>,
    /// Classes listed at most.
    pub top_k: usize,
    /// Whether logits are wanted.
    pub logits: bool,
}

/// The answer to one picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The task that answered.
    pub task: String,
    /// Its version.
    pub version: u64,
    /// The version's content hash.
    pub hash: String,
    /// Most probable first.
    pub predictions: Vec<Prediction>,
    /// What the adapter's rule decides.
    pub decision: Decision,
    /// In class order, before the temperature, when they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logits: Option<Vec<f32>>,
}

/// A class and its calibrated probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Its name.
    pub label: String,
    /// Its place in the head.
    pub index: usize,
    /// In [0, 1].
    pub probability: f32,
}

/// What the adapter's rule decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Chosen classes, most probable first.
    pub labels: Vec<String>,
    /// Nothing was sure enough.
    pub abstained: bool,
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The task.
    pub task: String,
    /// The version that has the adapter.
    pub version: u64,
    /// Its content hash.
    pub hash: String,
    /// Whether it answers for the task now.
    pub active: bool,
}

/// Whether a server would take an adapter file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Validated {
    /// It would.
    pub valid: bool,
    /// Why not.
    pub problems: Vec<Fault>,
}

/// What is wrong with an adapter file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Fault {
    /// In the file.
    #[serde(rename = "where")]
    pub place: String,
    /// The fault.
    pub problem: String,
}

/// What a client needs to know of a task.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Described {
    /// Class names, in head order; none when no version of it is loaded.
    pub labels: Option<Vec<String>>,
    /// Whether they exclude each other.
    pub problem: Option<Problem>,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, version, active, .. } = self;
        write!(f, "published as version {version} of task {task}")?;
        if *active {
            Ok(())
        } else {
            write!(f, ", which is not the active one: POST /v1/tasks/{task}/activate makes it so")
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// The server could not be reached, or broke off.
    #[error("{url}: {why}; check that the server runs and the address is right")]
    Unreachable {
        /// Where.
        url: String,
        /// The system's or the protocol's words.
        why: String,
    },
    /// The server refused; the sentence is its own.
    #[error("{error}")]
    Refused {
        /// A sentence that says what to do.
        error: String,
        /// Which error; docs/errors.md.
        error_type: String,
        /// For the server's log.
        request_id: String,
    },
    /// Whatever answers there is no such server.
    #[error("{url}: answered {status}, and not as a manylens server does")]
    NotOurs {
        /// Where.
        url: String,
        /// The status.
        status: u16,
    },
}

/// The fields of the error object that a client needs.
#[derive(Deserialize)]
struct ErrorBody {
    error: String,
    error_type: String,
    request_id: String,
}

/// `{"results": […]}`
#[derive(Deserialize)]
struct Results {
    results: Vec<ItemBody>,
}

/// One of several answers, or why there is none.
#[derive(Deserialize)]
#[serde(untagged)]
enum ItemBody {
    Answer(Answer),
    Failed { error: String, error_type: String },
}

impl ItemBody {
    fn into_result(self) -> Result<Answer, ClientError> {
        match self {
            Self::Answer(answer) => Ok(answer),
            Self::Failed { error, error_type } => {
                Err(ClientError::Refused { error, error_type, request_id: String::new() })
            }
        }
    }
}

impl Client {
    /// A server at `http://host:port`, and the key that it wants.
    pub fn new(url: &str, key: Option<String>, timeout: Duration) -> Self {
        let config = Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).build();
        let scheme = if url.contains("://") { "" } else { "http://" };
        Self { agent: config.into(), url: format!("{scheme}{}", url.trim_end_matches('/')), key }
    }

    /// Asks about one picture. An overloaded server is asked again when it says.
    pub fn classify(&self, question: &Question, picture: &[u8]) -> Result<Answer, ClientError> {
        let path = format!("/v1/tasks/{}/classify", question.task);
        let mut query = vec![("top_k", question.top_k.to_string()), ("logits", question.logits.to_string())];
        query.extend(question.version.map(|version| ("version", version.to_string())));
        self.ask(&path, &query, picture)
    }

    /// Asks two versions of a task about one picture, in one call, for all classes.
    pub fn classify_by_two(&self, task: &str, versions: [u64; 2], picture: &[u8]) -> Result<[Answer; 2], ClientError> {
        let [a, b] = versions;
        let query = [("tasks", format!("{task}@{a},{task}@{b}")), ("top_k", u32::MAX.to_string())];
        let Results { results } = self.ask("/v1/classify", &query, picture)?;
        let both = |results: Vec<ItemBody>| <[ItemBody; 2]>::try_from(results).ok();
        match both(results).map(|both| both.map(ItemBody::into_result)) {
            Some([Ok(a), Ok(b)]) => Ok([a, b]),
            Some([Err(error), _] | [_, Err(error)]) => Err(error),
            None => Err(ClientError::NotOurs { url: self.url.clone(), status: 200 }),
        }
    }

    /// Uploads an adapter file as a new version of the task; the same bytes as before are the version of before.
    pub fn publish(&self, task: &str, adapter: &[u8]) -> Result<Published, ClientError> {
        let request = self.agent.put(&format!("{}/v1/tasks/{task}", self.url));
        self.send(request, adapter)
    }

    /// Asks whether an adapter file would be taken from whoever has the key; nothing is kept.
    pub fn validate(&self, adapter: &[u8]) -> Result<Validated, ClientError> {
        let request = self.agent.post(&format!("{}/v1/adapters/validate", self.url));
        self.send(request, adapter)
    }

    /// What the server says of a task; none when it has no such task.
    pub fn task(&self, task: &str) -> Result<Option<Described>, ClientError> {
        let request = self.with_key(self.agent.get(&format!("{}/v1/tasks/{task}", self.url)));
        let mut response = request.call().map_err(|error| self.unreachable(&error))?;
        if response.status().as_u16() == 404 { Ok(None) } else { self.read(&mut response).map(Some) }
    }

    /// Posts a picture until the server is not overloaded.
    fn ask<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)], picture: &[u8]) -> Result<T, ClientError> {
        let mut tries = 1;
        loop {
            let mut response = self.post(path, query, picture)?;
            let wait = retry_after(&response).filter(|_| tries < TRIES);
            match wait {
                Some(wait) => sleep(wait),
                None => return self.read(&mut response),
            }
            tries += 1;
        }
    }

    fn post(&self, path: &str, query: &[(&str, String)], picture: &[u8]) -> Result<Response<Body>, ClientError> {
        let url = format!("{}{path}", self.url);
        let mut request = self.agent.post(&url).content_type("application/octet-stream");
        request = query.iter().fold(request, |request, (name, value)| request.query(*name, value));
        self.with_key(request).send(picture).map_err(|error| self.unreachable(&error))
    }

    /// Hands an adapter file over.
    fn send<T: DeserializeOwned>(&self, request: RequestBuilder<WithBody>, adapter: &[u8]) -> Result<T, ClientError> {
        let request = self.with_key(request.content_type("application/octet-stream"));
        let mut response = request.send(adapter).map_err(|error| self.unreachable(&error))?;
        self.read(&mut response)
    }

    fn with_key<Body>(&self, request: RequestBuilder<Body>) -> RequestBuilder<Body> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    fn read<T: DeserializeOwned>(&self, response: &mut Response<Body>) -> Result<T, ClientError> {
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| self.unreachable(&error))?;
        let not_ours = |_| ClientError::NotOurs { url: self.url.clone(), status };
        if status == 200 || status == 201 {
            return serde_json::from_slice(&body).map_err(not_ours);
        }
        let ErrorBody { error, error_type, request_id } = serde_json::from_slice(&body).map_err(not_ours)?;
        Err(ClientError::Refused { error, error_type, request_id })
    }

    fn unreachable(&self, error: &ureq::Error) -> ClientError {
        ClientError::Unreachable { url: self.url.clone(), why: error.to_string() }
    }
}

/// How long an overloaded server wants us to wait.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    if response.status().as_u16() != 429 {
        return None;
    }
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(WAIT_MAX))
}
