//! Plans: what one batch of one lane will do, written before it is done.
//!
//! Persisted as JSON under zstd, so that a later release reads an earlier one's pending plan.

use serde::{Deserialize, Serialize};
use tidemark_model::fold::effects;
use tidemark_model::{Key, Measures, Rows, Transition};

use crate::LedgerError;

/// An item holds 400 KB (409,600 bytes, DynamoDB's limit) with its keys and other attributes.
pub const MAX_PLAN_BYTES: usize = 400_000;

/// A plan's JSON, before compression: bounds memory, and what [`Plan::decode`] must take.
const MAX_PLAN_TEXT: usize = 16 << 20;
/// Fast, and within a few percent of the best on plans.
const ZSTD_LEVEL: i32 = 3;

/// The intention of one commit. Immutable once written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The entities' steps.
    pub transitions: Vec<Transition>,
    /// What records without identity add to the rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<(Key, Measures)>,
}

impl Plan {
    /// Splits a batch's work into plans that each fit one item, with their persisted forms, in the
    /// order in which they must be committed: the points, which `through` guards, stand in the
    /// last. There is always at least one, be it empty.
    ///
    /// # Errors
    /// If one transition alone does not fit, which the limits at decoding rule out.
    pub(crate) fn split(transitions: Vec<Transition>, points: Rows) -> Result<Vec<(Self, Vec<u8>)>, LedgerError> {
        let mut plans = Vec::new();
        let mut waiting = vec![Self { transitions, points: points.into_sorted() }];
        while let Some(mut plan) = waiting.pop() {
            match plan.encode() {
                Ok(body) => plans.push((plan, body)),
                Err(LedgerError::PlanTooLarge { .. }) if plan.transitions.len() > 1 => {
                    let later = plan.transitions.split_off(plan.transitions.len() / 2);
                    waiting.push(Self { transitions: later, points: plan.points });
                    waiting.push(Self { transitions: plan.transitions, points: Vec::new() });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(plans)
    }

    /// The deltas to the rows when only some of the transitions apply.
    pub(crate) fn deltas<'a>(&self, applied: impl Iterator<Item = &'a Transition>) -> Vec<(Key, Measures)> {
        let mut rows: Rows = self.points.iter().cloned().collect();
        rows.merge(effects(applied));
        rows.into_sorted()
    }

    /// The persisted form.
    ///
    /// # Errors
    /// If it exceeds an item, or the compressor fails.
    pub fn encode(&self) -> Result<Vec<u8>, LedgerError> {
        let json = serde_json::to_vec(self).map_err(|e| LedgerError::Plan(e.into()))?;
        if json.len() > MAX_PLAN_TEXT {
            return Err(LedgerError::PlanTooLarge { bytes: json.len() });
        }
        let body = zstd::bulk::compress(&json, ZSTD_LEVEL).map_err(LedgerError::Plan)?;
        if body.len() > MAX_PLAN_BYTES {
            return Err(LedgerError::PlanTooLarge { bytes: body.len() });
        }
        Ok(body)
    }

    /// Reads the persisted form.
    ///
    /// # Errors
    /// If the bytes are not a plan.
    pub fn decode(body: &[u8]) -> Result<Self, LedgerError> {
        let json = zstd::bulk::decompress(body, MAX_PLAN_TEXT).map_err(LedgerError::Plan)?;
        serde_json::from_slice(&json).map_err(|e| LedgerError::Plan(e.into()))
    }
}
