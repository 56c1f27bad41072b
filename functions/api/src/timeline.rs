//! A user's timeline, page by page, the newest event first.
//!
//! Events without an id stand in the order of time in the table; those with an id stand under it, because no time
//! is part of their identity. So a page reads all that have an id, up to 32 MB, and of the others as many as it
//! shows. A sparse index would spare that at a further write unit for every event: too much for what is looked at
//! now and then.

use tidemark_ledger::Call;
use tidemark_ledger::dynamo::Span;
use tidemark_model::activity::{Event, timeline};
use tidemark_model::{Key, Known, State};

use crate::{Api, Problem, Range};

/// Requests for events with an id at most; each shows 1 MB.
const MOST_REQUESTS: usize = 32;
/// Events without an id that a page looks at, at most.
const MOST_LOOKED_AT: usize = 4_000;

/// Bytes of events on a page at most: Lambda takes 6 MB, in which quotes are escaped.
const PAGE_BYTES: usize = 2_500_000;
/// Bytes of an event but for its properties, roughly.
const EVENT_BYTES: usize = 1_000;

/// What is asked of a timeline.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) app: String,
    pub(crate) user: String,
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) range: Range,
    pub(crate) limit: usize,
}

/// Where an event stands: its time, then its sort key. The greatest comes first.
pub(crate) type Place = (i64, String);

/// Some events in no order.
type Found = Vec<(Place, Event)>;

/// The page before a place, or the first one; and the place that the next one goes on from.
pub(crate) async fn page(
    api: &Api,
    question: &Question,
    before: Option<Place>,
    call: Call,
) -> Result<(Vec<Event>, Option<Place>), Problem> {
    let look = Look { api, question, before, call, pk: timeline(&question.app, &question.user).into() };
    let mut found = look.with_id().await?;
    let (in_order, stopped) = look.in_order().await?;
    found.extend(in_order);
    sort(&mut found);
    // What was not looked at may come between the events that stand further down.
    found.retain(|(place, _)| stopped.as_ref().is_none_or(|stopped| place >= stopped));
    let most = question.limit.min(fitting(&found));
    let next = if found.len() > most {
        found.truncate(most);
        found.last().map(|(place, _)| place.clone())
    } else {
        stopped
    };
    Ok((found.into_iter().map(|(_, event)| event).collect(), next))
}

/// How many of the first events an answer holds: one at least.
fn fitting(found: &Found) -> usize {
    let ends = found.iter().scan(0, |bytes, (_, event)| {
        *bytes += EVENT_BYTES + event.properties.as_ref().map_or(0, |properties| properties.text().len());
        Some(*bytes)
    });
    ends.take_while(|bytes| *bytes <= PAGE_BYTES).count().max(1)
}

/// One look at a timeline.
struct Look<'a> {
    api: &'a Api,
    question: &'a Question,
    before: Option<Place>,
    call: Call,
    pk: String,
}

impl Look<'_> {
    /// The newest events with an id, one more than the page shows.
    async fn with_id(&self) -> Result<Found, Problem> {
        let span = Span::of(self.pk.as_str(), ("ID#".to_owned(), "ID$".to_owned()), usize::MAX);
        let (mut found, mut after) = (Found::new(), None);
        for _ in 0..MOST_REQUESTS {
            let (entities, next) = self.read(&span, after.as_deref()).await?;
            found.extend(entities.into_iter().filter_map(|entity| self.shown(entity)));
            sort(&mut found);
            found.truncate(self.question.limit + 1);
            after = next;
            if after.is_none() {
                return Ok(found);
            }
        }
        Err(Problem::new(
            http::StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "the user has more events with an id than one request can sort, {MOST_REQUESTS} MB; see the archive"
            ),
        ))
    }

    /// The newest events without an id; and where the look stopped, if there may be more.
    async fn in_order(&self) -> Result<(Found, Option<Place>), Problem> {
        let Range { start_ms, end_ms } = self.question.range;
        let place = |ms: i64| format!("EVENT#{:015}", ms.max(0));
        // Of the ms at which an event with an id ended the page before, all without one are still to come.
        let to = match &self.before {
            None => place(end_ms),
            Some((_, sk)) if sk.starts_with("EVENT#") => sk.clone(),
            Some((at, _)) => place(at.saturating_add(1)),
        };
        // A range that begins some time ago has moved on since the page before.
        if to < place(start_ms) {
            return Ok((Found::new(), None));
        }
        let is_filtered = self.question.kind.is_some() || self.question.name.is_some();
        let most = if is_filtered { 1_000 } else { self.question.limit + 1 };
        let span = Span::of(self.pk.as_str(), (place(start_ms), to), most).backwards();
        let (mut found, mut looked_at, mut after) = (Found::new(), 0, None);
        loop {
            let (entities, next) = self.read(&span, after.as_deref()).await?;
            looked_at += entities.len();
            let last = entities.last().and_then(place_of);
            found.extend(entities.into_iter().filter_map(|entity| self.shown(entity)));
            after = next;
            if after.is_none() {
                return Ok((found, None));
            }
            if found.len() > self.question.limit || looked_at >= MOST_LOOKED_AT {
                return Ok((found, last));
            }
        }
    }

    async fn read(&self, span: &Span, after: Option<&str>) -> Result<(Vec<(Key, Known)>, Option<String>), Problem> {
        let read = || self.api.ledger.store().entities(span, after);
        Ok(self.api.ledger.send(read, self.call).await?.value)
    }

    /// An event, if the page shows it.
    fn shown(&self, entity: (Key, Known)) -> Option<(Place, Event)> {
        let Question { app, user, kind, name, range, .. } = self.question;
        let place = place_of(&entity)?;
        let State::Event(event) = entity.1.state else { return None };
        let is_asked = event.app == *app
            && event.user == *user
            && kind.as_ref().is_none_or(|kind| event.kind == *kind)
            && name.as_ref().is_none_or(|name| event.name == *name)
            && (range.start_ms..range.end_ms).contains(&event.at)
            && self.before.as_ref().is_none_or(|before| place < *before);
        let is_there = !event.erased && event.expires > self.call.now_ms;
        (is_asked && is_there).then_some((place, *event))
    }
}

fn place_of((key, known): &(Key, Known)) -> Option<Place> {
    match &known.state {
        State::Event(event) => Some((event.at, key.sk.to_string())),
        _ => None,
    }
}

fn sort(found: &mut Found) {
    found.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
}
