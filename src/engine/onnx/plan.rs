//! Which rows of a batch run together: pure, from the groups' sizes and what runs cost.

use std::ops::Range;

/// How groups of many tasks become runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// A run for each group: the weights are rescaled for it.
    Group,
    /// Rows of many tasks in one run, which multiplies every row twice.
    Mixed,
    /// Whatever costs least.
    Cheapest(Costs),
}

/// What a run costs by its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// Of one group.
    pub group: Curve,
    /// Of many tasks.
    pub mixed: Curve,
}

/// Seconds at some numbers of rows, in rising order; straight lines between and beyond them.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve(pub Vec<(usize, f64)>);

/// What a run can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of one run.
    pub rows_max: usize,
    /// Tasks of a mixed run.
    pub tasks_max: usize,
    /// Whether runs are filled up to a power of two, so that few shapes occur.
    pub pads: bool,
}

/// Some rows of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which group.
    pub group: usize,
    /// Which of its rows.
    pub rows: Range<usize>,
}

/// What runs at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// Rows of one task.
    Group(Part),
    /// Rows of at least one task.
    Mixed(Vec<Part>),
}

impl Policy {
    /// The runs of groups of that many rows each, all of one picture size. Every row is in one run.
    pub fn plan(&self, rows: &[usize], limits: &Limits) -> Vec<Run> {
        let mut by_rows: Vec<_> = (0..rows.len()).collect();
        by_rows.sort_by_key(|&group| rows[group]);
        match self {
            Self::Group => alone(rows, &by_rows, limits),
            Self::Mixed => together(rows, &by_rows, limits),
            Self::Cheapest(costs) => cheapest(rows, &by_rows, costs, limits),
        }
    }
}

/// A mixed run saves a fixed cost per group and pays more per row, so the smallest groups go into it: all choices of
/// how many are compared.
fn cheapest(rows: &[usize], by_rows: &[usize], costs: &Costs, limits: &Limits) -> Vec<Run> {
    let choice = |mixed: usize| {
        let (small, large) = by_rows.split_at(mixed);
        let mut runs = together(rows, small, limits);
        runs.extend(alone(rows, large, limits));
        runs
    };
    let cost = |runs: &Vec<Run>| runs.iter().map(|run| costs.of(run, limits)).sum::<f64>();
    // A mixed run of one task has no use.
    let choices = (0..=rows.len()).filter(|&mixed| mixed != 1).map(choice);
    choices.min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or_default()
}

fn alone(rows: &[usize], groups: &[usize], limits: &Limits) -> Vec<Run> {
    let cut = |&group: &usize| {
        let starts = (0..rows[group]).step_by(limits.rows_max);
        starts.map(move |start| Part { group, rows: start..rows[group].min(start.saturating_add(limits.rows_max)) })
    };
    groups.iter().flat_map(cut).map(Run::Group).collect()
}

/// Runs as full as the limits allow.
fn together(rows: &[usize], groups: &[usize], limits: &Limits) -> Vec<Run> {
    let mut runs = Vec::new();
    let (mut parts, mut left) = (Vec::new(), limits.rows_max);
    for &group in groups {
        let mut start = 0;
        while start < rows[group] {
            if left == 0 || parts.len() == limits.tasks_max {
                runs.push(Run::Mixed(std::mem::take(&mut parts)));
                left = limits.rows_max;
            }
            let end = rows[group].min(start.saturating_add(left));
            parts.push(Part { group, rows: start..end });
            left -= end - start;
            start = end;
        }
    }
    if !parts.is_empty() {
        runs.push(Run::Mixed(parts));
    }
    runs
}

impl Limits {
    /// Rows of a run with what it is filled up with.
    pub fn padded(&self, rows: usize) -> usize {
        if self.pads { rows.next_power_of_two() } else { rows }
    }
}

impl Run {
    /// What it holds.
    pub fn parts(&self) -> &[Part] {
        match self {
            Self::Group(part) => std::slice::from_ref(part),
            Self::Mixed(parts) => parts,
        }
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.parts().iter().map(|part| part.rows.len()).sum()
    }
}

impl Costs {
    fn of(&self, run: &Run, limits: &Limits) -> f64 {
        let rows = limits.padded(run.rows());
        match run {
            Run::Group(_) => self.group.at(rows),
            Run::Mixed(_) => self.mixed.at(rows),
        }
    }
}

impl Curve {
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 rows")]
    fn at(&self, rows: usize) -> f64 {
        let points = &self.0;
        let last = points.len().saturating_sub(1);
        let upper = points.iter().position(|&(at, _)| at >= rows).unwrap_or(last).clamp(1.min(last), last);
        let Some(&(right, above)) = points.get(upper) else { return 0.0 };
        let (left, below) = points[upper.saturating_sub(1)];
        if left == right {
            return above;
        }
        // Noise may make a larger run look faster; a slope is never negative.
        let slope = ((above - below) / (right - left) as f64).max(0.0);
        (below + slope * (rows as f64 - left as f64)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FREE: Limits = Limits { rows_max: usize::MAX, tasks_max: usize::MAX, pads: false };

    fn costs() -> Costs {
        Costs { group: Curve(vec![(1, 4.0), (9, 12.0)]), mixed: Curve(vec![(1, 3.0), (9, 19.0)]) }
    }

    #[test]
    fn a_curve_is_straight_between_and_beyond_its_points() {
        let curve = Curve(vec![(1, 1.0), (3, 5.0), (5, 6.0)]);
        assert_eq!([1, 2, 3, 4, 7].map(|rows| curve.at(rows)), [1.0, 3.0, 5.0, 5.5, 7.0]);
        assert_eq!(Curve(vec![(4, 2.0)]).at(9), 2.0);
        assert_eq!(Curve(vec![(1, 5.0), (3, 4.0)]).at(9), 5.0);
    }

    #[test]
    fn many_small_groups_run_together_and_large_ones_alone() {
        let policy = Policy::Cheapest(costs());
        let part = |group, rows| Part { group, rows: 0..rows };
        assert_eq!(policy.plan(&[40], &FREE), [Run::Group(part(0, 40))]);
        assert_eq!(
            policy.plan(&[1, 20, 1, 1], &FREE),
            [Run::Mixed(vec![part(0, 1), part(2, 1), part(3, 1)]), Run::Group(part(1, 20))]
        );
        assert_eq!(policy.plan(&[20, 20], &FREE).len(), 2);
    }

    #[test]
    fn a_run_keeps_its_limits() {
        let limits = Limits { rows_max: 4, tasks_max: 2, pads: true };
        let runs = Policy::Mixed.plan(&[1, 1, 1, 6], &limits);
        let sizes: Vec<_> = runs.iter().map(|run| (run.parts().len(), run.rows())).collect();
        assert_eq!(sizes, [(2, 2), (2, 4), (1, 3)]);
        assert_eq!(Policy::Group.plan(&[9], &limits).iter().map(Run::rows).collect::<Vec<_>>(), [4, 4, 1]);
    }

    proptest! {
        #[test]
        fn every_row_runs_once_and_no_simpler_plan_is_cheaper(
            rows in prop::collection::vec(1..40usize, 0..20),
            (rows_max, tasks_max, pads) in (1..64usize, 1..10usize, any::<bool>()),
            (group, mixed) in (prop::array::uniform2(0.01..9.0f64), prop::array::uniform2(0.01..9.0f64)),
        ) {
            let limits = Limits { rows_max, tasks_max, pads };
            let curve = |[at_one, more]: [f64; 2]| Curve(vec![(1, at_one), (8, at_one + more)]);
            let costs = Costs { group: curve(group), mixed: curve(mixed) };
            let cost = |runs: &[Run]| runs.iter().map(|run| costs.of(run, &limits)).sum::<f64>();
            let cheapest = Policy::Cheapest(costs.clone()).plan(&rows, &limits);
            for policy in [Policy::Group, Policy::Mixed] {
                prop_assert!(cost(&cheapest) <= cost(&policy.plan(&rows, &limits)) + 1e-9 || rows.len() == 1);
            }
            for runs in [cheapest, Policy::Group.plan(&rows, &limits), Policy::Mixed.plan(&rows, &limits)] {
                let mut seen: Vec<_> = rows.iter().map(|&rows| vec![false; rows]).collect();
                for run in &runs {
                    prop_assert!(run.rows() <= rows_max && run.rows() > 0);
                    prop_assert!(run.parts().len() <= tasks_max || matches!(run, Run::Group(_)));
                    for part in run.parts() {
                        for row in part.rows.clone() {
                            prop_assert!(!std::mem::replace(&mut seen[part.group][row], true));
                        }
                    }
                }
                prop_assert!(seen.iter().flatten().all(|&seen| seen));
            }
        }
    }
}
