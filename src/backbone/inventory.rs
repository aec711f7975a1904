use std::collections::{BTreeMap, HashMap};

use super::error::BackboneProblem;
use super::names::{SPELLINGS, Slot, Spelling, ignored};
use super::report::Ignored;
use super::source::Stored;

/// A checkpoint's tensors, each with its place in a ViT.
pub(super) struct Inventory {
    /// The dialect that fits most names.
    pub spelling: &'static Spelling,
    /// What stands before every name, e.g. `vit.`.
    pub prefix: String,
    /// Name and stored form by place.
    pub slots: HashMap<Slot, (String, Stored)>,
    /// Tensors that are no part of the backbone.
    pub ignored: Vec<Ignored>,
    /// Names that are unknown, or that claim a taken place.
    pub problems: Vec<BackboneProblem>,
}

/// Finds the dialect and sorts the names; an error when no dialect's patch embedding is there.
pub(super) fn take(tensors: BTreeMap<String, Stored>) -> Result<Inventory, String> {
    let (spelling, prefix) = choose(&tensors).ok_or_else(|| no_dialect(&tensors))?;
    let mut inventory =
        Inventory { spelling, prefix, slots: HashMap::new(), ignored: Vec::new(), problems: Vec::new() };
    for (name, stored) in tensors {
        inventory.place(name, stored);
    }
    Ok(inventory)
}

impl Inventory {
    fn place(&mut self, name: String, stored: Stored) {
        let inside = name.strip_prefix(self.prefix.as_str());
        if let Some(slot) = inside.and_then(|name| self.spelling.slot(name)) {
            match self.slots.get(&slot) {
                Some((other, _)) => {
                    self.problems.push(BackboneProblem::new(name, format!("means the same tensor as {other}")));
                }
                None => drop(self.slots.insert(slot, (name, stored))),
            }
        } else if let Some(why) = inside.and_then(ignored).or_else(|| ignored(&name)) {
            self.ignored.push(Ignored { name, shape: stored.shape, why });
        } else {
            let problem = format!("not a tensor of a {} backbone", self.spelling.name);
            self.problems.push(BackboneProblem::new(name, problem));
        }
    }

    /// The name of a place in this file, or the one that it would have.
    pub fn name(&self, slot: Slot) -> String {
        match self.slots.get(&slot) {
            Some((name, _)) => name.clone(),
            None => format!("{}{}", self.prefix, self.spelling.write(slot).unwrap_or_default()),
        }
    }

    /// The stored shape of a place.
    pub fn shape(&self, slot: Slot) -> Option<&[usize]> {
        self.slots.get(&slot).map(|(_, stored)| stored.shape.as_slice())
    }
}

/// The dialect and prefix under which most names are known.
fn choose(tensors: &BTreeMap<String, Stored>) -> Option<(&'static Spelling, String)> {
    let mut best: Option<(usize, _, String)> = None;
    for spelling in SPELLINGS {
        let anchor = spelling.anchor();
        let prefixes = tensors.keys().filter_map(|name| name.strip_suffix(anchor.as_str()));
        for prefix in prefixes.filter(|p| p.is_empty() || p.ends_with(spelling.separator)) {
            let known = tensors.keys().filter_map(|name| spelling.slot(name.strip_prefix(prefix)?)).count();
            if best.as_ref().is_none_or(|&(most, ..)| known > most) {
                best = Some((known, spelling, prefix.to_owned()));
            }
        }
    }
    best.map(|(_, spelling, prefix)| (spelling, prefix))
}

fn no_dialect(tensors: &BTreeMap<String, Stored>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<_> = tensors.keys().take(SHOWN).map(String::as_str).collect();
    let dialects = SPELLINGS.map(|s| format!("{} ({})", s.name, s.anchor())).join(", ");
    format!(
        "holds no patch embedding under a known name, so it is no ViT that can be read; known are {dialects}; \
         the file has {} tensors: {} …",
        tensors.len(),
        names.join(", ")
    )
}
