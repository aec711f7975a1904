use super::data::Example;
use super::recipe::Sampler;
use crate::random::{Random, key};

/// Tells this use of the seed from others.
const ORDER: u64 = 2;

/// A training example as an epoch meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// By index.
    pub example: usize,
    /// Tells this meeting from the epoch's others, so that an example which is drawn twice is not augmented alike.
    pub meeting: usize,
}

/// The examples of one epoch, in the order in which they are met: as many as there are.
pub fn order(sampler: Sampler, examples: &[Example], classes: usize, seed: u64, epoch: usize) -> Vec<Draw> {
    let mut random = Random::seeded(key(&[seed, ORDER, epoch as u64]));
    match sampler {
        Sampler::Uniform => {
            let mut order: Vec<usize> = (0..examples.len()).collect();
            random.shuffle(&mut order);
            order.into_iter().map(|example| Draw { example, meeting: example }).collect()
        }
        Sampler::Balanced => {
            let groups = groups(examples, classes);
            let mut draw = || {
                let group = &groups[random.below(groups.len())];
                group[random.below(group.len())]
            };
            (0..examples.len()).map(|meeting| Draw { example: draw(), meeting }).collect()
        }
    }
}

/// The examples of each class that has any, and those of no class. One with several classes is in several groups.
fn groups(examples: &[Example], classes: usize) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new(); classes + 1];
    for (index, example) in examples.iter().enumerate() {
        match &example.targets[..] {
            [] => groups[classes].push(index),
            targets => targets.iter().for_each(|&class| groups[class].push(index)),
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Vec<Example> {
        (0..1000).map(|i| Example { path: "".into(), targets: vec![usize::from(i % 100 == 0)] }).collect()
    }

    #[test]
    fn uniform_meets_everything_once_in_another_order_each_epoch() {
        let drawn = |epoch| order(Sampler::Uniform, &examples(), 2, 1, epoch).into_iter().map(|draw| draw.example);
        let [mut first, second] = [0, 1].map(|epoch| drawn(epoch).collect::<Vec<_>>());
        assert_ne!(first, second);
        first.sort_unstable();
        assert!(first.into_iter().eq(0..1000));
    }

    #[test]
    fn balanced_draws_a_rare_class_as_often_as_a_common_one() {
        let order = order(Sampler::Balanced, &examples(), 3, 1, 0);
        let rare = order.iter().filter(|draw| draw.example % 100 == 0).count();
        assert_eq!(order.len(), 1000);
        assert!((430..570).contains(&rare), "{rare}");
        assert!(order.iter().map(|draw| draw.meeting).eq(0..1000));
    }
}
