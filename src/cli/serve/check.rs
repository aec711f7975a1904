//! Typed to checked: every flag becomes a setting, every fault is gathered.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use super::args::{
    KeyArgs, ModelArgs, NetworkArgs, OnnxArgs, RequestArgs, ServeArgs, ServingArgs, ShutdownArgs, StoreArgs,
    TelemetryArgs,
};
use crate::config::{
    ConfigError, Faults, Given, Keys, Model, Network, Requests, Secret, Settings, Shutdown, Store, Telemetry, read_keys,
};
use crate::engine::onnx::{OnnxSettings, Provider};
use crate::engine::{EngineKind, EngineSettings};
use crate::image::DecodeLimits;
use crate::registry::{Limits, TaskName};
use crate::serving;

/// Keys that the environment gives.
#[derive(Default)]
pub struct KeyVariables {
    pub admin: Option<String>,
    pub inference: Option<String>,
}

impl ServeArgs {
    /// The settings, or every fault at once.
    pub fn check(self, variables: KeyVariables) -> Result<Settings, ConfigError> {
        let mut faults = Faults::default();
        let settings = Settings {
            model: self.model.check(&mut faults),
            store: self.store.check(&mut faults),
            network: self.network.check(&mut faults),
            keys: self.keys.check(variables, &mut faults),
            serving: self.serving.check(self.requests.decode_limits(&mut faults), &mut faults),
            requests: self.requests.check(&mut faults),
            telemetry: self.telemetry.check(&mut faults),
            shutdown: self.shutdown.check(&mut faults),
        };
        check_together(&settings, &mut faults);
        faults.check(settings)
    }
}

/// Limits that would refuse every request or upload that another limit allows.
fn check_together(settings: &Settings, faults: &mut Faults) {
    let Settings { requests, serving, store, .. } = settings;
    let mut fits = |flag: &str, value: u64, within: &str, limit: usize| {
        // A limit that is no limit was reported already.
        if value > limit as u64 && limit > 0 {
            faults.add(flag, format!("{value} is more than the {limit} of {within}: lower it or raise {within}"));
        }
    };
    fits("--max-rows-per-request", requests.rows_max as u64, "--queue-rows-max", serving.rows_max);
    fits("--body-bytes-max", requests.body_bytes_max as u64, "--in-flight-bytes-max", serving.bytes_max);
    fits("--adapter-bytes-max", store.limits.adapter_bytes_max, "--in-flight-bytes-max", serving.bytes_max);
    // An engine that only waits for more rows would count as stuck.
    let (delay, stall) = (serving.batch_delay_max, serving.engine_stall_timeout);
    if delay > stall / 2 && !stall.is_zero() {
        let (delay_us, stall_ms) = (delay.as_micros(), stall.as_millis());
        let problem = format!("{delay_us} \u{b5}s is more than half of --engine-stall-timeout-ms, which is {stall_ms}");
        faults.add("--max-batch-delay-us", format!("{problem}: lower it or raise --engine-stall-timeout-ms"));
    }
}

impl ModelArgs {
    fn check(self, faults: &mut Faults) -> Model {
        let backbone = faults.take_optional(self.backbone).unwrap_or_default();
        if backbone.as_os_str().is_empty() {
            faults.add("--backbone", "is missing: name the folder of the frozen ViT");
        } else if !backbone.is_dir() {
            faults.add("--backbone", format!("`{}` is no folder", backbone.display()));
        }
        Model {
            backbone,
            heads: faults.take_optional(self.heads),
            layer_norm_eps: faults.take_optional(self.layer_norm_eps),
            engine: faults.take_or(self.engine, EngineKind::Reference),
            engine_settings: EngineSettings {
                onnxruntime_lib: faults.take_optional(self.onnxruntime_lib),
                cache_dir: faults.take(self.cache_dir),
                precision: faults.take_optional(self.precision),
                kernel: faults.take_optional(self.kernel),
                onnx: self.onnx.check(faults),
                threads: count(self.threads, cores(), faults),
                merge_bytes_max: faults.take(self.merge_bytes_max),
            },
            tokens_max: faults.at_least(self.max_tokens, 1),
        }
    }
}

impl OnnxArgs {
    fn check(self, faults: &mut Faults) -> OnnxSettings {
        OnnxSettings {
            provider: faults.take_or(self.provider, Provider::Cpu),
            device: faults.take(self.device),
            form: faults.take_optional(self.onnx_form),
            adapter_slots: faults.at_least(self.onnx_adapter_slots, 1),
            pads_batches: faults.take_optional(self.onnx_pad_batches),
            tf32: faults.take(self.onnx_tf32),
            cuda_graphs: faults.take(self.onnx_cuda_graphs),
            provider_options: faults.take_optional(self.onnx_provider_options).unwrap_or_default(),
        }
    }
}

impl StoreArgs {
    fn check(self, faults: &mut Faults) -> Store {
        let data_dir = faults.take_optional(self.data_dir).unwrap_or_default();
        if data_dir.as_os_str().is_empty() {
            faults.add("--data-dir", "is missing: name the folder of tasks and versions");
        }
        let adapters = faults.take_optional(self.adapters);
        if let Some(folder) = adapters.as_ref().filter(|folder| !folder.is_dir()) {
            faults.add("--adapters", format!("`{}` is no folder", folder.display()));
        }
        Store {
            data_dir,
            adapters,
            limits: Limits {
                tasks_max: faults.at_least(self.tasks_max, 1),
                adapter_bytes_max: faults.at_least(self.adapter_bytes_max, 1),
                versions_per_task_max: faults.at_least(self.versions_per_task_max, 2),
                free_disk_bytes_min: faults.take(self.free_disk_bytes_min),
                cached_bytes_max: faults.take(self.cached_bytes_max),
            },
        }
    }
}

impl NetworkArgs {
    fn check(self, faults: &mut Faults) -> Network {
        Network {
            listen: faults.take_or(self.listen, ([127, 0, 0, 1], 0).into()),
            admin_listen: faults.take_optional(self.admin_listen),
            connections_max: faults.at_least(self.connections_max, 1),
            idle_timeout: positive_ms(self.idle_timeout_ms, faults),
            header_timeout: positive_ms(self.header_timeout_ms, faults),
            body_timeout: positive_ms(self.body_timeout_ms, faults),
            write_timeout: positive_ms(self.write_timeout_ms, faults),
        }
    }
}

impl KeyArgs {
    fn check(self, variables: KeyVariables, faults: &mut Faults) -> Keys {
        Keys {
            admin_file: key_file(self.admin_key_file, faults),
            admin: variables.admin.map(Secret),
            inference_file: key_file(self.inference_key_file, faults),
            inference: variables.inference.map(Secret),
        }
    }
}

impl RequestArgs {
    fn decode_limits(&self, faults: &mut Faults) -> DecodeLimits {
        let mut at_least_one = |given: &Given<usize>| faults.at_least(given.clone(), 1);
        DecodeLimits {
            bytes_max: self.body_bytes_max.value.clone().unwrap_or_default(),
            side_max: at_least_one(&self.picture_side_max),
            pixels_max: at_least_one(&self.picture_pixels_max),
            decoded_bytes_max: at_least_one(&self.decoded_bytes_max),
            scans_max: at_least_one(&self.jpeg_scans_max),
        }
    }

    fn check(self, faults: &mut Faults) -> Requests {
        Requests {
            body_bytes_max: faults.at_least(self.body_bytes_max, 1),
            rows_max: faults.at_least(self.max_rows_per_request, 1),
            timeout_max: positive_ms(self.timeout_ms_max, faults),
        }
    }
}

impl ServingArgs {
    fn check(self, decode_limits: DecodeLimits, faults: &mut Faults) -> serving::Settings {
        serving::Settings {
            rows_max: faults.at_least(self.queue_rows_max, 1),
            bytes_max: faults.at_least(self.in_flight_bytes_max, 1),
            batch_rows_max: faults.at_least(self.batch_rows_max, 1),
            batch_plan: faults.take(self.batch_plan),
            batch_delay_max: Duration::from_micros(faults.take(self.max_batch_delay_us)),
            decode_threads: count(self.decode_threads, cores(), faults),
            engine_stall_timeout: positive_ms(self.engine_stall_timeout_ms, faults),
            engine_failures_max: faults.at_least(self.engine_failures_max, 1),
            decode_limits,
        }
    }
}

impl TelemetryArgs {
    fn check(self, faults: &mut Faults) -> Telemetry {
        for error in self.metrics_task_histograms.iter().filter_map(|task| TaskName::parse(task).err()) {
            faults.add("--metrics-task-histograms", error.to_string());
        }
        Telemetry {
            log_format: faults.take(self.log_format),
            log_level: faults.take(self.log_level),
            access_log: faults.take(self.access_log),
            task_histograms: self.metrics_task_histograms,
        }
    }
}

impl ShutdownArgs {
    fn check(self, faults: &mut Faults) -> Shutdown {
        Shutdown {
            delay: Duration::from_millis(faults.take(self.shutdown_delay_ms)),
            timeout: Duration::from_millis(faults.take(self.shutdown_timeout_ms)),
        }
    }
}

fn positive_ms(given: Given<u64>, faults: &mut Faults) -> Duration {
    Duration::from_millis(faults.at_least(given, 1))
}

fn count(given: Option<Given<usize>>, default: usize, faults: &mut Faults) -> usize {
    given.map_or(default, |given| faults.at_least(given, 1))
}

fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// A file of keys that can be used.
fn key_file(given: Option<Given<PathBuf>>, faults: &mut Faults) -> Option<PathBuf> {
    let flag = given.as_ref().map(|given| given.flag.clone()).unwrap_or_default();
    let path = faults.take_optional(given)?;
    if let Err(error) = read_keys(&path) {
        faults.add(&flag, error.to_string());
    }
    Some(path)
}
