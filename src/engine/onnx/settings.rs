//! What the onnx engine alone needs to know.

use std::str::FromStr;

use crate::word::word;

/// How the onnx engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxSettings {
    /// Who executes graphs.
    pub provider: Provider,
    /// Which of several devices.
    pub device: u32,
    /// How batches of many tasks become runs; the provider's own form when none is asked for.
    pub form: Option<BatchForm>,
    /// Adapters that are resident at once for mixed runs.
    pub adapter_slots: usize,
    /// Whether runs are filled up to 1, 2, 4 … 128 rows, each of which has tensors at fixed addresses; the provider's
    /// own habit when nothing is asked for.
    pub pads_batches: Option<bool>,
    /// Whether products of f32 on a device may round their factors to 10 bits of fraction.
    pub tf32: bool,
    /// Whether a device captures runs of one shape once and replays them.
    pub cuda_graphs: bool,
    /// What the provider is told beyond that, and against it.
    pub provider_options: ProviderOptions,
}

impl Default for OnnxSettings {
    fn default() -> Self {
        Self {
            provider: Provider::Cpu,
            device: 0,
            form: None,
            adapter_slots: 256,
            pads_batches: None,
            tf32: false,
            cuda_graphs: false,
            provider_options: ProviderOptions::default(),
        }
    }
}

impl OnnxSettings {
    /// One task after another on the processor; on a device what was measured to cost least.
    pub fn form(&self) -> BatchForm {
        let is_cpu = self.provider == Provider::Cpu;
        self.form.unwrap_or(if is_cpu { BatchForm::Group } else { BatchForm::Auto })
    }

    /// As metrics name it.
    pub fn device_name(&self) -> String {
        match self.provider {
            Provider::Cpu => "cpu".to_owned(),
            Provider::Cuda | Provider::Tensorrt => format!("cuda:{}", self.device),
        }
    }

    /// A processor has no use for it; a device compiles, or captures, each shape once.
    pub fn pads_batches(&self) -> bool {
        self.pads_batches.unwrap_or(self.provider != Provider::Cpu)
    }
}

/// Who executes graphs: an execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The processor.
    Cpu,
    /// NVIDIA devices.
    Cuda,
    /// NVIDIA devices, through TensorRT's compiler.
    Tensorrt,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Cuda, Self::Tensorrt];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        }
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        word(name, &Self::ALL.map(|provider| (provider.name(), provider)))
    }
}

/// A provider's own options by its own names, which the runtime checks; in order, as `KEY=VALUE;KEY=VALUE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderOptions(pub Vec<(String, String)>);

impl FromStr for ProviderOptions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let option = |part: &str| match part.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
            _ => Err(format!("`{part}` is no KEY=VALUE; options are separated by semicolons")),
        };
        let parts = text.split(';').filter(|part| !part.trim().is_empty());
        parts.map(option).collect::<Result<_, _>>().map(Self)
    }
}

/// How a batch of many tasks becomes runs of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchForm {
    /// One run for each task, whose rescaled weights are computed in the graph.
    Group,
    /// All tasks in one run: one weight, a vector for each row, twice the products.
    Mixed,
    /// For each batch what costs least, by what runs were measured to cost at the start.
    Auto,
}

impl BatchForm {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Group, Self::Mixed];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Group => "group",
            Self::Mixed => "mixed",
        }
    }
}

impl FromStr for BatchForm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        word(name, &Self::ALL.map(|form| (form.name(), form)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_options_are_taken_apart_at_the_first_equals_sign() {
        let parsed = "trt_profile_min_shapes=patches:1x64x588,slots:1; a = b=c;".parse::<ProviderOptions>();
        let expected = [("trt_profile_min_shapes", "patches:1x64x588,slots:1"), ("a", "b=c")];
        assert_eq!(parsed, Ok(ProviderOptions(expected.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec())));
        assert_eq!("".parse(), Ok(ProviderOptions::default()));
        for wrong in ["trt_fp16_enable", "=1", "a=1;b"] {
            assert!(wrong.parse::<ProviderOptions>().is_err(), "{wrong}");
        }
    }
}
