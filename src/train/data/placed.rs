use super::split::{Loose, Percent, Split, split};
use super::{Dataset, Example};

/// Pictures whose splits are known, and those whose are not.
#[derive(Default)]
pub struct Placed {
    known: Vec<(Split, Loose)>,
    loose: Vec<Loose>,
}

impl Placed {
    /// A picture, with what decides its split if none is given.
    pub fn add(&mut self, split: Option<Split>, key: String, example: Example) {
        match split {
            Some(split) => self.known.push((split, Loose { example, key })),
            None => self.loose.push(Loose { example, key }),
        }
    }

    /// Finds splits for what has none, and pictures to select on where there are none.
    pub fn dataset(self, labels: Vec<String>, multi_label: bool) -> Dataset {
        let Self { known, loose } = self;
        let has = |split| known.iter().any(|(s, _)| *s == split);
        // With given pictures to fit on and none to select on, those to select on come out of all that is to fit on.
        let carves = has(Split::Train) && !has(Split::Validation);
        let unplaced = loose.len();
        let mut placed = match (carves || has(Split::Validation), has(Split::Test)) {
            (true, true) => loose.into_iter().map(|loose| (Split::Train, loose)).collect(),
            (true, false) => split(loose, Percent::TEST),
            (false, true) => split(loose, Percent::VALIDATION),
            (false, false) => split(loose, Percent::BOTH),
        };
        placed.extend(known);
        if carves {
            let (train, others): (Vec<_>, Vec<_>) = placed.into_iter().partition(|(split, _)| *split == Split::Train);
            placed = split(train.into_iter().map(|(_, loose)| loose).collect(), Percent::VALIDATION);
            placed.extend(others);
        }
        let of = |split| placed.iter().filter(|(s, _)| *s == split).map(|(_, loose)| loose.example.clone()).collect();
        let (train, validation, test) = (of(Split::Train), of(Split::Validation), of(Split::Test));
        Dataset { labels, multi_label, train, validation, test, unplaced, notes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(given: &[(Option<Split>, usize)]) -> [usize; 3] {
        let mut placed = Placed::default();
        for (split, count) in given {
            for i in 0..*count {
                let name = format!("{split:?} {i}");
                placed.add(*split, name.clone(), Example { path: name.into(), targets: vec![0] });
            }
        }
        let data = placed.dataset(vec!["a".into()], false);
        [data.train, data.validation, data.test].map(|split| split.len())
    }

    #[test]
    fn what_is_missing_is_made_of_what_may_be_trained_on() {
        use Split::{Test, Train, Validation};
        assert_eq!(counts(&[(None, 100)]), [70, 15, 15]);
        assert_eq!(counts(&[(None, 50), (Some(Test), 7)]), [40, 10, 7]);
        assert_eq!(counts(&[(Some(Train), 50)]), [40, 10, 0]);
        assert_eq!(counts(&[(Some(Train), 49), (None, 1), (Some(Test), 7)]), [40, 10, 7]);
        assert_eq!(counts(&[(Some(Train), 20), (None, 20)]), [30, 7, 3]);
        let given = [(Some(Train), 20), (Some(Validation), 5), (Some(Test), 5)];
        assert_eq!(counts(&[&given[..], &[(None, 20)]].concat()), [40, 5, 5]);
        assert_eq!(counts(&[&given[..2], &[(None, 20)]].concat()), [37, 5, 3]);
        assert_eq!(counts(&[(Some(Train), 20), (Some(Validation), 5), (Some(Test), 5)]), [20, 5, 5]);
    }
}
