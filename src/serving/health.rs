use tokio::sync::watch;

/// What the readiness and liveness probes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Rows can be answered now.
    pub ready: bool,
    /// The process should go on.
    pub alive: bool,
    /// Why not, for people.
    pub reason: Option<String>,
}

/// The engine's state; only `Dead` is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EngineState {
    Ready,
    /// It failed for this reason and is being started again, once.
    Rebuilding(String),
    /// It failed for this reason and will not come back.
    Dead(String),
}

/// Tells everybody who asks what state the engine is in.
pub(super) struct Vitals(watch::Sender<EngineState>);

impl Vitals {
    pub fn new() -> Self {
        Self(watch::Sender::new(EngineState::Ready))
    }

    /// The dead stay dead.
    pub fn set(&self, state: EngineState) {
        self.0.send_if_modified(|now| {
            let changes = !matches!(now, EngineState::Dead(_)) && *now != state;
            if changes {
                *now = state;
            }
            changes
        });
    }

    pub fn health(&self) -> Health {
        match &*self.0.borrow() {
            EngineState::Ready => Health { ready: true, alive: true, reason: None },
            EngineState::Rebuilding(why) => {
                let reason = Some(format!("the engine is being started again: {why}"));
                Health { ready: false, alive: false, reason }
            }
            EngineState::Dead(why) => {
                Health { ready: false, alive: false, reason: Some(format!("the engine is dead: {why}")) }
            }
        }
    }

    /// Returns the reason once the engine is dead.
    pub async fn died(&self) -> String {
        let mut states = self.0.subscribe();
        loop {
            if let EngineState::Dead(why) = &*states.borrow_and_update() {
                return why.clone();
            }
            if states.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_dead_stay_dead() {
        let vitals = Vitals::new();
        assert!(vitals.health().ready && vitals.health().alive);
        vitals.set(EngineState::Rebuilding("panic".into()));
        assert!(!vitals.health().ready && !vitals.health().alive);
        vitals.set(EngineState::Ready);
        assert!(vitals.health().ready);
        vitals.set(EngineState::Dead("stuck".into()));
        vitals.set(EngineState::Ready);
        assert_eq!(vitals.health().reason.as_deref(), Some("the engine is dead: stuck"));
        assert_eq!(vitals.died().await, "stuck");
    }
}
