use serde::Serialize;

use crate::engine::Form;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Case {
    /// How the adapters are served.
    pub form: Form,
    /// Pictures in a batch.
    pub batch: usize,
    /// Tasks that the pictures are shared among; more than a batch has pictures take turns in consecutive batches.
    pub tasks: usize,
}

/// Every combination. The bare backbone has no adapters, so it runs once for each batch size, as one task.
pub fn all(forms: &[Form], batches: &[usize], tasks: &[usize]) -> Vec<Case> {
    let mut cases = Vec::new();
    for &form in forms {
        for &batch in batches {
            let tasks = if form == Form::Bare { &[1][..] } else { tasks };
            cases.extend(tasks.iter().map(|&tasks| Case { form, batch, tasks }));
        }
    }
    cases
}

impl Case {
    /// Tasks of the batch whose turn it is, by number, and each one's pictures: as even as can be.
    pub fn shares(self, turn: usize) -> impl Iterator<Item = (usize, usize)> {
        let Self { batch, tasks, .. } = self;
        let present = tasks.min(batch);
        let first = if tasks > batch { turn.wrapping_mul(batch) % tasks } else { 0 };
        (0..present).map(move |at| ((first + at) % tasks, batch / present + usize::from(at < batch % present)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_a_case_and_the_bare_backbone_is_one_task() {
        let cases = all(&[Form::Bare, Form::Rescaled], &[1, 8], &[1, 1000]);
        let case = |form, batch, tasks| Case { form, batch, tasks };
        let bare = [1, 8].map(|batch| case(Form::Bare, batch, 1));
        let rescaled = [(1, 1), (1, 1000), (8, 1), (8, 1000)].map(|(batch, tasks)| case(Form::Rescaled, batch, tasks));
        assert_eq!(cases, [&bare[..], &rescaled].concat());
    }

    #[test]
    fn pictures_are_shared_evenly() {
        let case = Case { form: Form::Rescaled, batch: 8, tasks: 3 };
        assert_eq!(case.shares(5).collect::<Vec<_>>(), [(0, 3), (1, 3), (2, 2)]);
    }

    #[test]
    fn more_tasks_than_pictures_take_turns_and_none_is_left_out() {
        let case = Case { form: Form::Rescaled, batch: 3, tasks: 5 };
        let batches: Vec<Vec<_>> = (0..5).map(|turn| case.shares(turn).collect()).collect();
        assert_eq!(batches[..2], [vec![(0, 1), (1, 1), (2, 1)], vec![(3, 1), (4, 1), (0, 1)]]);
        let mut seen = [0; 5];
        batches.iter().flatten().for_each(|&(task, pictures)| seen[task] += pictures);
        assert_eq!(seen, [3; 5]);
    }
}
