use super::real;

/// The share of pairs (of the class, not of it) whose order by score is right, ties counted half: the area under the
/// ROC curve. None without a pair.
pub fn auroc(scored: &[(f64, bool)]) -> Option<f64> {
    let (mut above, mut pairs) = (0, 0.0);
    for (positives, negatives) in falling(scored) {
        pairs += real(negatives) * (real(above) + 0.5 * real(positives));
        above += positives;
    }
    let negatives = scored.len() - above;
    (above > 0 && negatives > 0).then(|| pairs / (real(above) * real(negatives)))
}

/// Σ (recall step) · (precision there) over falling scores, equal scores being one step, as scikit-learn defines it
/// (no interpolation). None without a picture of the class.
pub fn average_precision(scored: &[(f64, bool)]) -> Option<f64> {
    let all = scored.iter().filter(|(_, is)| *is).count();
    let (mut found, mut taken, mut sum) = (0, 0, 0.0);
    for (positives, negatives) in falling(scored) {
        found += positives;
        taken += positives + negatives;
        sum += real(positives) * real(found) / real(taken);
    }
    (all > 0).then(|| sum / real(all))
}

/// Positives and negatives of each score, the highest first.
fn falling(scored: &[(f64, bool)]) -> Vec<(usize, usize)> {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let counts = |tied: &[(f64, bool)]| {
        let positives = tied.iter().filter(|(_, is)| *is).count();
        (positives, tied.len() - positives)
    };
    sorted.chunk_by(|a, b| a.0 == b.0).map(counts).collect()
}
