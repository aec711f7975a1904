//! Where graphs run, and what a machine lacks for it.

use std::path::Path;

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProvider, ExecutionProviderDispatch};

use crate::engine::onnx::{OnnxSettings, Provider};
use crate::engine::{EngineError, Precision};

impl OnnxSettings {
    /// The providers of a session of that graph, the preferred one first; none for the CPU's alone.
    pub(super) fn providers(&self, graph: &Path, precision: Precision) -> Vec<ExecutionProviderDispatch> {
        match self.provider {
            Provider::Cpu => Vec::new(),
            Provider::Cuda => vec![self.told(self.cuda()).build().error_on_failure()],
            Provider::Tensorrt => {
                let tensorrt = self.told(self.tensorrt(graph, precision)).build();
                vec![tensorrt.error_on_failure(), self.cuda().build().error_on_failure()]
            }
        }
    }

    /// Says in one sentence what is missing, before the runtime falls back to the processor without a word.
    pub fn check(&self, library: &Path) -> Result<(), EngineError> {
        let facts = Facts::of(self.provider, library);
        let missing = facts.missing(self, library);
        missing.map_or(Ok(()), |why| Err(EngineError::Unavailable(why)))
    }

    /// With the operator's own options, which overrule ours.
    fn told<P: ArbitrarilyConfigurableExecutionProvider>(&self, provider: P) -> P {
        let options = self.provider_options.0.iter();
        options.fold(provider, |provider, (key, value)| provider.with_arbitrary_config(key, value))
    }

    fn cuda(&self) -> ep::CUDA {
        ep::CUDA::default()
            .with_device_id(self.device_id())
            // Memory grows by what is asked for: a batch of another size must not double the arena.
            .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
            .with_tf32(self.tf32)
            .with_cuda_graph(self.cuda_graphs)
    }

    /// Compiled engines are kept in the graph's own folder, which belongs to one backbone; TensorRT names them by
    /// graph, its own version and the device's.
    fn tensorrt(&self, graph: &Path, precision: Precision) -> ep::TensorRT {
        let engines = graph.with_file_name("tensorrt").display().to_string();
        ep::TensorRT::default()
            .with_device_id(self.device_id())
            .with_engine_cache(true)
            .with_engine_cache_path(&engines)
            .with_timing_cache(true)
            .with_timing_cache_path(&engines)
            // It computes in f32 whatever the graph says, unless it is allowed less.
            .with_fp16(precision == Precision::F16)
            .with_bf16(precision == Precision::Bf16)
            .with_cuda_graph(self.cuda_graphs)
    }

    /// As the runtime numbers them.
    pub(super) fn device_id(&self) -> i32 {
        i32::try_from(self.device).unwrap_or(i32::MAX)
    }
}

/// What a machine shows of NVIDIA devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    /// The runtime was built with the provider.
    in_library: bool,
    /// The provider's own library lies beside the runtime's.
    beside_library: bool,
    driver: bool,
    /// Devices, where they can be counted.
    devices: Option<u32>,
}

impl Facts {
    fn of(provider: Provider, library: &Path) -> Self {
        let in_library = match provider {
            Provider::Cpu => Ok(true),
            Provider::Cuda => ep::CUDA::is_available(),
            Provider::Tensorrt => ep::TensorRT::is_available(),
        };
        let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
        let is_device = |name: &str| name.strip_prefix("nvidia").is_some_and(|n| n.parse::<u32>().is_ok());
        let devices = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_device)).count();
        // Under Windows' subsystem for Linux there is one node for all devices.
        let uncounted = Path::new("/dev/dxg").exists();
        Self {
            in_library: in_library.unwrap_or(false),
            beside_library: library.with_file_name(provider_file(provider)).exists(),
            driver: Path::new("/dev/nvidiactl").exists() || uncounted,
            devices: (!uncounted).then(|| u32::try_from(devices).unwrap_or(u32::MAX)),
        }
    }

    fn missing(self, settings: &OnnxSettings, library: &Path) -> Option<String> {
        let (provider, library) = (settings.provider.name(), library.display());
        if settings.provider == Provider::Cpu {
            return None;
        }
        if !self.in_library {
            return Some(format!(
                "--provider {provider} needs an ONNX Runtime that was built with it, and {library} was not: unpack the \
                 Python package onnxruntime-gpu and name its `capi` folder with --onnxruntime-lib"
            ));
        }
        if !self.beside_library {
            let file = provider_file(settings.provider);
            return Some(format!("--provider {provider} needs {file} beside {library}: copy it there"));
        }
        if !self.driver {
            return Some(format!(
                "--provider {provider} needs NVIDIA's driver, and this machine has none (no /dev/nvidiactl): install it, \
                 or start the container with the device (--gpus all)"
            ));
        }
        let devices = self.devices.filter(|&devices| settings.device >= devices)?;
        Some(format!(
            "there is no NVIDIA device {}: this machine has {devices}, from 0; choose with --device",
            settings.device
        ))
    }
}

fn provider_file(provider: Provider) -> &'static str {
    match provider {
        Provider::Cpu => "",
        Provider::Cuda => "libonnxruntime_providers_cuda.so",
        Provider::Tensorrt => "libonnxruntime_providers_tensorrt.so",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Facts = Facts { in_library: true, beside_library: true, driver: true, devices: Some(2) };

    fn missing(facts: Facts, provider: Provider, device: u32) -> Option<String> {
        let settings = OnnxSettings { provider, device, ..OnnxSettings::default() };
        facts.missing(&settings, Path::new("/lib/libonnxruntime.so"))
    }

    #[test]
    fn what_is_missing_is_named_the_first_thing_first() {
        let nothing = Facts { in_library: false, beside_library: false, driver: false, devices: Some(0) };
        let [library, file, driver, device] = [
            nothing,
            Facts { in_library: true, ..nothing },
            Facts { driver: false, devices: Some(0), ..ALL },
            Facts { devices: Some(0), ..ALL },
        ]
        .map(|facts| missing(facts, Provider::Cuda, 0).expect("something is missing"));
        assert!(library.contains("onnxruntime-gpu"), "{library}");
        assert!(file.contains("libonnxruntime_providers_cuda.so beside"), "{file}");
        assert!(driver.contains("driver") && driver.contains("/dev/nvidiactl"), "{driver}");
        assert!(device.contains("no NVIDIA device 0"), "{device}");
    }

    #[test]
    fn a_device_that_is_there_is_taken() {
        assert_eq!(missing(ALL, Provider::Cuda, 1), None);
        assert!(missing(ALL, Provider::Tensorrt, 2).expect("there are two").contains("this machine has 2"));
        assert_eq!(missing(Facts { devices: None, ..ALL }, Provider::Cuda, 7), None);
        assert_eq!(missing(Facts { in_library: false, ..ALL }, Provider::Cpu, 0), None);
    }
}
