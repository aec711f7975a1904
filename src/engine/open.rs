//! Which engines there are: the one place that turns a name into one.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::native::Native;
use super::onnx::{Onnx, OnnxSettings};
use super::reference::Reference;
use super::{Backend, EngineError, Precision};
use crate::backbone::{Backbone, Weights};

/// Makes the engine of that kind. It takes the weights over.
pub fn open(
    kind: EngineKind,
    backbone: Arc<Backbone>,
    weights: Weights,
    settings: &EngineSettings,
) -> Result<Arc<dyn Backend>, EngineError> {
    Ok(match kind {
        EngineKind::Native => Arc::new(Native::new(backbone, &weights, settings)?),
        EngineKind::Onnx => Arc::new(Onnx::new(backbone, weights, settings)?),
        EngineKind::Reference => Arc::new(Reference::<f32>::new(backbone, weights, settings.merge_bytes_max)),
    })
}

/// An engine by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// Our own kernels on the CPU.
    Native,
    /// ONNX Runtime.
    Onnx,
    /// The oracle: plain and slow.
    Reference,
}

/// What engines need to know; each reads what concerns it.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// libonnxruntime, a file or its folder; the usual folders are searched when none is named.
    pub onnxruntime_lib: Option<PathBuf>,
    /// Files that can be made again, such as the graphs and weights that ONNX Runtime maps.
    pub cache_dir: PathBuf,
    /// Of matrix operands; the native engine's fastest kernel's own, and the onnx engine's f32, when none is asked for.
    pub precision: Option<Precision>,
    /// A kernel of the native engine by its name; the fastest one when none is asked for.
    pub kernel: Option<String>,
    /// How the onnx engine runs.
    pub onnx: OnnxSettings,
    /// Threads that compute.
    pub threads: usize,
    /// Bytes that merged adapters may keep in all.
    pub merge_bytes_max: usize,
}

impl EngineKind {
    /// Every kind, the fastest first.
    pub const ALL: [Self; 3] = [Self::Native, Self::Onnx, Self::Reference];

    /// Its name on the command line, in metrics and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Onnx => "onnx",
            Self::Reference => "reference",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no engine has.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("there is no engine {name:?}; there are {}", EngineKind::ALL.map(EngineKind::name).join(", "))]
pub struct UnknownEngine {
    /// What was asked for.
    pub name: String,
}

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownEngine { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_answered_with_the_right_ones() {
        for kind in EngineKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        let error = "openvino".parse::<EngineKind>().expect_err("unknown");
        assert_eq!(error.to_string(), r#"there is no engine "openvino"; there are native, onnx, reference"#);
    }
}
