use std::collections::BTreeMap;

use ndarray::{ArrayViewD, IxDyn, ShapeBuilder};

use super::npy::{self, Header};
use crate::archive::{Archive, ArchiveLimits};
use crate::tensors::{self, Dtype, TensorFile, View};

/// A Google checkpoint of ViT-H has 516 members, the largest of 26 MB.
const LIMITS: ArchiveLimits = ArchiveLimits { entries_max: 16_384, entry_bytes_max: 1 << 30 };
/// More than any ViT's weights; a small archive that would decompress to more is refused.
const BYTES_MAX: u64 = 32 << 30;

/// What a checkpoint says about a tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Element type, in the file's own word.
    pub dtype: String,
}

/// A checkpoint file: named arrays.
pub(super) trait Source {
    /// Every array by name.
    fn tensors(&self) -> BTreeMap<String, Stored>;
    /// The values in row-major order, widened to f32, or what is wrong with them.
    fn read(&self, name: &str) -> Result<Vec<f32>, String>;
}

impl Source for TensorFile<'_> {
    fn tensors(&self) -> BTreeMap<String, Stored> {
        let stored =
            |name: &String| self.with(name, |v| Stored { shape: v.shape.to_vec(), dtype: format!("{:?}", v.dtype) });
        self.names().into_iter().filter_map(|name| Some((stored(&name)?, name))).map(|(s, n)| (n, s)).collect()
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, String> {
        match self.f32(name) {
            Some(read) => read.map(|(_, values)| values).map_err(|e| e.to_string()),
            None => Err("missing".into()),
        }
    }
}

/// NumPy's `.npz`: a zip archive of `.npy` arrays.
pub(super) struct Npz<'a> {
    archive: Archive<'a>,
    headers: BTreeMap<String, Header>,
}

impl<'a> Npz<'a> {
    /// Reads the directory and every header.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let archive = Archive::open(bytes, LIMITS).map_err(|e| e.to_string())?;
        let mut headers = BTreeMap::new();
        let mut bytes: u64 = 0;
        for member in archive.names() {
            bytes = bytes.saturating_add(archive.size(member).map_err(|e| e.to_string())?);
            if bytes > BYTES_MAX {
                return Err(format!("would decompress to more than {BYTES_MAX} bytes"));
            }
            let name = member.strip_suffix(".npy").ok_or_else(|| format!("{member} is no .npy array"))?;
            let start = archive.read_start(member, npy::START_BYTES_MAX as u64).map_err(|e| e.to_string())?;
            let header = npy::header(&start).map_err(|why| format!("{member} {why}"))?;
            headers.insert(name.to_owned(), header);
        }
        Ok(Self { archive, headers })
    }
}

impl Source for Npz<'_> {
    fn tensors(&self) -> BTreeMap<String, Stored> {
        let stored = |header: &Header| Stored { shape: header.shape.clone(), dtype: header.descr.clone() };
        self.headers.iter().map(|(name, header)| (name.clone(), stored(header))).collect()
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, String> {
        let bytes = self.archive.read(&format!("{name}.npy")).map_err(|e| e.to_string())?;
        let Header { descr, fortran_order, shape, data_at } = npy::header(&bytes)?;
        // JAX saves bfloat16 arrays as NumPy's two bytes without a type.
        let dtype = match descr.as_str() {
            "<f2" => Dtype::F16,
            "<f4" => Dtype::F32,
            "<f8" => Dtype::F64,
            "|V2" => Dtype::BF16,
            _ => return Err(format!("has element type {descr}; <f2, <f4, <f8 and |V2 (bfloat16) can be read")),
        };
        let bytes = &bytes[data_at..];
        let expected = shape.iter().try_fold(dtype.bitsize() / 8, |product, &n| product.checked_mul(n));
        if expected != Some(bytes.len()) {
            return Err(format!("holds {} bytes of values, which is not {shape:?} of {descr}", bytes.len()));
        }
        let values = tensors::to_f32(name, View { dtype, shape: &shape, bytes }).map_err(|e| e.to_string())?;
        if !fortran_order {
            return Ok(values);
        }
        let columns = ArrayViewD::from_shape(IxDyn(&shape).f(), &values).map_err(|e| e.to_string())?;
        Ok(columns.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::testing::archive;

    fn array(descr: &str, fortran: &str, shape: &str, values: &[u8]) -> Vec<u8> {
        let text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
        let length = u16::try_from(text.len()).expect("short").to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), values].concat()
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn both_orders_and_every_width_give_row_major_f32() {
        let c = array("<f4", "False", "(2, 3)", &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let fortran = array("<f4", "True", "(2, 3)", &floats(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
        let half = array("<f2", "False", "(1,)", &half::f16::from_f32(1.5).to_le_bytes());
        let brain = array("|V2", "False", "(1,)", &half::bf16::from_f32(-2.5).to_le_bytes());
        let bytes = archive(&[("c.npy", &c), ("f/w.npy", &fortran), ("h.npy", &half), ("b.npy", &brain)]);
        let npz = Npz::parse(&bytes).expect("valid");
        assert_eq!(npz.tensors()["f/w"], Stored { shape: vec![2, 3], dtype: "<f4".into() });
        assert_eq!(npz.read("c"), Ok(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(npz.read("f/w"), npz.read("c"));
        assert_eq!(npz.read("h"), Ok(vec![1.5]));
        assert_eq!(npz.read("b"), Ok(vec![-2.5]));
    }

    #[test]
    fn lies_about_sizes_and_foreign_types_are_refused() {
        let short = array("<f4", "False", "(2, 3)", &floats(&[1.0]));
        let huge = array("<f4", "False", "(4294967296, 4294967296)", &floats(&[1.0]));
        let objects = array("|O", "False", "(1,)", b"\x80\x02K\x01.");
        let big_endian = array(">f4", "False", "(1,)", &1f32.to_be_bytes());
        let entries: [(&str, &[u8]); 4] =
            [("short.npy", &short), ("huge.npy", &huge), ("objects.npy", &objects), ("big.npy", &big_endian)];
        let bytes = archive(&entries);
        let npz = Npz::parse(&bytes).expect("headers are fine");
        for name in ["short", "huge", "objects", "big", "absent"] {
            assert!(npz.read(name).is_err(), "{name}");
        }
        assert!(Npz::parse(&archive(&[("notes.txt", b"hello")])).is_err());
    }

    proptest! {
        #[test]
        fn any_array_is_read_back(shape in prop::collection::vec(0usize..4, 0..4), fortran: bool, seed: u32) {
            let count: usize = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|i| (seed as f32) + i as f32).collect();
            let sizes: String = shape.iter().map(|n| format!("{n}, ")).collect();
            let order = if fortran { "True" } else { "False" };
            let member = array("<f4", order, &format!("({sizes})"), &floats(&values));
            let bytes = archive(&[("a.npy", &member)]);
            let npz = Npz::parse(&bytes).expect("valid");
            prop_assert_eq!(&npz.tensors()["a"].shape, &shape);
            let read = npz.read("a").expect("valid");
            prop_assert_eq!(read.len(), count);
            if !fortran || shape.len() < 2 {
                prop_assert_eq!(read, values);
            }
        }

        #[test]
        fn no_header_makes_the_reader_panic(dictionary in "[{}()',: 0-9a-zA-Z_<|]{0,80}", values: Vec<u8>) {
            let length = u16::try_from(dictionary.len()).expect("short").to_le_bytes();
            let member = [b"\x93NUMPY\x01\x00", &length[..], dictionary.as_bytes(), &values].concat();
            let bytes = archive(&[("a.npy", &member)]);
            _ = Npz::parse(&bytes).and_then(|npz| npz.read("a"));
        }

        #[test]
        fn a_damaged_archive_is_refused_or_read(at: prop::sample::Index, byte: u8) {
            let member = array("<f4", "False", "(2, 3)", &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
            let mut bytes = archive(&[("a.npy", &member)]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = Npz::parse(&bytes).and_then(|npz| npz.read("a")) {
                prop_assert_eq!(read, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            }
        }
    }
}
