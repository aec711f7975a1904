use super::{AdapterError, Limits};
use crate::tensors::{TensorError, TensorFile, header_bytes};

/// What people send by mistake: first bytes, and the sentence that helps.
const MISTAKES: [(&[u8], &str); 12] = [
    (b"PK\x03\x04", "this is a zip archive, as torch.save writes for a .pth file"),
    (b"PK\x05\x06", "this is an empty zip archive"),
    (b"\x80\x02", "this is a Python pickle"),
    (b"\x80\x03", "this is a Python pickle"),
    (b"\x80\x04", "this is a Python pickle"),
    (b"\x80\x05", "this is a Python pickle"),
    (b"\x1f\x8b", "this is a gzip file: unpack it first"),
    (b"version https://git-lfs", "this is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"\x89PNG", "this is a PNG picture, to be classified and not uploaded"),
    (b"\xff\xd8\xff", "this is a JPEG picture, to be classified and not uploaded"),
    (b"\x89HDF", "this is an HDF5 file"),
    (b"GGUF", "this is a GGUF file"),
];

const WANTED: &str = "an adapter is a .safetensors file with manylens metadata";

/// Parses the container, its header capped first.
pub(super) fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<TensorFile<'a>, AdapterError> {
    let (header, max) = (header_bytes(bytes), limits.header_bytes_max);
    if (max as u64..bytes.len() as u64).contains(&header) {
        let sentence = format!("its header would have {header} bytes; fewer than {max} are allowed: {WANTED}");
        return Err(AdapterError::NotAnAdapter(mistake(bytes).unwrap_or(sentence)));
    }
    TensorFile::parse(bytes).map_err(|error| AdapterError::NotAnAdapter(explain(bytes, &error)))
}

fn explain(bytes: &[u8], error: &TensorError) -> String {
    if bytes.is_empty() {
        return format!("the file is empty: {WANTED}");
    }
    mistake(bytes).unwrap_or_else(|| format!("{error}: {WANTED}"))
}

/// The sentence for a file that is recognisably something else.
fn mistake(bytes: &[u8]) -> Option<String> {
    let text = bytes.trim_ascii_start();
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if begins(b"<!doctype") || begins(b"<html") || begins(b"<?xml") {
        return Some(format!("this is a web page, perhaps of a download that wanted a login: {WANTED}"));
    }
    let (_, what) = MISTAKES.iter().find(|(start, _)| bytes.starts_with(start))?;
    let pickled = bytes.starts_with(b"PK") || bytes.starts_with(b"\x80");
    Some(if pickled {
        format!("{what}. The server opens no pickle: convert it with `manylens import official FILE --out …`")
    } else {
        format!("{what}; {WANTED}")
    })
}
