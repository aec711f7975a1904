//! Files that ONNX Runtime opens by path: graphs without weights, and the weights that they point into.
//!
//! What is already there is compared byte by byte with what would be written, so a damaged or foreign file is
//! replaced; what is written appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::backbone::{Fingerprint, Tensor, Weights};
use crate::engine::EngineError;
use crate::tensors::{self, Dtype};

use super::graph::{Element, External, Graph, Value};
use super::ops::Constants;

/// Changes whenever other graphs are written, so that two releases never rewrite each other's files.
const GRAPH_VERSION: u32 = 2;

/// Files of a process that died while writing are removed after this time.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);
const LEFTOVER_PREFIX: &str = "tmp-";

/// The folder of one backbone.
pub struct Cache {
    folder: PathBuf,
}

/// A weights file in that folder, and where each tensor lies in it.
#[derive(Clone, Debug)]
pub struct WeightsFile {
    name: String,
    tensors: Vec<Place>,
}

#[derive(Clone, Debug)]
struct Place {
    name: String,
    shape: Vec<usize>,
    element: Element,
    offset: usize,
}

/// A file of one session's own, removed when dropped.
pub struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed now is a leftover, removed at a later start.
        let _ = fs::remove_file(&self.0);
    }
}

impl Cache {
    /// Creates the folder and removes leftovers.
    pub fn open(root: &Path, fingerprint: &Fingerprint) -> Result<Self, EngineError> {
        let hex = fingerprint.0.trim_start_matches("sha256:");
        let folder = root.join(format!("onnx-{GRAPH_VERSION}")).join(hex);
        fs::create_dir_all(&folder).map_err(unwritable(&folder))?;
        remove_leftovers(&folder);
        Ok(Self { folder })
    }

    /// The canonical weights as a file, those of linears and prefix tokens in these elements.
    pub fn weights(&self, weights: &Weights, element: Element) -> Result<WeightsFile, EngineError> {
        let name = format!("weights{}.safetensors", element.suffix());
        let (header, file) = lay_out(name, element, weights.0.iter().map(|(n, t)| (&**n, &*t.shape)));
        self.ensure(&file.name, |sink| {
            sink(&header)?;
            let tensors = weights.0.iter();
            tensors.map(|(name, t)| bytes_of(element_of(name, element), &t.data)).try_for_each(|bytes| sink(&bytes))
        })?;
        Ok(file)
    }

    /// A graph by that name.
    pub fn graph(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, EngineError> {
        self.ensure(name, |sink| sink(bytes))
    }

    /// A graph of one session's own; the file may go when the session is open.
    pub fn temporary_graph(&self, bytes: &[u8]) -> Result<(PathBuf, Temporary), EngineError> {
        let path = self.folder.join(temporary_name("onnx"));
        fs::write(&path, bytes).map_err(unwritable(&path))?;
        Ok((path.clone(), Temporary(path)))
    }

    /// A copy of the stored weights, which are f32, in these elements and with every tensor changed by `change`, one
    /// tensor in memory at a time. The file may go when a session has opened it: the runtime's mapping keeps the bytes.
    pub fn changed_weights(
        &self,
        stored: &WeightsFile,
        element: Element,
        change: impl Fn(&str, &mut Tensor),
    ) -> Result<(WeightsFile, Temporary), EngineError> {
        let name = temporary_name("safetensors");
        let (header, file) = lay_out(name, element, stored.tensors.iter().map(|t| (&*t.name, &*t.shape)));
        let path = self.folder.join(&file.name);
        let temporary = Temporary(path.clone());
        let copy = || {
            let mut source = File::open(self.folder.join(&stored.name))?;
            let mut sink = File::create(&path)?;
            sink.write_all(&header)?;
            for place in &stored.tensors {
                let mut tensor = read(&mut source, place)?;
                change(&place.name, &mut tensor);
                sink.write_all(&bytes_of(element_of(&place.name, element), &tensor.data))?;
            }
            Ok(())
        };
        copy().map_err(unwritable(&path))?;
        Ok((file, temporary))
    }

    /// Leaves the file as it is when it holds exactly these bytes, else writes it anew.
    fn ensure(&self, name: &str, bytes: impl Fn(Sink<'_>) -> io::Result<()>) -> Result<PathBuf, EngineError> {
        let path = self.folder.join(name);
        if !holds(&path, &bytes) {
            self.write(&path, &bytes).map_err(unwritable(&path))?;
        }
        Ok(path)
    }

    fn write(&self, path: &Path, bytes: impl Fn(Sink<'_>) -> io::Result<()>) -> io::Result<()> {
        let temporary = Temporary(self.folder.join(temporary_name("part")));
        let mut file = BufWriter::new(File::create(&temporary.0)?);
        bytes(&mut |chunk| file.write_all(chunk))?;
        file.into_inner()?.sync_all()?;
        fs::rename(&temporary.0, path)?;
        File::open(&self.folder)?.sync_all()
    }
}

impl WeightsFile {
    /// Bytes of all tensors.
    pub fn bytes(&self) -> usize {
        self.tensors.iter().map(|t| t.shape.iter().product::<usize>() * t.element.bytes()).sum()
    }
}

impl Constants for WeightsFile {
    fn constant(&self, graph: &mut Graph, name: &str) -> Value {
        let place = self.tensors.iter().find(|t| t.name == name).expect("canonical names are checked when loaded");
        graph.external(name, place.element, &place.shape, External { file: &self.name, offset: place.offset })
    }
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// The header of a weights file and its index.
fn lay_out<'a>(
    name: String,
    element: Element,
    tensors: impl Iterator<Item = (&'a str, &'a [usize])> + Clone,
) -> (Vec<u8>, WeightsFile) {
    let dtype = |name| match element_of(name, element) {
        Element::F16 => Dtype::F16,
        Element::Bf16 => Dtype::BF16,
        Element::F32 | Element::U8 | Element::I64 => Dtype::F32,
    };
    let entries = tensors.clone().map(|(name, shape)| tensors::Entry { name, dtype: dtype(name), shape });
    let (header, offsets) = tensors::header(entries, &Default::default());
    let place = |((name, shape), offset): ((&str, &[usize]), usize)| Place {
        name: name.to_owned(),
        shape: shape.to_owned(),
        element: element_of(name, element),
        offset,
    };
    let tensors = tensors.zip(offsets).map(place).collect();
    (header, WeightsFile { name, tensors })
}

/// Norms are computed in f32 whatever linears compute in.
fn element_of(name: &str, element: Element) -> Element {
    let is_norm = name.rsplit('.').nth(1).is_some_and(|layer| layer.starts_with("norm"));
    if is_norm { Element::F32 } else { element }
}

fn bytes_of(element: Element, values: &[f32]) -> Vec<u8> {
    match element {
        Element::F16 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
        Element::Bf16 => values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
        Element::F32 | Element::U8 | Element::I64 => le_bytes(values),
    }
}

fn read(source: &mut (impl Read + Seek), place: &Place) -> io::Result<Tensor> {
    let mut bytes = vec![0; place.shape.iter().product::<usize>() * size_of::<f32>()];
    source.seek(SeekFrom::Start(place.offset as u64))?;
    source.read_exact(&mut bytes)?;
    let data = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Ok(Tensor { shape: place.shape.clone(), data })
}

fn holds(path: &Path, bytes: impl Fn(Sink<'_>) -> io::Result<()>) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut file = BufReader::new(file);
    let mut found = Vec::new();
    let compared = bytes(&mut |chunk| {
        found.resize(chunk.len(), 0);
        file.read_exact(&mut found)?;
        if found == chunk { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    });
    compared.is_ok() && matches!(file.read(&mut [0]), Ok(0))
}

/// Little-endian bytes.
pub fn le_bytes(values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; size_of_val(values)];
    for (bytes, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *bytes = value.to_le_bytes();
    }
    bytes
}

fn temporary_name(extension: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{LEFTOVER_PREFIX}{}-{count}.{extension}", std::process::id())
}

fn remove_leftovers(folder: &Path) {
    let old = |entry: &fs::DirEntry| {
        let age = entry.metadata().and_then(|m| m.modified()).map(|time| time.elapsed().unwrap_or_default());
        entry.file_name().to_string_lossy().starts_with(LEFTOVER_PREFIX) && age.is_ok_and(|age| age > LEFTOVER_AGE)
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(old) {
        tracing::info!(path = %entry.path().display(), "removing what a dead process left in the cache");
        let _ = fs::remove_file(entry.path());
    }
}

fn unwritable(path: &Path) -> impl Fn(io::Error) -> EngineError {
    move |error| {
        let path = path.display();
        EngineError::Unavailable(format!("{path}: {error}; the onnx engine needs a writable --cache-dir with room"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Weights {
        let tensor = |first: f32| Tensor { shape: vec![2, 3], data: (0..6).map(|i| first + i as f32).collect() };
        Weights([("a".to_owned(), tensor(1.0)), ("b".to_owned(), tensor(-9.5))].into())
    }

    fn cache() -> (tempfile::TempDir, Cache) {
        let root = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::open(root.path(), &Fingerprint("sha256:00ff".into())).expect("writable");
        (root, cache)
    }

    fn names(cache: &Cache) -> Vec<String> {
        let entries = fs::read_dir(&cache.folder).expect("readable").flatten();
        entries.map(|e| e.file_name().into_string().expect("ascii")).collect()
    }

    #[test]
    fn a_file_that_is_right_is_kept_and_a_damaged_one_rebuilt() {
        let (_root, cache) = cache();
        cache.weights(&weights(), Element::F32).expect("written");
        let path = cache.folder.join("weights.safetensors");
        let good = fs::read(&path).expect("there");
        let written = fs::metadata(&path).and_then(|m| m.modified()).expect("there");
        cache.weights(&weights(), Element::F32).expect("kept");
        assert_eq!(fs::metadata(&path).and_then(|m| m.modified()).expect("there"), written);
        let mut flipped = good.clone();
        *flipped.last_mut().expect("not empty") ^= 1;
        for damage in [&good[..good.len() - 1], &[&good[..], b"x"].concat(), &flipped, b""] {
            fs::write(&path, damage).expect("written");
            cache.weights(&weights(), Element::F32).expect("rebuilt");
            assert_eq!(fs::read(&path).expect("there"), good);
        }
        assert_eq!(names(&cache), ["weights.safetensors"]);
    }

    #[test]
    fn a_changed_copy_is_a_valid_file_and_goes_with_its_guard() {
        let (_root, cache) = cache();
        let stored = cache.weights(&weights(), Element::F32).expect("written");
        let double = |_: &str, t: &mut Tensor| t.data.iter_mut().for_each(|v| *v *= 2.0);
        let (file, guard) = cache.changed_weights(&stored, Element::F32, double).expect("written");
        let bytes = fs::read(cache.folder.join(&file.name)).expect("there");
        let read = tensors::TensorFile::parse(&bytes).expect("valid").f32("b").expect("there").expect("f32");
        assert_eq!(read, (vec![2, 3], vec![-19.0, -17.0, -15.0, -13.0, -11.0, -9.0]));
        drop(guard);
        assert_eq!(names(&cache), ["weights.safetensors"]);
    }

    #[test]
    fn narrow_weights_keep_their_norms() {
        let (_root, cache) = cache();
        let mut weights = weights();
        weights.0.insert("blocks.0.norm1.weight".into(), Tensor { shape: vec![1], data: vec![1.000_1] });
        for (element, name) in [(Element::F16, "weights-f16.safetensors"), (Element::Bf16, "weights-bf16.safetensors")]
        {
            let file = cache.weights(&weights, element).expect("written");
            assert_eq!(file.bytes(), 2 * 12 + 4);
            let bytes = fs::read(cache.folder.join(name)).expect("there");
            let read = |tensor| {
                tensors::TensorFile::parse(&bytes).expect("valid").f32(tensor).expect("there").expect("floats").1
            };
            assert_eq!(read("b"), weights.tensor("b").data);
            assert_eq!(read("blocks.0.norm1.weight"), [1.000_1]);
        }
    }
}
