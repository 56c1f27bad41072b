//! The world as an invocation reaches it: every request waits there until the run says what becomes of it.

use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fastrand::Rng;
use tidemark_archive::{ArchiveError, Condition, Listed, Object, ObjectStore, Part};
use tidemark_ledger::{
    Answer, AppRetention, ConflictPage, Cursor, Floor, LaneId, LaneStats, Marks, Metered, Page, PlanId, PlanPage, Row,
    RowPage, Segment, StatePage, Store, StoreError, Units, Written,
};
use tidemark_model::views::Ranking;
use tidemark_model::{Decimal, Key, Known, Measures, Transition};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tokio::sync::oneshot;

use super::request::{Reply, Request, now};
use super::world::{Without, World};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is done and answered.
    Answered,
    /// It is done, or some of a batch is, but its answer is lost.
    AnswerLost(u64),
    /// It is throttled.
    Throttled,
    /// It times out undone; it may travel on.
    TimedOut,
    /// Some of a batch is done, the rest is left unprocessed.
    InPart(u64),
    /// A read sees each item as it was at any time before.
    Stale(u64),
}

/// What may become of a request, besides what may of any.
#[derive(Clone, Copy, Default)]
pub(super) struct May {
    pub(super) lose_its_answer: bool,
    pub(super) be_done_in_part: bool,
    pub(super) be_stale: bool,
}

/// A request on its way.
pub(super) struct Waiting {
    pub(super) invocation: usize,
    pub(super) label: String,
    /// What it would write to the tables.
    pub(super) write: Option<Request>,
    pub(super) may: May,
    fate: oneshot::Sender<Fate>,
}

impl Waiting {
    /// Whether its sender waits for it no more.
    pub(super) fn is_given_up(&self) -> bool {
        self.fate.is_closed()
    }

    pub(super) fn meet(self, fate: Fate) {
        self.fate.send(fate).unwrap();
    }
}

impl Fate {
    /// Which members of a batch are done.
    fn chooses(self, members: usize) -> Vec<bool> {
        match self {
            Self::InPart(seed) | Self::AnswerLost(seed) => {
                let mut rng = Rng::with_seed(seed);
                (0..members).map(|_| rng.bool()).collect()
            }
            _ => vec![true; members],
        }
    }
}

/// The members of a batch that are done, and those that are not.
fn divided<T: Clone>(all: &[T], chosen: &[bool]) -> (Vec<T>, Vec<T>) {
    let of = |which: bool| {
        let members = all.iter().zip(chosen).filter(|(_, chosen)| **chosen == which);
        members.map(|(member, _)| member.clone()).collect()
    };
    (of(true), of(false))
}

/// The world, as one invocation reaches it.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) invocation: usize,
}

impl Reach {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, label: &str, what: &str) {
        self.world().note(format!("#{} {label}: {what}", self.invocation));
    }

    /// Waits for what becomes of a request; why it is not done, if it is not.
    async fn wait(&self, label: &str, write: Option<Request>, may: May) -> Result<Fate, StoreError> {
        let (fate, met) = oneshot::channel();
        let (invocation, name) = (self.invocation, label.to_owned());
        self.world().waiting.push(Waiting { invocation, label: name, write, may, fate });
        let fate = met.await.expect("a request that is let go of has no sender any more");
        let (operation, table) = ("Request", "any".to_owned());
        match fate {
            Fate::Throttled => {
                self.note(label, "throttled");
                Err(StoreError::Throttled { operation, table, source: "throttled".into() })
            }
            Fate::TimedOut => {
                self.note(label, "timed out");
                Err(StoreError::Unanswered { operation, table, source: "timed out".into() })
            }
            _ => Ok(fate),
        }
    }

    async fn read<T>(&self, label: &str, read: impl FnOnce(&MemoryStore) -> T) -> Answer<T> {
        self.wait(label, None, May::default()).await?;
        self.note(label, "answered");
        let value = read(&self.world().store);
        Ok(metered(value))
    }

    async fn write(&self, write: Request) -> Answer<Reply> {
        let label = write.to_string();
        let fate = self.wait(&label, Some(write.clone()), May { lose_its_answer: true, ..May::default() }).await?;
        self.land(&label, &write, fate)
    }

    fn land(&self, label: &str, write: &Request, fate: Fate) -> Answer<Reply> {
        let reply = self.world().land(write);
        if matches!(fate, Fate::AnswerLost(_)) {
            self.note(label, &format!("{reply}, answer lost"));
            let (operation, table) = ("Request", "any".to_owned());
            return Err(StoreError::Unanswered { operation, table, source: "answer lost".into() });
        }
        self.note(label, &reply.to_string());
        Ok(metered(reply))
    }

    async fn hold(&self, write: Request) -> Answer<bool> {
        let Reply::Held(held) = self.write(write).await?.value else { unreachable!() };
        Ok(metered(held))
    }

    async fn do_it(&self, write: Request) -> Answer<()> {
        self.write(write).await?;
        Ok(metered(()))
    }
}

fn metered<T>(value: T) -> Metered<T> {
    Metered { value, units: Units::default() }
}

fn listed(keys: &[Key]) -> String {
    keys.iter().map(|key| format!(" {} {}", key.pk, key.sk)).collect()
}

impl Store for Reach {
    async fn read_entities(&self, keys: &[Key], consistent: bool) -> Answer<Page<(Key, Known), Key>> {
        let label = format!("reads entities{}:{}", if consistent { " strongly" } else { "" }, listed(keys));
        let may = May { be_done_in_part: true, be_stale: !consistent, ..May::default() };
        let fate = self.wait(&label, None, may).await?;
        let (asked, unprocessed) = divided(keys, &fate.chooses(keys.len()));
        let found = match fate {
            Fate::Stale(seed) => {
                let (world, mut rng) = (self.world(), Rng::with_seed(seed));
                let before = |key: &Key| {
                    let history = world.history.get(key)?;
                    Some((key.clone(), history.get(rng.usize(0..=history.len()).checked_sub(1)?)?.clone()))
                };
                asked.iter().filter_map(before).collect()
            }
            _ => now(self.world().store.read_entities(&asked, consistent)).found,
        };
        let seen: String = found.iter().map(|(key, known)| format!(" {} ({})", key.pk, known.counter)).collect();
        self.note(&label, &format!("{seen}, {} unprocessed", unprocessed.len()));
        Ok(metered(Page { found, unprocessed }))
    }

    async fn read_cursor(&self, lane: &LaneId) -> Answer<Option<Cursor>> {
        let label = format!("reads the cursor of lane {lane}");
        self.wait(&label, None, May::default()).await?;
        let cursor = now(self.world().store.read_cursor(lane));
        let told = cursor.as_ref().map(|c| format!("seq {} pending {} through {:?}", c.seq, c.pending, c.through));
        self.note(&label, &told.unwrap_or_else(|| "none".to_owned()));
        Ok(metered(cursor))
    }

    async fn read_plan(&self, lane: &LaneId, plan: &PlanId) -> Answer<Option<Vec<u8>>> {
        self.read(&format!("reads the plan of lane {lane}"), |store| now(store.read_plan(lane, plan))).await
    }

    async fn register_lane(&self, lane: &LaneId, name: &str) -> Answer<()> {
        self.do_it(Request::RegisterLane(lane.clone(), name.to_owned())).await
    }

    async fn write_plan(
        &self,
        lane: &LaneId,
        plan: &PlanId,
        previous: Option<&PlanId>,
        body: &[u8],
        expires_s: i64,
    ) -> Answer<()> {
        let (plan, previous) = (plan.clone(), previous.cloned());
        self.do_it(Request::WritePlan(lane.clone(), plan, previous, body.to_vec(), expires_s)).await
    }

    async fn write_conflicts(&self, lane: &LaneId, plan: &PlanId, conflicts: &[usize], expires_s: i64) -> Answer<()> {
        self.do_it(Request::WriteConflicts(lane.clone(), plan.clone(), conflicts.to_vec(), expires_s)).await
    }

    async fn advance(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        self.hold(Request::Advance(lane.clone(), cursor.clone())).await
    }

    async fn write_entities(&self, lane: &LaneId, seq: u64, transitions: &[&Transition]) -> Answer<Vec<Written>> {
        let all: Vec<Transition> = transitions.iter().map(|transition| (*transition).clone()).collect();
        let write = |transitions| Request::WriteEntities(lane.clone(), seq, transitions);
        let (label, may) = (write(all.clone()).to_string(), May { lose_its_answer: true, ..May::default() });
        let fate = self.wait(&label, Some(write(all.clone())), May { be_done_in_part: true, ..may }).await?;
        let chosen = fate.chooses(all.len());
        let Reply::Written(written) = self.land(&label, &write(divided(&all, &chosen).0), fate)?.value else {
            unreachable!()
        };
        let mut written = written.into_iter();
        let answers =
            chosen.into_iter().map(|is_done| if is_done { written.next().unwrap() } else { Written::Unprocessed });
        Ok(metered(answers.collect()))
    }

    async fn read_marks(&self, keys: &[Key]) -> Answer<Page<(Key, Marks), Key>> {
        let label = format!("reads marks:{}", listed(keys));
        let fate = self.wait(&label, None, May { be_done_in_part: true, ..May::default() }).await?;
        let (asked, unprocessed) = divided(keys, &fate.chooses(keys.len()));
        let found = now(self.world().store.read_marks(&asked)).found;
        let seen: String = found.iter().map(|(_, marks)| format!(" {marks:?}")).collect();
        self.note(&label, &format!("{seen}, {} unprocessed", unprocessed.len()));
        Ok(metered(Page { found, unprocessed }))
    }

    async fn add_row(
        &self,
        lane: &LaneId,
        seq: u64,
        key: &Key,
        delta: &Measures,
        ranking: Option<&'static Ranking>,
    ) -> Answer<Option<Row>> {
        let write = Request::AddRow(lane.clone(), seq, key.clone(), delta.clone(), ranking);
        let Reply::Row { row, .. } = self.write(write).await?.value else { unreachable!() };
        Ok(metered(row))
    }

    async fn set_extreme(&self, key: &Key, name: &'static str, value: Decimal) -> Answer<bool> {
        self.hold(Request::SetExtreme(key.clone(), name, value)).await
    }

    async fn read_floor(&self, ranking: &'static Ranking) -> Answer<Floor> {
        self.read(&format!("reads the floor of {}", ranking.board), |store| now(store.read_floor(ranking))).await
    }

    async fn set_floor(&self, ranking: &'static Ranking, read: Floor, floor: Floor) -> Answer<bool> {
        self.hold(Request::SetFloor(ranking, read, floor)).await
    }

    async fn set_rank(&self, key: &Key, ranking: &'static Ranking, seen: &Row, rank: Option<Decimal>) -> Answer<bool> {
        self.hold(Request::SetRank(key.clone(), ranking, seen.clone(), rank)).await
    }

    async fn finish(&self, lane: &LaneId, seq: u64, stats: &LaneStats) -> Answer<bool> {
        self.hold(Request::Finish(lane.clone(), seq, Box::new(stats.clone()))).await
    }

    async fn lane_stats(&self) -> Answer<Vec<(Cursor, LaneStats)>> {
        unreachable!("nobody looks at the lanes' numbers")
    }

    async fn lanes(&self, after: Option<&LaneId>) -> Answer<Vec<LaneId>> {
        self.read("lists lanes", |store| now(store.lanes(after))).await
    }

    async fn rows(&self, segment: Segment, after: Option<&Key>) -> Answer<RowPage> {
        let label = format!("reads rows, segment {} of {}", segment.number, segment.of);
        let mut page = self.read(&label, |store| now(store.rows(segment, after))).await?;
        if self.world().without == Without::MarksInScans {
            page.value.0.iter_mut().flat_map(|(_, row)| row).for_each(|row| row.marks.clear());
        }
        Ok(page)
    }

    async fn states(&self, segment: Segment, after: Option<&Key>) -> Answer<StatePage> {
        let label = format!("reads states, segment {} of {}", segment.number, segment.of);
        self.read(&label, |store| now(store.states(segment, after))).await
    }

    async fn timeline(&self, timeline: &str, after: Option<&Key>) -> Answer<StatePage> {
        self.read(&format!("reads the timeline {timeline}"), |store| now(store.timeline(timeline, after))).await
    }

    async fn plans(&self, lane: &LaneId, seqs: &RangeInclusive<u64>, after: Option<&PlanId>) -> Answer<PlanPage> {
        let label = format!("reads the plans {seqs:?} of lane {lane}");
        self.read(&label, |store| now(store.plans(lane, seqs, after))).await
    }

    async fn conflicts(
        &self,
        lane: &LaneId,
        seqs: &RangeInclusive<u64>,
        after: Option<&PlanId>,
    ) -> Answer<ConflictPage> {
        let label = format!("reads the conflicts {seqs:?} of lane {lane}");
        self.read(&label, |store| now(store.conflicts(lane, seqs, after))).await
    }

    async fn create_row(&self, key: &Key, row: &Measures, marks: &[(LaneId, u64)]) -> Answer<bool> {
        self.hold(Request::CreateRow(key.clone(), row.clone(), marks.to_vec())).await
    }

    async fn expire_row(&self, key: &Key, ranking: &'static Ranking, expires_s: i64) -> Answer<bool> {
        self.hold(Request::ExpireRow(key.clone(), ranking, expires_s)).await
    }

    async fn create_entities(&self, _entities: &[(Key, Known)]) -> Answer<Vec<Written>> {
        unreachable!("a cut is restored into tables of its own")
    }

    async fn create_cursor(&self, _lane: &LaneId, _cursor: &Cursor) -> Answer<bool> {
        unreachable!("a cut is restored into tables of its own")
    }

    async fn read_retention(&self) -> Answer<AppRetention> {
        self.read("reads the retention settings", |store| now(store.read_retention())).await
    }
}

impl Reach {
    /// Does something with the bucket's objects; its answer may be lost.
    async fn with_object<T>(
        &self,
        label: &str,
        key: &str,
        done: impl Future<Output = Result<T, ArchiveError>> + Send,
    ) -> Result<T, ArchiveError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ArchiveError::Unanswered {
            bucket: "bucket".to_owned(),
            object: key.to_owned(),
            action: "s3",
            source,
        };
        let may = May { lose_its_answer: true, ..May::default() };
        let fate = self.wait(label, None, may).await.map_err(|error| failed(error.into()))?;
        let answer = done.await?;
        self.note(label, "done");
        if matches!(fate, Fate::AnswerLost(_)) { Err(failed("answer lost".into())) } else { Ok(answer) }
    }

    fn objects(&self) -> MemoryObjects {
        self.world().objects.clone()
    }
}

impl ObjectStore for Reach {
    async fn put(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<(), ArchiveError> {
        let objects = self.objects();
        self.with_object(&format!("sets records aside in {key}"), key, objects.put(key, content_type, body)).await
    }

    async fn put_if(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
        condition: &Condition,
    ) -> Result<Option<String>, ArchiveError> {
        let objects = self.objects();
        let done = objects.put_if(key, content_type, body, condition);
        self.with_object(&format!("writes object {key} if {condition:?}"), key, done).await
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, ArchiveError> {
        let objects = self.objects();
        self.with_object(&format!("reads object {key}"), key, objects.get(key)).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ArchiveError> {
        let objects = self.objects();
        self.with_object(&format!("reads the size of object {key}"), key, objects.size(key)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        let objects = self.objects();
        self.with_object(&format!("reads {range:?} of object {key}"), key, objects.get_range(key, range)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, ArchiveError> {
        let objects = self.objects();
        self.with_object(&format!("lists objects under {prefix}"), prefix, objects.list(prefix, after)).await
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        let objects = self.objects();
        self.with_object(&format!("deletes object {key}"), key, objects.delete(key)).await
    }

    async fn begin_upload(&self, key: &str, content_type: &str) -> Result<String, ArchiveError> {
        let objects = self.objects();
        self.with_object(&format!("begins an upload of {key}"), key, objects.begin_upload(key, content_type)).await
    }

    async fn upload_part(&self, key: &str, upload: &str, number: i32, body: Bytes) -> Result<Part, ArchiveError> {
        let objects = self.objects();
        let done = objects.upload_part(key, upload, number, body);
        self.with_object(&format!("uploads part {number} of {key}"), key, done).await
    }

    async fn complete_upload(&self, key: &str, upload: &str, parts: &[Part]) -> Result<(), ArchiveError> {
        let objects = self.objects();
        self.with_object(&format!("completes the upload of {key}"), key, objects.complete_upload(key, upload, parts))
            .await
    }

    async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), ArchiveError> {
        let objects = self.objects();
        self.with_object(&format!("aborts the upload of {key}"), key, objects.abort_upload(key, upload)).await
    }
}
