//! Where a list goes on: opaque to callers, signed, and good for one caller and one question.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::params::Params;
use crate::{Caller, FieldError, Problem, Secret};

const TAG_BYTES: usize = 16;

/// Writes and reads cursors.
#[derive(Clone, Debug)]
pub struct Cursors(Secret);

impl Cursors {
    /// Cursors signed by a key of their own.
    pub fn new(key: Secret) -> Self {
        Self(key)
    }

    /// The cursor of a place in the list that a caller has asked for by these parameters.
    pub fn seal(&self, caller: &Caller, params: &Params, place: &impl Serialize) -> Option<String> {
        let place = serde_json::to_vec(place).ok()?;
        let tag = self.0.hash(&[caller.id().as_bytes(), params.question().as_bytes(), &place]);
        let mut bytes = tag.get(..TAG_BYTES)?.to_vec();
        bytes.extend(place);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The place that the parameter `cursor` says, if it is given.
    ///
    /// # Errors
    /// If it is not one that this caller was given for this very question.
    pub fn open<T: DeserializeOwned>(&self, caller: &Caller, params: &Params) -> Result<Option<T>, Problem> {
        let Some(cursor) = params.get("cursor") else { return Ok(None) };
        let place = self.verified(cursor, caller, params).and_then(|place| serde_json::from_slice(&place).ok());
        let reason = "is not a cursor of this list; take `next` of the page before, and change nothing else";
        place.map(Some).ok_or_else(|| Problem::invalid(vec![FieldError::new("cursor", reason)]))
    }

    fn verified(&self, cursor: &str, caller: &Caller, params: &Params) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (tag, place) = bytes.split_at_checked(TAG_BYTES)?;
        let question = params.question();
        self.0.is_hash(&[caller.id().as_bytes(), question.as_bytes(), place], tag).then(|| place.to_vec())
    }
}
