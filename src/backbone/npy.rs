//! The `.npy` array format, versions 1.0 to 3.0, strictly: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

/// NumPy's own limit on a header's length.
const HEADER_BYTES_MAX: usize = 10_000;
/// Magic, version, the longer of the two length fields, and the longest header.
pub(super) const START_BYTES_MAX: usize = 12 + HEADER_BYTES_MAX;
/// NumPy's limit on the number of axes.
const AXES_MAX: usize = 64;

/// What stands before the values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    /// Element type, e.g. `<f4`.
    pub descr: String,
    /// Whether the first axis is the fastest.
    pub fortran_order: bool,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Where the values begin.
    pub data_at: usize,
}

/// Reads the header; `bytes` need not hold the values.
pub(super) fn header(bytes: &[u8]) -> Result<Header, String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("does not begin like a .npy array")?;
    let (length, begin) = match rest {
        [1, 0, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 10),
        [2 | 3, 0, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
        [major, minor, ..] => return Err(format!("is .npy version {major}.{minor}, versions 1.0 to 3.0 are known")),
        _ => return Err("ends inside its header".into()),
    };
    if length > HEADER_BYTES_MAX {
        return Err(format!("has a header of {length} bytes, at most {HEADER_BYTES_MAX} are read"));
    }
    let text = bytes.get(begin..begin + length).ok_or("ends inside its header")?;
    let text = std::str::from_utf8(text).map_err(|_| "has a header that is not text")?;
    let (descr, fortran_order, shape) = dictionary(text)?;
    Ok(Header { descr, fortran_order, shape, data_at: begin + length })
}

/// The Python dictionary `{'descr': …, 'fortran_order': …, 'shape': …}`: exactly these keys, in any order.
fn dictionary(text: &str) -> Result<(String, bool, Vec<usize>), String> {
    let mut scanner = Scanner(text);
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    scanner.expect("{")?;
    while !scanner.take("}") {
        let key = scanner.string()?;
        scanner.expect(":")?;
        let repeated = match key {
            "descr" => descr.replace(scanner.string()?.to_owned()).is_some(),
            "fortran_order" => fortran_order.replace(scanner.boolean()?).is_some(),
            "shape" => shape.replace(scanner.shape()?).is_some(),
            other => return Err(format!("has an unknown header key '{other}'")),
        };
        if repeated {
            return Err(format!("has the header key '{key}' twice"));
        }
        if !scanner.take(",") {
            scanner.expect("}")?;
            break;
        }
    }
    if !scanner.0.trim().is_empty() {
        return Err("has something after its header's dictionary".into());
    }
    let missing = |key: &str| format!("lacks the header key '{key}'");
    Ok((
        descr.ok_or_else(|| missing("descr"))?,
        fortran_order.ok_or_else(|| missing("fortran_order"))?,
        shape.ok_or_else(|| missing("shape"))?,
    ))
}

/// What is left of the header.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    fn take(&mut self, token: &str) -> bool {
        let rest = self.0.trim_start_matches(' ').strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(format!("has a malformed header: {token} is missing")) }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.take("'") { '\'' } else { self.expect("\"").map(|()| '"')? };
        let (string, rest) = self.0.split_once(quote).ok_or("has a malformed header: an open string")?;
        self.0 = rest;
        if string.contains('\\') {
            return Err("has a malformed header: an escape in a string".into());
        }
        Ok(string)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        if self.take("True") { Ok(true) } else { self.expect("False").map(|()| false) }
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.take(")") {
            if shape.len() == AXES_MAX {
                return Err(format!("has more than {AXES_MAX} axes"));
            }
            shape.push(self.number()?);
            if !self.take(",") {
                // A tuple of one needs its comma: `(3)` is a number in Python.
                self.expect(if shape.len() == 1 { "," } else { ")" })?;
                break;
            }
        }
        Ok(shape)
    }

    fn number(&mut self) -> Result<usize, String> {
        let text = self.0.trim_start_matches(' ');
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        self.0 = &text[digits..];
        text[..digits].parse().map_err(|_| "has a malformed header: a size is no number".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(version: u8, dictionary: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend(u16::try_from(dictionary.len()).expect("short").to_le_bytes()),
            _ => bytes.extend(u32::try_from(dictionary.len()).expect("short").to_le_bytes()),
        }
        bytes.extend(dictionary.as_bytes());
        bytes
    }

    #[test]
    fn numpys_own_headers_are_read() {
        let bytes = array(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (8, 8, 3, 64), }          \n");
        let header = header(&bytes).expect("valid");
        assert_eq!((header.descr.as_str(), header.fortran_order), ("<f4", false));
        assert_eq!((header.shape, header.data_at), (vec![8, 8, 3, 64], bytes.len()));
        for (text, shape) in [("()", vec![]), ("(5,)", vec![5]), ("(2, 3)", vec![2, 3]), ("(0, 3,)", vec![0, 3])] {
            let bytes = array(2, &format!("{{\"shape\": {text}, 'fortran_order': True, 'descr': '|V2'}}"));
            assert_eq!(super::header(&bytes).map(|h| h.shape), Ok(shape));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let refused = [
            "",
            "{}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': 1}",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} + 1",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (3,)}",
        ];
        for dictionary in refused {
            assert!(header(&array(1, dictionary)).is_err(), "{dictionary}");
        }
        assert!(header(b"PK").is_err());
        let whole = array(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}");
        for len in 0..whole.len() {
            assert!(header(&whole[..len]).is_err(), "{len}");
        }
        assert!(header(&array(4, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}")).is_err());
    }
}
