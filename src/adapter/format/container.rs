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
    if let Some((_, what)) = MISTAKES.iter().find(|(start, _)| bytes.starts_with(start)) {
        let pickled = bytes.starts_with(b"PK") || bytes.starts_with(b"\x80");
        return Some(if pickled {
            format!("{what}. The server opens no pickle: convert it with `manylens import official FILE --out …`")
        } else {
            format!("{what}; {WANTED}")
        });
    }
    if is_onnx(bytes) {
        return Some(format!(
            "this is an ONNX graph, perhaps one of `manylens export --onnx`, for other programs; {WANTED}"
        ));
    }
    if text.starts_with(b"{") && is_text(bytes) {
        return Some(format!("this is JSON; a backbone is the folder with its config.json, and {WANTED}"));
    }
    is_text(bytes).then(|| format!("this is a text file; {WANTED}"))
}

/// A graph begins with its IR version, a small number, and then says in field 2, 3, 7 or 8 who made it or what it is.
fn is_onnx(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=0x40, 0x12 | 0x1a | 0x3a | 0x42, ..])
}

/// Whether a person could read the beginning.
fn is_text(bytes: &[u8]) -> bool {
    const LOOKED_AT: usize = 1024;
    let text = match std::str::from_utf8(&bytes[..bytes.len().min(LOOKED_AT)]) {
        Ok(text) => text,
        // A letter that is cut in two at the end.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.trim().is_empty() && !text.contains(|c: char| c.is_control() && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> String {
        open(bytes, &Limits::default()).err().expect("no adapter").to_string()
    }

    #[test]
    fn what_is_sent_by_mistake_is_told_apart() {
        assert!(said(b"\x08\x08\x12\x08manylens").starts_with("this is an ONNX graph"));
        assert!(said(b"{\"hidden_size\": 768}\n").contains("a backbone is the folder with its config.json"));
        assert!(said("größer, kleiner\n".as_bytes()).starts_with("this is a text file"));
        let cut = ["a".repeat(1023).as_bytes(), "ö".as_bytes()].concat();
        assert!(said(&cut).starts_with("this is a text file"));
        assert!(said(b"version https://git-lfs.github.com/spec/v1\n").contains("git lfs pull"));
        assert!(!said(&[7; 40]).starts_with("this is"));
    }
}
