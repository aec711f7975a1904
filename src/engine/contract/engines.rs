//! The engines that keep the promises: one line each.

use std::sync::Arc;

use super::{Subject, Tolerance, shapes};
use crate::backbone::Shape;
use crate::engine::onnx::{BatchForm, OnnxSettings};
use crate::engine::reference::{Real, Reference};
use crate::engine::testing::{Running, onnxruntime, random, same_bits, settings};
use crate::engine::{Backend, EngineKind, EngineSettings, Form, Precision, native, open};

fn reference<T: Real>(tolerance: Tolerance) -> Option<Subject> {
    let open = |backbone, weights| -> Arc<dyn Backend> { Arc::new(Reference::<T>::new(backbone, weights, usize::MAX)) };
    Some(Subject { open: Box::new(open), tolerance, pairs: false })
}

fn onnx() -> Option<Subject> {
    onnx_as(OnnxSettings::default(), Precision::F32, Tolerance::F32)
}

/// Many tasks in one run. A bias is added after both products and not before one of them.
fn onnx_mixed(pads_batches: bool) -> Option<Subject> {
    onnx_as(mixed(pads_batches), Precision::F32, Tolerance { neutral: 1e-6, ..Tolerance::F32 })
}

fn mixed(pads_batches: bool) -> OnnxSettings {
    let default = OnnxSettings::default();
    OnnxSettings { form: Some(BatchForm::Mixed), adapter_slots: 2, pads_batches: Some(pads_batches), ..default }
}

fn onnx_as(onnx: OnnxSettings, precision: Precision, tolerance: Tolerance) -> Option<Subject> {
    let library = Some(onnxruntime::newest()?);
    let settings = EngineSettings { onnxruntime_lib: library, onnx, precision: Some(precision), ..settings() };
    let open = move |backbone, weights| open(EngineKind::Onnx, backbone, weights, &settings).expect("the engine opens");
    Some(Subject { open: Box::new(open), tolerance, pairs: false })
}

/// The native engine with one of its kernels, where the processor has it.
fn native(kernel: &'static str, tolerance: Tolerance) -> Option<Subject> {
    native_on(kernel, settings().threads, tolerance)
}

fn native_on(kernel: &'static str, threads: usize, tolerance: Tolerance) -> Option<Subject> {
    if !native::kernels().contains(&kernel) {
        eprintln!("skipped: this processor cannot run kernel {kernel}");
        return None;
    }
    let open = move |backbone, weights| {
        let settings = EngineSettings { kernel: Some(kernel.into()), threads, ..settings() };
        open(EngineKind::Native, backbone, weights, &settings).expect("the engine opens")
    };
    Some(Subject { open: Box::new(open), tolerance, pairs: kernel == "avx512-bf16" })
}

macro_rules! contract {
    ($engine:ident, $subject:expr) => {
        contract!(
            $engine, $subject;
            golden_logits,
            neutral_adapter_is_the_bare_backbone,
            merged_is_rescaled,
            a_row_is_the_same_in_any_company,
            a_bad_row_spoils_no_other,
            a_merged_lens_says_what_it_keeps,
            any_shape_is_near_the_oracle,
        );
    };
    ($engine:ident, $subject:expr; $($promise:ident,)*) => {
        mod $engine {
            use super::*;

            $(#[test]
            fn $promise() {
                if let Some(subject) = $subject {
                    subject.$promise();
                }
            })*
        }
    };
}

contract!(reference_f32, reference::<f32>(Tolerance::F32));
contract!(reference_f64, reference::<f64>(Tolerance::F64));
contract!(onnx_runtime, onnx());
contract!(onnx_runtime_mixed, onnx_mixed(false));
contract!(onnx_runtime_mixed_and_padded, onnx_mixed(true));
contract!(onnx_runtime_f16, onnx_as(OnnxSettings::default(), Precision::F16, Tolerance::F16));
contract!(onnx_runtime_f16_mixed, onnx_as(mixed(true), Precision::F16, Tolerance::F16));
contract!(native_bf16, native("avx512-bf16", Tolerance::BF16));
contract!(native_avx512, native("avx512", Tolerance::F32));
contract!(native_avx2, native("avx2", Tolerance::F32));
contract!(native_portable, native("portable", Tolerance::F32));

macro_rules! training_contract {
    ($engine:ident, $subject:expr) => {
        contract!(
            $engine, $subject;
            golden_gradients,
            gradients_are_near_the_oracle,
            gradients_are_those_of_the_features,
            any_memory_gives_the_same_gradients,
        );
    };
}

training_contract!(training_reference_f32, reference::<f32>(Tolerance::F32));
training_contract!(training_reference_f64, reference::<f64>(Tolerance::F64));
training_contract!(training_onnx, onnx());
training_contract!(training_native_bf16, native("avx512-bf16", Tolerance::BF16));
training_contract!(training_native_avx512, native("avx512", Tolerance::F32));
training_contract!(training_native_avx2, native("avx2", Tolerance::F32));
training_contract!(training_native_portable, native("portable", Tolerance::F32));

/// Threads of the native engine claim work as they come to it; which one computes a value must not matter.
#[test]
fn native_rows_do_not_depend_on_threads() {
    for (i, (shape, grid)) in shapes().into_iter().enumerate().filter(|(_, (shape, _))| shape.width % 4 == 0) {
        let (backbone, weights) = random::backbone(shape, grid, 700 + i as u64);
        let adapter = random::adapter(&backbone, 1);
        let picture = random::picture((backbone.image_size, backbone.image_size), 1);
        let run = |kernel: &str, threads| {
            let settings = EngineSettings { kernel: Some(kernel.into()), threads, ..settings() };
            let backend = open(EngineKind::Native, backbone.clone(), weights.clone(), &settings);
            let mut running = Running::new(backend.expect("the engine opens"));
            let lens = running.lens(&adapter, Form::Rescaled);
            running.rows(&[(&lens, &[&picture; 5])])
        };
        for kernel in native::kernels() {
            let one = run(kernel, 1);
            for threads in [2, 3, 7] {
                let same = run(kernel, threads).iter().zip(&one).all(|(a, b)| same_bits(a, b));
                assert!(same, "{kernel} {shape:?} {threads}");
            }
        }
    }
}

/// Sums of the backward pass are taken in an order that threads do not change.
#[test]
fn native_gradients_do_not_depend_on_threads() {
    for kernel in native::kernels() {
        let gradient = |threads| native_on(kernel, threads, Tolerance::F32).expect("it can run").any_gradient();
        let one = gradient(1);
        for threads in [2, 3] {
            assert!(same_bits(&gradient(threads), &one), "{kernel} {threads}");
        }
    }
}

/// A process has one ONNX Runtime with one pool, so the oldest release keeps its promises in another.
#[test]
fn onnx_runtime_of_the_oldest_release() {
    if let Some(library) = onnxruntime::oldest() {
        onnxruntime::run_tests("engine::contract::engines::onnx_runtime::", &library, 2, &[]);
    }
}

/// More threads than the width allows: the engine takes fewer, and rows stay what they are.
#[test]
fn onnx_runtime_with_many_threads() {
    if let Some(library) = onnxruntime::newest() {
        onnxruntime::run_tests("engine::contract::engines::a_wide_pool", &library, 16, &["--ignored"]);
    }
}

#[test]
#[ignore = "needs a process of its own: onnx_runtime_with_many_threads"]
fn a_wide_pool() {
    let shape = Shape { width: 384, depth: 1, heads: 6, mlp: 1536, ..Shape::vit_b16() };
    let subject = onnx().expect("the library is there");
    for form in [Form::Rescaled, Form::Merged] {
        subject.bench((shape, 8), 600).compare_companies(form);
    }
}
