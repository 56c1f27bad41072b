//! Requests over HTTP: some events and points come this way, each request as often as its caller likes.

use std::collections::BTreeMap;

use fastrand::Rng;
use tidemark_ledger::LaneId;
use tidemark_model::ingest::{RequestId, ingest};
use tidemark_model::stream::Stream;
use tidemark_model::{Change, Settings, activity, metric};
use tidemark_tests::arbitrary::Sent;

use super::world::World;

/// Values that come together.
pub(super) struct Posted {
    stream: &'static Stream,
    values: Vec<String>,
    id: RequestId,
    /// Whether it was answered: its caller need not send it again.
    pub(super) answered: bool,
}

impl Posted {
    pub(super) fn changes(&self, settings: &Settings) -> Vec<Change> {
        ingest(self.stream, &self.values, &self.id, settings, |_| true).changes
    }
}

/// Takes some values out of what is sent, and makes requests of them. The first stays.
pub(super) fn requests(sent: &mut Vec<Sent>, rng: &mut Rng) -> Vec<Posted> {
    const STREAMS: [&Stream; 2] = [&activity::TRACKED, &metric::STREAM];
    if rng.bool() {
        return Vec::new();
    }
    let mut first = true;
    let mut taken: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    sent.retain(|(name, value)| {
        let stream = STREAMS.iter().position(|stream| stream.name == *name).filter(|_| value != "broken");
        let Some(stream) = stream.filter(|_| !std::mem::take(&mut first) && rng.u8(..3) == 0) else { return true };
        taken.entry(stream).or_default().push(value.clone());
        false
    });
    let mut requests = Vec::new();
    for (stream, values) in taken {
        let mut rest = values.as_slice();
        while !rest.is_empty() {
            let (values, later) = rest.split_at(rng.usize(1..=rest.len().min(4)));
            // No key: what is equal is one event, as it is in the stream.
            let id = RequestId::random(requests.len() as u128);
            requests.push(Posted { stream: STREAMS[stream], values: values.to_vec(), id, answered: false });
            rest = later;
        }
    }
    requests
}

/// I3 of a request, when it is answered: no pending plan has written any of its entities, which are written once.
pub(super) fn answer_is_true(world: &World, changes: &[Change]) {
    let items = world.store.items();
    for Change { key, .. } in changes {
        let entity = items.entities.get(key);
        let entity = entity.unwrap_or_else(|| panic!("I3: a request was answered too early; nobody has {key:?}"));
        let is_pending = |(lane, mark): (&LaneId, &u64)| {
            items.cursors.get(lane).is_some_and(|cursor| cursor.pending && cursor.seq == *mark)
        };
        assert!(!entity.marks.iter().any(is_pending), "I3: a request was answered, and {key:?} is not in the rows");
    }
}
