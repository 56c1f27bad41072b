//! Redriving: a record that was set aside is counted after all, once.
//!
//! What its lane set aside, and nothing else, is an entity ([`SetAside`]). A redrive moves that entity on in the
//! plan that holds what the record says, on a lane of its own, so that no cursor of a partition moves. What the
//! record says of entities may come any number of times anyway; a point of it becomes a sample, whose identity
//! is the record's place in its lane.

use std::sync::Arc;

use tidemark_model::metric::Point;
use tidemark_model::stream::Said;
use tidemark_model::{Batch, Key, Map, Origin, SetAside, Settings, State};

use crate::{Call, Lane, LaneId, Ledger, LedgerError, Store, off_thread};

/// What became of a record that was to be redriven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redriven {
    /// It counts now.
    Counted,
    /// It counted already.
    Before,
    /// It is well-formed and says nothing; that is settled now.
    Empty,
    /// No committed plan has set it aside, or that was forgotten: it may count already.
    Unknown,
    /// It still cannot be counted, for this reason.
    Rejected(String),
    /// What it says may have been forgotten by now, so counting it could count it twice.
    Late,
}

impl<S: Store> Ledger<S> {
    /// What the tables know of records that were set aside, each in its place: `None` where no committed plan
    /// has set the record aside, or that was forgotten.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn set_aside(&self, origins: &[Origin], call: Call) -> Result<Vec<Option<SetAside>>, LedgerError> {
        let requests = self.requests(call);
        let key = |origin: &Origin| SetAside::key(&lane_of(origin).to_string(), origin.offset);
        let places: Vec<Key> = origins.iter().map(key).collect();
        let mut keys = places.clone();
        keys.sort_unstable();
        keys.dedup();
        let known: Map<Key, _> = self.read_entities(&keys, &requests, true).await?;
        let state = |key: &Key| match &known.get(key)?.state {
            State::SetAside(set_aside) => Some(set_aside.clone()).filter(|set_aside| set_aside.expires > call.now_ms),
            _ => None,
        };
        Ok(places.iter().map(state).collect())
    }

    /// Counts a record that was set aside, as it came or mended, by how records are decoded now. May be
    /// repeated, and done twice at once.
    ///
    /// # Errors
    /// If it could not be finished: a repetition goes on.
    pub async fn redrive(
        &self,
        origin: &Origin,
        record: String,
        settings: &Settings,
        call: Call,
    ) -> Result<Redriven, LedgerError> {
        let known = self.set_aside(std::slice::from_ref(origin), call).await?;
        let Some(set_aside) = known.into_iter().flatten().next() else { return Ok(Redriven::Unknown) };
        let lane = lane_of(origin).to_string();
        let said = match set_aside.redriven {
            // The plan that says so may still be pending: it is finished below.
            true => Said::default(),
            false => match decoded(origin.clone(), record, settings.clone()).await? {
                Ok(said) => said,
                Err(redriven) => return Ok(redriven),
            },
        };
        let is_empty = said.changes.is_empty() && said.points.is_empty();
        let mut changes = said.changes;
        let sample = Point::key(&lane, origin.offset);
        changes.extend(said.points.into_iter().map(|point| point.identified(sample.clone())));
        changes.push(set_aside.redriven(SetAside::key(&lane, origin.offset)));
        // All redrives share a lane.
        let batch = Batch::of_changes("redrive", "quarantine", changes);
        let batch = Arc::new(Batch { max_tag_sets: settings.max_tag_sets, ..batch });
        let (receipt, outcome) = self.commit(&batch, call).await;
        outcome?;
        Ok(match receipt.entities {
            0 => Redriven::Before,
            _ if is_empty => Redriven::Empty,
            _ => Redriven::Counted,
        })
    }
}

fn lane_of(origin: &Origin) -> LaneId {
    Lane::new(&origin.source, &origin.topic, origin.partition, origin.epoch).id
}

/// What a record says, if it can be counted now.
async fn decoded(origin: Origin, record: String, settings: Settings) -> Result<Result<Said, Redriven>, LedgerError> {
    let decoded = off_thread(move || origin.decode(&record, &settings)).await.ok_or(LedgerError::Deadline)?;
    Ok(match decoded {
        Ok(Some(Batch { rejects, .. })) if !rejects.is_empty() => {
            Err(Redriven::Rejected(rejects.into_iter().map(|reject| reject.reason).collect()))
        }
        Ok(Some(batch)) if batch.late > 0 => Err(Redriven::Late),
        Ok(Some(batch)) => Ok(Said { changes: batch.changes, points: batch.points }),
        Ok(None) => Err(Redriven::Rejected("it is the record of another place".to_owned())),
        Err(error) => Err(Redriven::Rejected(error.to_string())),
    })
}
