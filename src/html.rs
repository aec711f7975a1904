//! What pages that people open in a browser are made of. A page is one file and asks nobody for anything.
#![forbid(unsafe_code)]

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Larger pictures are named, not shown.
const PICTURE_BYTES_MAX: u64 = 2 << 20;

/// Text that cannot end what it stands in, element or quoted attribute.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A picture's file as a data URI (RFC 2397); none when it cannot be read or is larger than 2 MiB.
pub fn data_uri(path: &Path) -> Option<String> {
    if std::fs::metadata(path).ok()?.len() > PICTURE_BYTES_MAX {
        return None;
    }
    // Browsers sniff the kind of an image, as the server does.
    Some(format!("data:image;base64,{}", STANDARD.encode(std::fs::read(path).ok()?)))
}
