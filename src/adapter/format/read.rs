use super::contents::Contents;
use super::metadata::{self, Metadata};
use super::problem::Problems;
use super::{AdapterError, AdapterFile, Target, container, rules};
use crate::adapter::Adapter;
use crate::tensors::TensorFile;

/// Reads a file for a backbone. Nothing is trusted, every fault is reported at once, and the result's values are one
/// flat vector and a head without spare capacity.
pub fn read(bytes: &[u8], target: &Target<'_>) -> Result<AdapterFile, AdapterError> {
    let file = container::open(bytes, &target.limits)?;
    let mut problems = Problems::new(target.limits.problems_max);
    let mut metadata = metadata::read(file.metadata(), &target.limits, &mut problems)?;
    rules::check(&metadata, &target.limits, &mut problems);
    if let Some(found) = metadata.backbone.take_if(|found| found != target.fingerprint && rules::is_fingerprint(found))
    {
        let problems = problems.into_vec();
        return Err(AdapterError::OtherBackbone { expected: target.fingerprint.clone(), found, problems });
    }
    rules::check_fit(&metadata, target.shape, &target.limits, &mut problems);
    match contents(&file, metadata, target, &mut problems) {
        Some(file) if problems.is_empty() => Ok(file),
        _ => Err(AdapterError::Invalid(problems.into_vec())),
    }
}

/// The tensors, and everything together. `None` only when a fault was gathered.
fn contents(
    file: &TensorFile<'_>,
    metadata: Metadata,
    target: &Target<'_>,
    problems: &mut Problems,
) -> Option<AdapterFile> {
    let mut contents = Contents { file, problems };
    let rescale = metadata.method.and_then(|method| contents.rescale(target.layout, method));
    let features = metadata.pooling.map(|pooling| pooling.features(target.shape.width));
    let head = features.and_then(|features| contents.head(features, &metadata, &target.limits));
    let side = metadata.preprocess.as_ref().map(|preprocess| preprocess.final_size());
    let probe = head.as_ref().zip(side).and_then(|(head, side)| contents.probe(head.classes(), side));
    contents.refuse_unknown(target.layout);
    let adapter = Adapter {
        method: metadata.method?,
        backbone: metadata.backbone?,
        rescale: rescale?,
        head: head?,
        labels: metadata.labels?,
        problem: metadata.problem?,
        decision: metadata.decision?,
        position_rule: metadata.position_rule?,
        pooling: metadata.pooling?,
        preprocess: metadata.preprocess?,
        temperature: metadata.temperature?,
        lineage: metadata.lineage?,
    };
    Some(AdapterFile { adapter, probe, extra: metadata.extra })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::adapter::format::write;
    use crate::adapter::testing::Tiny;
    use crate::adapter::{Decision, Method, Rule};
    use crate::tensors::{Dtype, Named, serialize};

    #[test]
    fn what_is_written_is_read_back_and_written_alike() {
        let tiny = Tiny::new();
        let file = tiny.file();
        let bytes = write(&file, &tiny.layout);
        let read = read(&bytes, &tiny.target()).expect("valid");
        assert_eq!(read, file);
        assert_eq!(write(&read, &tiny.layout), bytes);
    }

    #[test]
    fn files_of_the_first_version_are_read_forever() {
        let tiny = Tiny::new();
        let sample = include_bytes!("../../../tests/data/formats/adapter-v1.safetensors");
        assert_eq!(read(sample, &tiny.target()).expect("valid"), tiny.file());
        assert!(write(&tiny.file(), &tiny.layout) == sample, "this version's writer gives other bytes");
    }

    #[test]
    fn a_head_only_file_has_no_rescale_tensors_and_shares_the_neutral_vector() {
        let tiny = Tiny::new();
        let mut file = tiny.file();
        file.adapter.method = Method::Linear;
        file.adapter.rescale = tiny.layout.neutral();
        let bytes = write(&file, &tiny.layout);
        assert_eq!(TensorFile::parse(&bytes).expect("valid").names().len(), 4);
        let read = read(&bytes, &tiny.target()).expect("valid");
        assert_eq!(read, file);
        assert!(std::sync::Arc::ptr_eq(&read.adapter.rescale, &tiny.layout.neutral()));
    }

    #[test]
    fn half_precision_is_widened() {
        let tiny = Tiny::new();
        let bytes = write(&tiny.file(), &tiny.layout);
        let file = TensorFile::parse(&bytes).expect("valid");
        let mut names = file.names();
        names.sort();
        let halve = |name: &String| {
            let (shape, values) = file.f32(name).expect("there").expect("floats");
            let bytes = values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect::<Vec<u8>>();
            Named { name: name.clone(), dtype: Dtype::F16, shape, bytes: bytes.into() }
        };
        let tensors = names.iter().filter(|name| !name.starts_with("probe.")).map(halve);
        let halved = serialize(&tensors.collect::<Vec<_>>(), file.metadata());
        let read = read(&halved, &tiny.target()).expect("valid");
        let step = read.adapter.rescale[4] - 0.001;
        assert!(step.abs() < 1e-6 && step != 0.0, "{step}");
    }

    #[test]
    fn another_backbone_is_told_from_a_fault() {
        let tiny = Tiny::new();
        let mut file = tiny.file();
        file.adapter.backbone.0 = format!("sha256:{}", "ff".repeat(32));
        file.adapter.temperature = -1.0;
        let error = read(&write(&file, &tiny.layout), &tiny.target()).expect_err("another backbone");
        let AdapterError::OtherBackbone { problems, .. } = &error else { panic!("{error}") };
        assert_eq!(problems.len(), 1);
        assert_eq!(error.problems()[0].place, "backbone");
        assert_eq!(error.problems()[1].place, "temperature");
    }

    proptest! {
        #[test]
        fn any_values_survive(
            values in proptest::collection::vec(-1e30f32..1e30, 16),
            temperature in 1e-30f32..1e30,
            thresholds in proptest::array::uniform3(0.0f32..=1.0),
            labels in proptest::collection::hash_set("\\PC{1,20}", 3),
            lineage in any::<f64>(),
        ) {
            let tiny = Tiny::new();
            let mut file = tiny.file();
            file.adapter.rescale = (0..tiny.layout.len()).map(|i| values[i % values.len()]).collect();
            file.adapter.temperature = temperature;
            file.adapter.labels = labels.into_iter().collect();
            file.adapter.decision =
                Decision { rule: Rule::Threshold, thresholds: thresholds.to_vec(), abstain_below: None };
            file.adapter.preprocess.mean = [values[0], values[1], values[2]];
            file.adapter.lineage = serde_json::json!({"b": lineage, "a": [1, null]});
            let bytes = write(&file, &tiny.layout);
            prop_assert_eq!(read(&bytes, &tiny.target()).expect("valid"), file);
        }

        #[test]
        fn damaged_bytes_never_panic(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<Option<prop::sample::Index>>(),
        ) {
            let tiny = Tiny::new();
            let mut bytes = write(&tiny.file(), &tiny.layout);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Err(error) = read(&bytes, &tiny.target()) {
                prop_assert!(!error.problems().is_empty());
            }
        }

        #[test]
        fn damaged_metadata_never_panics(text in "\\PC{0,40}", which in 0usize..12) {
            let tiny = Tiny::new();
            let bytes = write(&tiny.file(), &tiny.layout);
            let file = TensorFile::parse(&bytes).expect("valid");
            let mut metadata = file.metadata().clone();
            let key = metadata.keys().nth(which).expect("13 keys").clone();
            metadata.insert(key, text);
            let tensor = Named::f32("head.bias", vec![3], &[0.0; 3]);
            prop_assert!(read(&serialize(&[tensor], &metadata), &tiny.target()).is_err());
        }
    }
}
