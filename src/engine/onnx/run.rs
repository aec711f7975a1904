//! One run of a graph: its rows are gathered, its session is found, its answer is cut to the rows that were asked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use ndarray::{Array2, Axis};

use super::gather::{Gathered, Row};
use super::model::{Adaptation, Given};
use super::session::{Input, Session, Table, Values};
use super::slots::{Key, Slots};
use super::{BatchForm, Shared};
use crate::backbone::PositionRule;
use crate::engine::{EngineError, Lens, patches};
use crate::image::Pixels;

/// What one run is asked.
pub struct Call<'a> {
    /// Pictures of one size.
    pub rows: Vec<Row<'a>>,
    rule: PositionRule,
    given: Given,
    adapted: AdaptedBy<'a>,
}

/// How a run's rows are adapted.
#[derive(Clone, Copy)]
pub enum AdaptedBy<'a> {
    /// By the session's own weights, or not at all.
    Nothing,
    /// All by one flat vector.
    Vector(&'a [f32]),
    /// Each by the slot of the table that it names.
    Table,
}

/// Sessions that all tasks share, and what runs read.
pub struct Runner {
    shared: Arc<Shared>,
    sessions: HashMap<(Adaptation, Given), Session>,
    gathered: Gathered,
    /// Where mixed runs find their adapters; none where there are no such runs.
    resident: Option<Resident>,
}

/// The table of adapters and what lies in it.
struct Resident {
    table: Table,
    slots: Slots,
}

impl<'a> Call<'a> {
    /// Without rows yet.
    pub fn new(rule: PositionRule, given: Given, adapted: AdaptedBy<'a>) -> Self {
        Self { rows: Vec::new(), rule, given, adapted }
    }

    /// Adds a task's pictures.
    pub fn add(&mut self, lens: &'a Lens, pictures: &[&'a Pixels], slot: usize) {
        let preprocess = &lens.adapter.preprocess;
        self.rows.extend(pictures.iter().map(|pixels| Row { pixels, preprocess, slot }));
    }
}

impl Runner {
    /// Allocates the table of adapters where there are mixed runs.
    pub fn new(shared: Arc<Shared>) -> Result<Self, EngineError> {
        let mut runner = Self { shared, sessions: HashMap::new(), gathered: Gathered::default(), resident: None };
        let shared = &runner.shared;
        if shared.settings.form() != BatchForm::Group {
            let session = session(&mut runner.sessions, shared, (Adaptation::Rows, shared.given()))?;
            let slots = shared.limits().tasks_max;
            let table = Table::new(slots, shared.layout.len(), session, &shared.settings)?;
            runner.resident = Some(Resident { table, slots: Slots::new(slots) });
        }
        Ok(runner)
    }

    /// What workers share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Opens a session ahead of its first run.
    pub fn open(&mut self, adaptation: Adaptation, given: Given) -> Result<(), EngineError> {
        session(&mut self.sessions, &self.shared, (adaptation, given)).map(drop)
    }

    /// Slots of the table that hold these adapters until they are unpinned.
    ///
    /// # Panics
    /// When there are more than slots, or there is no table.
    pub fn pin<'a>(&mut self, adapters: impl Iterator<Item = (Key, &'a [f32])>) -> Result<Vec<usize>, EngineError> {
        let Resident { table, slots } = self.resident.as_mut().expect("mixed runs have a table");
        let mut pinned = Vec::new();
        for (key, adapter) in adapters {
            let place = slots.pin(key).expect("a run has no more tasks than the table has slots");
            pinned.push(place.slot);
            if place.is_new
                && let Err(error) = table.write(place.slot, adapter)
            {
                slots.forget(place.slot);
                self.unpin(&pinned);
                return Err(error);
            }
        }
        Ok(pinned)
    }

    /// The runs that read these slots have ended.
    pub fn unpin(&mut self, pinned: &[usize]) {
        let slots = self.resident.as_mut().map(|resident| &mut resident.slots);
        slots.into_iter().for_each(|slots| pinned.iter().for_each(|&slot| slots.unpin(slot)));
    }

    /// Features `[rows, 2 * width]`, in a session that all tasks share.
    pub fn run(&mut self, call: &Call<'_>) -> Result<Array2<f32>, EngineError> {
        let Self { shared, sessions, gathered, resident } = self;
        let adaptation = match call.adapted {
            AdaptedBy::Nothing => Adaptation::Constants,
            AdaptedBy::Vector(_) => Adaptation::Vector,
            AdaptedBy::Table => Adaptation::Rows,
        };
        let session = session(sessions, shared, (adaptation, call.given))?;
        answer(shared, session, gathered, resident.as_ref().map(|resident| &resident.table), call)
    }

    /// Features in a session of a task's own.
    pub fn run_in(&mut self, session: &mut Session, call: &Call<'_>) -> Result<Array2<f32>, EngineError> {
        answer(&self.shared, session, &mut self.gathered, None, call)
    }
}

fn session<'a>(
    sessions: &'a mut HashMap<(Adaptation, Given), Session>,
    shared: &Shared,
    (adaptation, given): (Adaptation, Given),
) -> Result<&'a mut Session, EngineError> {
    Ok(match sessions.entry((adaptation, given)) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(shared.open(shared.kind(adaptation, given))?),
    })
}

/// The graph's answer to the rows of a call; its last axis is the columns.
pub fn answer(
    shared: &Shared,
    session: &mut Session,
    gathered: &mut Gathered,
    table: Option<&Table>,
    call: &Call<'_>,
) -> Result<Array2<f32>, EngineError> {
    let shape = &shared.backbone.shape;
    let (gh, gw) = patches::grid(call.rows[0].pixels, shape.patch);
    let positions = shared.positions.get(call.rule, (gh, gw));
    let count = shared.limits().padded(call.rows.len());
    // The runtime sums a product of one row in an order of its own, so a lone patch gets an empty picture beside it.
    let count = if gh * gw == 1 { count.max(2) } else { count };
    gathered.fill(&call.rows, count, call.given, shape);
    let mut inputs = gathered.pictures(shape);
    let positions = Values::F32(&positions);
    inputs.push(Input { name: "positions", shape: vec![gh * gw, shape.width], values: positions });
    match call.adapted {
        AdaptedBy::Nothing => {}
        AdaptedBy::Vector(vector) => {
            inputs.push(Input { name: "adapter", shape: vec![vector.len()], values: Values::F32(vector) });
        }
        AdaptedBy::Table => {
            let table = table.expect("mixed runs have a table");
            inputs.push(Input { name: "adapters", shape: Vec::new(), values: Values::Table(table) });
            inputs.push(gathered.slots());
        }
    }
    let mut answer = session.run(&inputs)?;
    let asked = answer.nrows() / count * call.rows.len();
    answer.slice_axis_inplace(Axis(0), (..asked).into());
    Ok(answer)
}
