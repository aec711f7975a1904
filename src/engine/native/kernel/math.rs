//! Elementary functions on vectors.

use super::simd::Simd;
use crate::backbone::Activation;

/// e^x for x ≤ 88; below -87 it stays at e^-87 ≈ 1.6e-38. NaN stays NaN. Within 2 units in the last place.
#[inline(always)]
pub unsafe fn exp<S: Simd>(x: S::Floats) -> S::Floats {
    // Both instruction sets and the portable code answer with the second operand where one is NaN.
    let x = S::max(S::splat(-87.0), x);
    let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, so that x - n · ln 2 is exact to more bits than one float holds.
    let rest = S::mul_add(n, S::splat(-0.693_145_75), x);
    let rest = S::mul_add(n, S::splat(-1.428_606_8e-6), rest);
    let mut sum = S::splat(1.0 / 720.0);
    for coefficient in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = S::mul_add(sum, rest, S::splat(coefficient));
    }
    S::scale_by_power(sum, n)
}

/// The MLP's activation.
#[inline(always)]
pub unsafe fn activate<S: Simd>(activation: Activation, x: S::Floats) -> S::Floats {
    match activation {
        Activation::Gelu => gelu::<S>(x),
        Activation::GeluTanh => gelu_tanh::<S>(x),
    }
}

/// The activation's derivative.
#[inline(always)]
pub unsafe fn derivative<S: Simd>(activation: Activation, x: S::Floats) -> S::Floats {
    match activation {
        Activation::Gelu => gelu_derivative::<S>(x),
        Activation::GeluTanh => gelu_tanh_derivative::<S>(x),
    }
}

/// x/2 · (1 + erf(x/√2)).
#[inline(always)]
unsafe fn gelu<S: Simd>(x: S::Floats) -> S::Floats {
    let half = S::mul(x, S::splat(0.5));
    S::mul_add(half, erf_of_root_half::<S>(x), half)
}

/// Φ(x) + x · φ(x), the distribution and the density of the normal law.
#[inline(always)]
unsafe fn gelu_derivative<S: Simd>(x: S::Floats) -> S::Floats {
    let half = S::splat(0.5);
    let distribution = S::mul_add(half, erf_of_root_half::<S>(x), half);
    let density = exp::<S>(S::mul(S::mul(x, x), S::splat(-0.5)));
    let root = S::splat(std::f32::consts::FRAC_1_SQRT_2 * std::f32::consts::FRAC_2_SQRT_PI / 2.0);
    S::mul_add(S::mul(x, root), density, distribution)
}

/// erf(x/√2) as a rational function (the coefficients of Eigen and XLA): within 1.1e-6.
#[inline(always)]
unsafe fn erf_of_root_half<S: Simd>(x: S::Floats) -> S::Floats {
    const ERF_IS_ONE: f32 = 3.832_506_9;
    let z = S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2));
    let z = S::max(S::splat(-ERF_IS_ONE), S::min(S::splat(ERF_IS_ONE), z));
    let t = S::mul(z, z);
    let mut p = S::splat(0.000_229_050_66);
    for coefficient in [0.003_408_291_0, 0.050_955_695, 0.185_208_32, 1.128_379_1] {
        p = S::mul_add(p, t, S::splat(coefficient));
    }
    let mut q = S::splat(-1.179_160_3e-7);
    for coefficient in [2.354_796_6e-5, 0.001_017_962_5, 0.014_070_470, 0.110_985_05, 0.497_469_25, 1.0] {
        q = S::mul_add(q, t, S::splat(coefficient));
    }
    S::mul(S::mul(z, p), S::recip(q))
}

/// x/2 · (1 + tanh(u)), u = √(2/π) · (x + 0.044715 x³); (1 + tanh u)/2 = 1 / (1 + e^-2u).
#[inline(always)]
unsafe fn gelu_tanh<S: Simd>(x: S::Floats) -> S::Floats {
    S::mul(x, gate::<S>(x))
}

/// g + x · g · (1 - g) · 2u' with the gate g = (1 + tanh u)/2.
#[inline(always)]
unsafe fn gelu_tanh_derivative<S: Simd>(x: S::Floats) -> S::Floats {
    let g = gate::<S>(x);
    let one = S::splat(1.0);
    let slope = S::mul_add(S::mul(x, x), S::splat(3.0 * 0.044_715), one);
    let slope = S::mul(slope, S::splat(2.0 * std::f32::consts::FRAC_2_PI.sqrt()));
    S::mul_add(S::mul(S::mul(x, g), S::sub(one, g)), slope, g)
}

/// 1 / (1 + e^-2u).
#[inline(always)]
unsafe fn gate<S: Simd>(x: S::Floats) -> S::Floats {
    let minus_twice_root = -2.0 * std::f32::consts::FRAC_2_PI.sqrt();
    let cube = S::mul(S::mul(x, x), x);
    let u = S::mul_add(cube, S::splat(0.044_715), x);
    let u = S::mul(u, S::splat(minus_twice_root));
    let e = exp::<S>(S::min(S::splat(80.0), u));
    S::recip(S::add(S::splat(1.0), e))
}
