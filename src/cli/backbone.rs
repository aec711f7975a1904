use clap::Args;

use crate::backbone::LoadOptions;

/// What a backbone's folder may leave open.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Attention heads, for a timm model whose name does not tell
    #[arg(long, value_name = "N")]
    pub heads: Option<usize>,

    /// LayerNorm epsilon instead of config.json's; another epsilon is another backbone
    #[arg(long, value_name = "EPS")]
    pub layer_norm_eps: Option<f64>,
}

impl From<LoadArgs> for LoadOptions {
    fn from(args: LoadArgs) -> Self {
        Self { heads: args.heads, layer_norm_eps: args.layer_norm_eps }
    }
}
