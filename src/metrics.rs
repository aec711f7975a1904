//! Every metric the server exports, a documented line each. Names and labels are a contract (docs/metrics.md, and a
//! snapshot test): nothing here is renamed.
//!
//! Label values come from registered tasks and closed enums only: a name that a client made up never becomes a label.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::engine::Description;
use crate::engine::device::{DeviceMeter, Direction, Holding};

/// Request latencies, in seconds: from a cached tiny model to a shed queue.
const LATENCY: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Batch sizes, in rows or groups.
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Engine time of rows that belong to no registered task.
const OTHER: &str = "_other";

/// What became of a row or of a request: the closed set of `outcome` labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered.
    Ok,
    /// The picture or the request was refused.
    Invalid,
    /// Shed by admission.
    Overloaded,
    /// Its deadline passed before it ran.
    Deadline,
    /// The caller left before it ran.
    Cancelled,
    /// The engine failed or the answer was not finite.
    Error,
}

impl Outcome {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Invalid, Self::Overloaded, Self::Deadline, Self::Cancelled, Self::Error];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Invalid => "invalid",
            Self::Overloaded => "overloaded",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Error => "error",
        }
    }
}

/// A task's counters, by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Classify calls.
    pub requests: Vec<(Outcome, u64)>,
    /// Rows.
    pub rows: Vec<(Outcome, u64)>,
}

/// All metrics of one server.
pub struct Metrics {
    registry: Registry,
    task_histograms: Vec<String>,
    /// Registered tasks. Read while one of their series is written, so that no series outlives its task.
    tasks: RwLock<HashSet<String>>,
    /// Locked while its counts become metrics, so that two readers don't count the same bytes.
    device: Mutex<Option<Arc<DeviceMeter>>>,

    /// `manylens_requests_total{task,outcome}`: classify calls, one per task asked for.
    pub requests_total: IntCounterVec,
    /// `manylens_rows_total{task,outcome}`: rows (picture × task).
    pub rows_total: IntCounterVec,
    /// `manylens_task_engine_seconds_total{task}`: engine time by task; adds up to `engine_busy_seconds_total`. Probes
    /// and tasks that have gone meanwhile share `_other`, which no task can be called.
    pub task_engine_seconds_total: CounterVec,
    /// `manylens_engine_busy_seconds_total`: time the engine spent running batches.
    pub engine_busy_seconds_total: Counter,
    /// `manylens_engine_rows_total`: rows that reached the engine, probes included.
    pub engine_rows_total: Counter,
    /// `manylens_task_last_request_timestamp_seconds{task}`: Unix time of the last classify call.
    pub task_last_request_timestamp_seconds: GaugeVec,
    /// `manylens_task_info{task,version,hash}`: 1 for the active version of each task.
    pub task_info: GaugeVec,
    /// `manylens_request_duration_seconds{endpoint}`: whole requests by route.
    pub request_duration_seconds: HistogramVec,
    /// `manylens_task_request_duration_seconds{task}`: only for tasks named by `--metrics-task-histograms`.
    pub task_request_duration_seconds: HistogramVec,
    /// `manylens_stage_duration_seconds{stage}`: receive, decode, queue, inference.
    pub stage_duration_seconds: HistogramVec,
    /// `manylens_batch_rows`: rows per engine batch.
    pub batch_rows: Histogram,
    /// `manylens_batch_groups`: different adapters per engine batch.
    pub batch_groups: Histogram,
    /// `manylens_planner_batches_total{why}`: batches by what decided about their size.
    pub planner_batches_total: IntCounterVec,
    /// `manylens_planner_batch_seconds{rows}`: what a batch of so many rows takes; 1, 2, 4 … and the largest.
    pub planner_batch_seconds: GaugeVec,
    /// `manylens_queue_rows`: rows waiting for the engine.
    pub queue_rows: IntGauge,
    /// `manylens_in_flight_requests`: admitted and not yet answered.
    pub in_flight_requests: IntGauge,
    /// `manylens_in_flight_bytes`: body bytes reserved.
    pub in_flight_bytes: IntGauge,
    /// `manylens_adapters_resident`: adapters in memory.
    pub adapters_resident: IntGauge,
    /// `manylens_uploads_total{outcome}`: created, unchanged, refused, failed.
    pub uploads_total: IntCounterVec,
    /// `manylens_upload_duration_seconds`: upload to live, the probe included.
    pub upload_duration_seconds: Histogram,
    /// `manylens_device_memory_bytes{device,kind}`: what the engine holds on its device.
    pub device_memory_bytes: IntGaugeVec,
    /// `manylens_device_copy_bytes_total{device,direction}`: bytes to the device and back.
    pub device_copy_bytes_total: IntCounterVec,
    /// `manylens_device_kernel_seconds_total{device}`: time in runs of graphs, launches included.
    pub device_kernel_seconds_total: CounterVec,
    /// `manylens_graph_replays_total{device}`: runs that replayed a captured graph.
    pub graph_replays_total: IntCounterVec,
    /// `manylens_build_info{version,engine,precision,kernel,backbone}`: 1.
    pub build_info: GaugeVec,
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("manylens_{name}"), help)
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec())
}

/// Registers a metric whose name and labels are constants of this file, so that failing is a mistake of this file.
fn add<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("metric names and labels are valid constants");
    registry.register(Box::new(metric.clone())).expect("metric names are unique");
    metric
}

impl Metrics {
    /// All metrics at zero. `task_histograms` are the tasks that get a latency histogram of their own.
    pub fn new(task_histograms: Vec<String>) -> Self {
        let registry = Registry::new();
        let r = &registry;
        let counters = |name, help, labels: &[&str]| add(r, IntCounterVec::new(opts(name, help), labels));
        let gauges = |name, help, labels: &[&str]| add(r, GaugeVec::new(opts(name, help), labels));
        let gauge = |name, help| add(r, IntGauge::with_opts(opts(name, help)));
        let counter = |name, help| add(r, Counter::with_opts(opts(name, help)));
        let histogram = |name, help, buckets| add(r, Histogram::with_opts(histogram_opts(name, help, buckets)));
        let histograms =
            |name, help, labels: &[&str]| add(r, HistogramVec::new(histogram_opts(name, help, LATENCY), labels));
        let metrics = Self {
            requests_total: counters("requests_total", "Classify calls, one per task asked for.", &["task", "outcome"]),
            rows_total: counters("rows_total", "Rows (picture x task) by outcome.", &["task", "outcome"]),
            task_engine_seconds_total: add(
                r,
                CounterVec::new(opts("task_engine_seconds_total", "Engine time by task."), &["task"]),
            ),
            engine_busy_seconds_total: counter("engine_busy_seconds_total", "Time the engine spent running batches."),
            engine_rows_total: counter("engine_rows_total", "Rows that reached the engine, probes included."),
            task_last_request_timestamp_seconds: gauges(
                "task_last_request_timestamp_seconds",
                "Unix time of the task's last classify call.",
                &["task"],
            ),
            task_info: gauges("task_info", "1 for the active version of each task.", &["task", "version", "hash"]),
            request_duration_seconds: histograms("request_duration_seconds", "Whole requests by route.", &["endpoint"]),
            task_request_duration_seconds: histograms(
                "task_request_duration_seconds",
                "Whole classify calls of the tasks named by --metrics-task-histograms.",
                &["task"],
            ),
            stage_duration_seconds: histograms("stage_duration_seconds", "Time by stage of a request.", &["stage"]),
            batch_rows: histogram("batch_rows", "Rows per engine batch.", BATCH),
            batch_groups: histogram("batch_groups", "Different adapters per engine batch.", BATCH),
            planner_batches_total: counters(
                "planner_batches_total",
                "Batches by what decided about their size.",
                &["why"],
            ),
            planner_batch_seconds: gauges(
                "planner_batch_seconds",
                "What a batch of so many rows takes; 0 while that is not known.",
                &["rows"],
            ),
            queue_rows: gauge("queue_rows", "Rows waiting for the engine."),
            in_flight_requests: gauge("in_flight_requests", "Requests admitted and not yet answered."),
            in_flight_bytes: gauge("in_flight_bytes", "Body bytes reserved by admitted requests."),
            adapters_resident: gauge("adapters_resident", "Adapters in memory."),
            uploads_total: counters("uploads_total", "Uploads by outcome.", &["outcome"]),
            upload_duration_seconds: histogram("upload_duration_seconds", "Upload to live, in seconds.", LATENCY),
            device_memory_bytes: add(
                r,
                IntGaugeVec::new(
                    opts("device_memory_bytes", "What the engine holds on its device."),
                    &["device", "kind"],
                ),
            ),
            device_copy_bytes_total: counters(
                "device_copy_bytes_total",
                "Bytes copied to the device and back.",
                &["device", "direction"],
            ),
            device_kernel_seconds_total: add(
                r,
                CounterVec::new(opts("device_kernel_seconds_total", "Time in runs of graphs."), &["device"]),
            ),
            graph_replays_total: counters("graph_replays_total", "Runs that replayed a captured graph.", &["device"]),
            build_info: gauges(
                "build_info",
                "1, labelled with what is running.",
                &["version", "engine", "precision", "kernel", "backbone"],
            ),
            task_histograms,
            tasks: RwLock::default(),
            device: Mutex::default(),
            registry,
        };
        metrics.start_at_zero();
        metrics
    }

    fn start_at_zero(&self) {
        for outcome in ["created", "unchanged", "refused", "failed"] {
            self.uploads_total.with_label_values(&[outcome]);
        }
        for stage in ["receive", "decode", "queue", "inference"] {
            self.stage_duration_seconds.with_label_values(&[stage]);
        }
        for why in ["all", "full", "one", "measure", "deadline"] {
            self.planner_batches_total.with_label_values(&[why]);
        }
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            self.registry.register(Box::new(process)).expect("process metrics are registered once");
        }
    }

    /// States what is running.
    pub fn set_build_info(&self, engine: &Description, backbone: &str) {
        let version = env!("CARGO_PKG_VERSION");
        let labels = [version, &engine.engine, &engine.precision, &engine.kernel, backbone];
        self.build_info.with_label_values(&labels).set(1.0);
    }

    /// What happens on the engine's device is told from now on; an engine without one has no such series.
    pub fn watch(&self, device: Option<Arc<DeviceMeter>>) {
        *self.device.lock().unwrap_or_else(PoisonError::into_inner) = device;
    }

    fn read_device(&self, meter: &DeviceMeter) {
        let device = meter.name();
        for kind in Holding::ALL {
            let bytes = i64::try_from(meter.memory_bytes(kind)).unwrap_or(i64::MAX);
            self.device_memory_bytes.with_label_values(&[device, kind.name()]).set(bytes);
        }
        for direction in Direction::ALL {
            let counter = self.device_copy_bytes_total.with_label_values(&[device, direction.name()]);
            counter.inc_by(meter.copied_bytes(direction).saturating_sub(counter.get()));
        }
        let seconds = self.device_kernel_seconds_total.with_label_values(&[device]);
        seconds.inc_by((meter.run_time().as_secs_f64() - seconds.get()).max(0.0));
        let replays = self.graph_replays_total.with_label_values(&[device]);
        replays.inc_by(meter.replays().saturating_sub(replays.get()));
    }

    /// Counters of a registered task exist at 0 from now on.
    pub fn add_task(&self, task: &str) {
        self.tasks.write().unwrap_or_else(PoisonError::into_inner).insert(task.to_owned());
        for outcome in Outcome::ALL {
            self.requests_total.with_label_values(&[task, outcome.as_str()]);
            self.rows_total.with_label_values(&[task, outcome.as_str()]);
        }
        self.task_engine_seconds_total.with_label_values(&[task]);
        if self.task_histograms.iter().any(|t| t == task) {
            self.task_request_duration_seconds.with_label_values(&[task]);
        }
    }

    /// The task's series vanish with it. An error only says that a series was never made.
    pub fn remove_task(&self, task: &str) {
        let mut tasks = self.tasks.write().unwrap_or_else(PoisonError::into_inner);
        tasks.remove(task);
        for outcome in Outcome::ALL {
            let _ = self.requests_total.remove_label_values(&[task, outcome.as_str()]);
            let _ = self.rows_total.remove_label_values(&[task, outcome.as_str()]);
        }
        let _ = self.task_engine_seconds_total.remove_label_values(&[task]);
        let _ = self.task_last_request_timestamp_seconds.remove_label_values(&[task]);
        let _ = self.task_request_duration_seconds.remove_label_values(&[task]);
    }

    /// Moves `task_info` from the former active version to the new one; `None` for none.
    pub fn set_active(&self, task: &str, old: Option<(u64, &str)>, new: Option<(u64, &str)>) {
        if let Some((version, hash)) = old {
            let _ = self.task_info.remove_label_values(&[task, &version.to_string(), hash]);
        }
        if let Some((version, hash)) = new {
            self.task_info.with_label_values(&[task, &version.to_string(), hash]).set(1.0);
        }
    }

    /// A row ended; counted only if its task is still registered.
    pub fn row(&self, task: &str, outcome: Outcome) {
        self.if_registered(task, || self.rows_total.with_label_values(&[task, outcome.as_str()]).inc());
    }

    /// A classify call ended at this Unix time; counted only if its task is still registered.
    pub fn request(&self, task: &str, outcome: Outcome, seconds: f64, unix_seconds: f64) {
        self.if_registered(task, || {
            self.requests_total.with_label_values(&[task, outcome.as_str()]).inc();
            self.task_last_request_timestamp_seconds.with_label_values(&[task]).set(unix_seconds);
            if self.task_histograms.iter().any(|t| t == task) {
                self.task_request_duration_seconds.with_label_values(&[task]).observe(seconds);
            }
        });
    }

    /// The engine spent this long on a task's rows, or on a probe.
    pub fn engine_time(&self, task: Option<&str>, seconds: f64) {
        self.engine_busy_seconds_total.inc_by(seconds);
        let count = |label| self.task_engine_seconds_total.with_label_values(&[label]).inc_by(seconds);
        if task.and_then(|task| self.if_registered(task, || count(task))).is_none() {
            count(OTHER);
        }
    }

    /// `None` when there is no such task.
    fn if_registered<R>(&self, task: &str, count: impl FnOnce() -> R) -> Option<R> {
        let tasks = self.tasks.read().unwrap_or_else(PoisonError::into_inner);
        tasks.contains(task).then(count)
    }

    /// A stage of a request took this long: `receive`, `decode`, `queue` or `inference`.
    pub fn stage(&self, stage: &str, seconds: f64) {
        self.stage_duration_seconds.with_label_values(&[stage]).observe(seconds);
    }

    /// The task's counters; none when it is not registered.
    pub fn counts(&self, task: &str) -> TaskCounts {
        let read = |counters: &IntCounterVec| {
            let count = |outcome: Outcome| (outcome, counters.with_label_values(&[task, outcome.as_str()]).get());
            Outcome::ALL.map(count).to_vec()
        };
        let counts = || TaskCounts { requests: read(&self.requests_total), rows: read(&self.rows_total) };
        self.if_registered(task, counts).unwrap_or_default()
    }

    /// The Prometheus text exposition.
    pub fn render(&self) -> String {
        if let Some(meter) = &*self.device.lock().unwrap_or_else(PoisonError::into_inner) {
            self.read_device(meter);
        }
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out).expect("writing to memory cannot fail");
        String::from_utf8_lossy(&out).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tasks_counters_exist_at_zero_and_vanish_with_it() {
        let metrics = Metrics::new(vec![]);
        metrics.add_task("digits");
        metrics.set_active("digits", None, Some((1, "sha256:ab")));
        assert!(metrics.render().contains(r#"manylens_rows_total{outcome="deadline",task="digits"} 0"#));
        metrics.request("digits", Outcome::Ok, 0.01, 1.0);
        metrics.set_active("digits", Some((1, "sha256:ab")), None);
        metrics.remove_task("digits");
        assert!(!metrics.render().contains("digits"));
    }

    #[test]
    fn a_row_that_ends_after_its_task_makes_no_series() {
        let metrics = Metrics::new(vec![]);
        metrics.add_task("digits");
        metrics.engine_time(Some("digits"), 1.0);
        metrics.remove_task("digits");
        metrics.row("digits", Outcome::Ok);
        metrics.request("digits", Outcome::Ok, 0.01, 1.0);
        metrics.engine_time(Some("digits"), 2.0);
        let text = metrics.render();
        assert!(!text.contains("digits"));
        assert!(text.contains("manylens_engine_busy_seconds_total 3"));
        assert!(text.contains(r#"manylens_task_engine_seconds_total{task="_other"} 2"#));
    }

    #[test]
    fn a_devices_counts_are_told_once_however_often_they_are_read() {
        let metrics = Metrics::new(vec![]);
        assert!(!metrics.render().contains("manylens_device"));
        let meter = DeviceMeter::new("cuda:1".into());
        let _table = meter.hold(Holding::Adapters, 64);
        metrics.watch(Some(meter.clone()));
        for total in [5, 10] {
            meter.copied(Direction::ToHost, 5);
            metrics.render();
            let text = metrics.render();
            assert!(text.contains(&format!(
                r#"manylens_device_copy_bytes_total{{device="cuda:1",direction="to_host"}} {total}"#
            )));
            assert!(text.contains(r#"manylens_device_memory_bytes{device="cuda:1",kind="adapters"} 64"#));
            assert!(text.contains(r#"manylens_graph_replays_total{device="cuda:1"} 0"#));
        }
        let (_, documented) = include_str!("../docs/metrics.md").split_once("## Of a device").expect("the section");
        for name in documented.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()) {
            assert!(metrics.render().contains(&format!("# TYPE {name} ")), "{name}");
        }
    }
}
