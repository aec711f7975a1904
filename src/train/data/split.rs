use std::collections::BTreeMap;

use super::Example;
use crate::hash::content_hash;

/// What a picture is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// To fit on.
    Train,
    /// To select on.
    Validation,
    /// To report on.
    Test,
}

impl Split {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// What is done on its pictures.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "select",
            Self::Test => "report",
        }
    }

    /// By what data forms call it, in small letters or large ones.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match &*name.to_ascii_lowercase() {
            "train" | "training" => Self::Train,
            "val" | "valid" | "validation" => Self::Validation,
            "test" | "testing" => Self::Test,
            _ => return None,
        })
    }
}

/// A picture that has no split yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loose {
    /// The picture.
    pub example: Example,
    /// What decides: its path from the data's folder, with `/`, or its group. Equal keys share a split.
    pub key: String,
}

/// Shares in percent that leave the training split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent {
    /// To select on.
    pub validation: usize,
    /// To report on.
    pub test: usize,
}

impl Percent {
    /// Where no picture has a split.
    pub const BOTH: Self = Self { validation: 15, test: 15 };
    /// Where only those to select on are missing.
    pub const VALIDATION: Self = Self { validation: 20, test: 0 };
    /// Where only those to report on are.
    pub const TEST: Self = Self { validation: 0, test: 15 };
}

/// Puts every picture into a split: class by class, in the order of the keys' hashes, so that neither the order nor the
/// bytes of the files matter. A class of at least three pictures, or groups none of which has more than half of it, is in
/// every split that gets a share.
pub fn split(pictures: Vec<Loose>, percent: Percent) -> Vec<(Split, Loose)> {
    let mut units: BTreeMap<String, Vec<Loose>> = BTreeMap::new();
    pictures.into_iter().for_each(|loose| units.entry(loose.key.clone()).or_default().push(loose));
    let mut classes: BTreeMap<Option<usize>, Vec<(String, Vec<Loose>)>> = BTreeMap::new();
    for (key, mut unit) in units {
        unit.sort_by(|a, b| a.example.path.cmp(&b.example.path));
        let class = unit.first().and_then(|loose| loose.example.targets.first().copied());
        classes.entry(class).or_default().push((content_hash(key.as_bytes()), unit));
    }
    let mut split: Vec<_> = classes.into_values().flat_map(|units| split_class(units, percent)).collect();
    split.sort_by(|a, b| (a.0, &a.1.example.path).cmp(&(b.0, &b.1.example.path)));
    split
}

/// A split's part of a class, in pictures.
struct Share {
    split: Split,
    wanted: usize,
    taken: usize,
}

impl Share {
    fn has_room(&self, count: usize) -> bool {
        self.taken + count <= self.wanted
    }

    fn is_missing(&self) -> bool {
        self.wanted > 0 && self.taken == 0
    }
}

fn split_class(mut units: Vec<(String, Vec<Loose>)>, percent: Percent) -> Vec<(Split, Loose)> {
    units.sort_by(|a, b| a.0.cmp(&b.0));
    let (units_count, all) = (units.len(), units.iter().map(|(_, unit)| unit.len()).sum());
    let share = |split, percent| Share { split, wanted: wanted(all, percent), taken: 0 };
    let mut shares = [share(Split::Test, percent.test), share(Split::Validation, percent.validation)];
    // A group larger than the share, but not the greater part of the class, is better than none.
    let spared = |count: usize| units_count >= 3 && 2 * count <= all;
    let mut place = |unit: Vec<Loose>| {
        let count = unit.len();
        let fits = shares.iter_mut().find(|share| share.has_room(count) || share.is_missing() && spared(count));
        let split = fits.map_or(Split::Train, |share| {
            share.taken += count;
            share.split
        });
        unit.into_iter().map(move |loose| (split, loose)).collect::<Vec<_>>()
    };
    units.into_iter().flat_map(|(_, unit)| place(unit)).collect()
}

fn wanted(all: usize, percent: usize) -> usize {
    let rounded = all.saturating_mul(percent).saturating_add(50) / 100;
    if percent > 0 && all >= 3 { rounded.max(1) } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loose(name: &str, class: usize, key: &str) -> Loose {
        Loose { example: Example { path: name.into(), targets: vec![class] }, key: key.to_owned() }
    }

    proptest! {
        #[test]
        fn every_class_is_in_every_split_whatever_the_order(sizes in prop::collection::vec(3usize..60, 1..6), seed: u64) {
            let names = sizes.iter().enumerate().flat_map(|(class, &n)| (0..n).map(move |i| (class, format!("{class}/{i}"))));
            let names: Vec<_> = names.collect();
            let all = |names: &[(usize, String)]| names.iter().map(|(class, n)| loose(n, *class, n)).collect::<Vec<_>>();
            let found = split(all(&names), Percent::BOTH);
            let mut shuffled = names.clone();
            crate::random::Random::seeded(seed).shuffle(&mut shuffled);
            prop_assert_eq!(&found, &split(all(&shuffled), Percent::BOTH));
            prop_assert_eq!(found.len(), names.len());
            for (class, &n) in sizes.iter().enumerate() {
                for part in [Split::Train, Split::Validation, Split::Test] {
                    let count = found.iter().filter(|(s, l)| *s == part && l.example.targets == [class]).count();
                    let share = if part == Split::Train { 70 } else { 15 };
                    prop_assert!(count >= 1 && (100 * count).abs_diff(share * n) <= 200, "{:?} {} of {}", part, count, n);
                }
            }
        }

        #[test]
        fn a_group_is_in_one_split(groups in prop::collection::vec(0u8..12, 1..80)) {
            let names = groups.iter().enumerate();
            let pictures = names.map(|(i, group)| loose(&format!("{group}/{i}"), i % 3, &format!("group {group}")));
            let mut of_group = BTreeMap::new();
            for (split, loose) in split(pictures.collect(), Percent::BOTH) {
                let group = loose.example.path.parent().map(std::path::Path::to_owned);
                prop_assert_eq!(*of_group.entry(group).or_insert(split), split);
            }
        }
    }

    #[test]
    fn groups_larger_than_a_share_are_split_too() {
        let pictures = (0..20).map(|i| loose(&format!("{i}"), 0, &format!("group {}", i / 4))).collect();
        let found = split(pictures, Percent::BOTH);
        let count = |part| found.iter().filter(|(split, _)| *split == part).count();
        assert_eq!([Split::Train, Split::Validation, Split::Test].map(count), [12, 4, 4]);
    }

    #[test]
    fn a_picture_stays_where_it_is_when_another_class_grows() {
        let small: Vec<_> = (0..20).map(|i| loose(&format!("a/{i}"), 0, &format!("a/{i}"))).collect();
        let grown = |i| loose(&format!("b/{i}"), 1, &format!("b/{i}"));
        let both = (0..20).map(|i| loose(&format!("a/{i}"), 0, &format!("a/{i}"))).chain((0..9).map(grown)).collect();
        let of_a = |split: Vec<(Split, Loose)>| {
            split.into_iter().filter(|(_, l)| l.example.targets == [0]).collect::<Vec<_>>()
        };
        assert_eq!(of_a(split(small, Percent::BOTH)), of_a(split(both, Percent::BOTH)));
    }
}
