use std::path::Path;

/// Endings of files that folders of pictures have; the decoder looks at bytes, not at names.
const ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "jfif"];

/// Whether a file is called like a picture.
pub fn is_picture_name(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    ENDINGS.contains(&ending.as_str())
}
