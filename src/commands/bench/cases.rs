use serde::Serialize;

use crate::engine::Form;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Case {
    /// How the adapters are served.
    pub form: Form,
    /// Pictures in a batch.
    pub batch: usize,
    /// Tasks that the pictures are shared among.
    pub tasks: usize,
}

/// Every combination in which each task has a picture.
pub fn all(forms: &[Form], batches: &[usize], tasks: &[usize]) -> Vec<Case> {
    let mut cases = Vec::new();
    for &form in forms {
        for &batch in batches {
            let fitting = tasks.iter().filter(|&&tasks| (1..=batch).contains(&tasks));
            cases.extend(fitting.map(|&tasks| Case { form, batch, tasks }));
        }
    }
    cases
}

impl Case {
    /// Pictures of each task, as even as can be.
    pub fn pictures_of_each(self) -> impl Iterator<Item = usize> {
        let Self { batch, tasks, .. } = self;
        (0..tasks).map(move |task| batch / tasks + usize::from(task < batch % tasks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_without_a_picture_is_no_case() {
        let cases = all(&[Form::Rescaled, Form::Merged], &[1, 8], &[0, 1, 8]);
        let expected = [Form::Rescaled, Form::Merged]
            .map(|form| [(1, 1), (8, 1), (8, 8)].map(|(batch, tasks)| Case { form, batch, tasks }));
        assert_eq!(cases, expected.concat());
    }

    #[test]
    fn pictures_are_shared_evenly() {
        let case = Case { form: Form::Bare, batch: 8, tasks: 3 };
        assert_eq!(case.pictures_of_each().collect::<Vec<_>>(), [3, 3, 2]);
    }
}
