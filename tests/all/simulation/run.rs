//! One run: a world, an event source and invocations of the real function, driven step by step by one
//! seed. First as badly as it gets; then in peace, until everything is at rest and must be true.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aggregate::Aggregate;
use bytes::Bytes;
use fastrand::Rng;
use tidemark_archive::Quarantine;
use tidemark_ledger::{AuditOptions, Call, Ledger, Options, Redriven};
use tidemark_model::time::DAY_MS;
use tidemark_model::{Origin, Settings};
use tidemark_runtime::telemetry::chain;
use tidemark_tests::arbitrary::Sent;
use tidemark_tests::archived::archive;
use tidemark_tests::{NOW_MS, options};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::archive::{cut_is_exact, cut_restores, met};
use super::check::{everything_is_true, report_is_true, rows_are_the_sums};
use super::http::{Posted, answer_is_true, requests};
use super::reach::{Fate, Reach, Waiting};
use super::request::Request;
use super::source::{Partition, Slices, again, broken, next, partitions, payload, sent};
use super::world::World;

/// Invocations at work at once.
const MOST_AT_ONCE: usize = 6;
/// A run that takes more steps than this does not come to rest.
const MOST_STEPS: usize = 100_000;
/// No invocation lasts longer: what is pending since before then is the sweeper's.
const LONGEST_INVOCATION_MS: i64 = 900_000;

/// How bad it gets: chances in a thousand.
#[derive(Clone, Debug)]
struct Chances {
    fault: u32,
    duplicate: u32,
    kill: u32,
    give_up: u32,
    again: u32,
    replay: u32,
    discard: u32,
    upkeep: u32,
    audit: u32,
    redrive: u32,
    request: u32,
    deadline: u32,
    archive: u32,
}

struct Invocation {
    number: usize,
    task: JoinHandle<Result<(), String>>,
    /// What it was given; an upkeep none.
    slices: Slices,
    /// The request that it serves, if it does.
    request: Option<usize>,
    payload: Bytes,
    /// Its requests take longer than others'.
    slow: bool,
}

pub(super) struct Run {
    rng: Rng,
    world: Arc<Mutex<World>>,
    chances: Chances,
    options: Options,
    settings: Settings,
    sent: Vec<Sent>,
    partitions: Vec<Partition>,
    requests: Vec<Posted>,
    invocations: Vec<Invocation>,
    begun: usize,
    /// Whether days go by between.
    ages: bool,
    calm: bool,
    delivers: bool,
    /// Whether a cut was restored. Once a run is enough.
    restored: bool,
}

impl Run {
    pub(super) fn new(seed: u64, world: Arc<Mutex<World>>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut often = |most: u32| if rng.bool() { 0 } else { rng.u32(0..=most) };
        let chances = Chances {
            fault: often(300),
            duplicate: often(100),
            kill: often(20),
            give_up: often(40),
            again: often(30),
            replay: often(10),
            discard: often(10),
            upkeep: often(10),
            audit: often(20),
            redrive: often(40),
            request: often(40),
            deadline: often(500),
            archive: often(20),
        };
        let sent = sent(&mut rng);
        let mut by_kafka = sent.clone();
        let requests = requests(&mut by_kafka, &mut rng);
        let options = Options {
            concurrency: rng.usize(1..6),
            // A parcel is not divided.
            plan_bytes: rng.choice([if requests.is_empty() { 360 } else { 700 }, 1_000, 400_000]).unwrap(),
            top: rng.usize(1..4),
            http_lanes: rng.u16(1..4),
            ..options(seed)
        };
        let max_tag_sets = rng.choice([1, 2, 1_000]).unwrap();
        let quarantine_retention_ms = rng.choice([1, 90]).unwrap() * DAY_MS;
        let settings = Settings { now_ms: NOW_MS, max_tag_sets, quarantine_retention_ms, ..Settings::default() };
        let partitions = partitions(&by_kafka, &mut rng);
        world.lock().unwrap().note(format!("{} values, {chances:?}, {options:?}, tag sets {max_tag_sets}", sent.len()));
        let ages = rng.u8(..4) == 0;
        Self {
            rng,
            world,
            chances,
            options,
            settings,
            sent,
            partitions,
            requests,
            invocations: Vec::new(),
            begun: 0,
            ages,
            calm: false,
            delivers: true,
            restored: false,
        }
    }

    /// Panics where something does not hold.
    pub(super) async fn go(mut self) {
        self.mayhem().await;
        while self.ages && self.rng.u8(..5) > 0 {
            self.grow_older().await;
            self.mayhem().await;
        }
        self.note("from here on in peace".to_owned());
        self.calm = true;
        // What was given up on comes again.
        self.partitions.iter_mut().filter(|p| p.discarded).for_each(|p| (p.acknowledged, p.with) = (0, None));
        self.rest().await;
        // The sweeper finishes what nobody came back to.
        self.begin_upkeep();
        self.rest().await;
        for (origin, record) in broken(&self.partitions).collect::<Vec<_>>() {
            self.begin_redrive(origin, record);
            self.rest().await;
        }
        everything_is_true(&self.world(), &self.partitions, &self.requests, &self.sent, &self.settings);
    }

    async fn mayhem(&mut self) {
        self.calm = false;
        for _ in 0..self.rng.usize(0..1_500) {
            self.step().await;
        }
    }

    /// Days go by. Nothing is at work for so long, and no plan stays pending: the sweeper comes every hour.
    async fn grow_older(&mut self) {
        (self.calm, self.delivers) = (true, false);
        self.rest().await;
        self.begin_upkeep();
        self.rest().await;
        self.delivers = true;
        self.settings.now_ms += self.rng.i64(1..20 * DAY_MS);
        let now_ms = self.settings.now_ms;
        self.note(format!("it is {} days later", (now_ms - NOW_MS) / DAY_MS));
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.forget(now_ms, &mut self.rng);
    }

    async fn rest(&mut self) {
        for _ in 0..MOST_STEPS {
            let is_answered = self.requests.iter().all(|request| request.answered);
            let is_acknowledged = self.partitions.iter().all(|p| p.acknowledged == p.records.len());
            let is_delivered = !self.delivers || (is_answered && is_acknowledged);
            if is_delivered && self.invocations.is_empty() && self.world().travelling.is_empty() {
                return;
            }
            self.step().await;
        }
        panic!("it does not come to rest");
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, text: String) {
        self.world().note(text);
    }

    fn happens(&mut self, chance: u32) -> bool {
        !self.calm && self.rng.u32(..1_000) < chance
    }

    /// Lets everybody go on as far as they can, then does one thing.
    async fn step(&mut self) {
        // The clock stands still until every task waits for a request or for the clock; and whom the clock woke,
        // too, goes on before anything else happens.
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::task::yield_now().await;
        self.look();
        self.collect_given_up();
        self.collect_finished().await;
        self.check_archives().await;
        let Chances { kill, give_up, again: twice, replay, discard, upkeep, audit, archive, redrive, request, .. } =
            self.chances;
        let has_room = self.invocations.len() < MOST_AT_ONCE;
        if self.happens(kill) {
            return self.kill();
        }
        if self.happens(give_up) {
            return self.give_up();
        }
        if has_room && self.happens(twice) {
            let slices = again(&self.partitions, &mut self.rng);
            return self.begin(slices, false);
        }
        if self.happens(replay) {
            return self.replay();
        }
        if self.happens(discard) {
            return self.discard();
        }
        if has_room && self.happens(upkeep) {
            return self.begin_upkeep();
        }
        if has_room && self.happens(audit) {
            return self.begin_audit();
        }
        if has_room && self.happens(redrive) {
            let broken: Vec<_> = broken(&self.partitions).collect();
            if let Some((origin, record)) = self.rng.choice(broken) {
                return self.begin_redrive(origin, record);
            }
        }
        if has_room && self.happens(archive) {
            return self.begin_archive();
        }
        if has_room && !self.requests.is_empty() && self.happens(request) {
            let at = self.rng.usize(..self.requests.len());
            return self.begin_request(at);
        }
        let unanswered = self.requests.iter().position(|request| !request.answered).filter(|_| self.delivers);
        if let Some(at) = unanswered.filter(|_| has_room && self.rng.u8(..10) == 0) {
            return self.begin_request(at);
        }
        if has_room && self.delivers && self.rng.u8(..6) == 0 {
            let slices = next(&self.partitions, &mut self.rng);
            if !slices.is_empty() {
                return self.begin(slices, true);
            }
        }
        if !self.world().travelling.is_empty() && self.rng.u8(..10) == 0 {
            return self.arrive();
        }
        self.let_one_land();
    }

    /// I1 and I2, where they can be seen.
    fn look(&self) {
        let mut world = self.world();
        if let Some(what) = &world.went_back {
            panic!("I2: {what}");
        }
        if std::mem::take(&mut world.finished) && rows_are_the_sums(&world, self.settings.now_ms) {
            world.met.insert("I1 was seen on the way");
        }
    }

    /// An invocation of a new execution environment; `owned` if the source waits for it.
    fn begin(&mut self, slices: Slices, owned: bool) {
        if slices.is_empty() {
            return;
        }
        let (number, function) = self.function();
        let payload = payload(&self.partitions, &slices);
        let deadline = self.happens(self.chances.deadline).then(|| self.rng.u64(5..300));
        if owned {
            slices.iter().for_each(|(at, _)| self.partitions[*at].with = Some(number));
        }
        let parts: String = slices
            .iter()
            .map(|(at, range)| format!(" {}-{} {range:?}", self.partitions[*at].topic, self.partitions[*at].number))
            .collect();
        self.note(format!("#{number} begins:{parts}, deadline in {deadline:?} ms"));
        let now_ms = self.settings.now_ms;
        let call = Call { now_ms, deadline: deadline.map(|ms| Instant::now() + Duration::from_millis(ms)) };
        let given = payload.clone();
        let world = Arc::clone(&self.world);
        let task = tokio::spawn(async move {
            let (report, outcome) = function.handle(given, call).await;
            if report.redone > 0 {
                world.lock().unwrap_or_else(PoisonError::into_inner).met.insert("redone");
            }
            outcome.map_err(|error| chain(&error))
        });
        let slow = self.rng.u8(..4) == 0;
        self.invocations.push(Invocation { number, task, slices, request: None, payload, slow });
    }

    fn begin_upkeep(&mut self) {
        let (number, function) = self.function();
        self.note(format!("#{number} begins: upkeep"));
        let call = Call { now_ms: self.settings.now_ms + LONGEST_INVOCATION_MS + 1, deadline: None };
        let task = tokio::spawn(async move {
            archive::upkeep(&function.ledger, call).await.map(drop).map_err(|error| chain(&error))
        });
        self.invocations.push(Invocation {
            number,
            task,
            slices: Vec::new(),
            request: None,
            payload: Bytes::new(),
            slow: false,
        });
    }

    /// Beside whatever else is going on, an audit finds no drift where there is none.
    fn begin_audit(&mut self) {
        let (number, function) = self.function();
        let options = AuditOptions { segments: self.rng.u32(1..4), repair: self.rng.bool(), ..AuditOptions::default() };
        self.note(format!("#{number} begins: audit, repair {}", options.repair));
        let call = Call { now_ms: self.settings.now_ms, deadline: None };
        let world = Arc::clone(&self.world);
        let task = tokio::spawn(async move {
            let audit = function.ledger.audit(&options, call).await.map_err(|error| chain(&error))?;
            assert!(audit.drift.is_empty(), "a false alarm: {audit:?}");
            let met = if audit.total().undecided > 0 { "an audit that decides in part" } else { "an audit" };
            world.lock().unwrap_or_else(PoisonError::into_inner).met.insert(met);
            Ok(())
        });
        self.invocations.push(Invocation {
            number,
            task,
            slices: Vec::new(),
            request: None,
            payload: Bytes::new(),
            slow: false,
        });
    }

    /// A mended record is redriven, be it set aside by then or not, or before.
    fn begin_redrive(&mut self, origin: Origin, record: String) {
        let (number, function) = self.function();
        self.note(format!("#{number} begins: redrives {}-{} {}", origin.topic, origin.partition, origin.offset));
        let (call, settings) = (Call { now_ms: self.settings.now_ms, deadline: None }, self.settings.clone());
        let (calm, world) = (self.calm, Arc::clone(&self.world));
        let task = tokio::spawn(async move {
            let redriven = function.ledger.redrive(&origin, record, &settings, call).await;
            match redriven.map_err(|error| chain(&error))? {
                Redriven::Counted if !calm => {
                    world.lock().unwrap_or_else(PoisonError::into_inner).met.insert("redriven");
                }
                Redriven::Counted | Redriven::Before | Redriven::Unknown | Redriven::Late => {}
                other => panic!("a mended record is {other:?}"),
            }
            Ok(())
        });
        self.invocations.push(Invocation {
            number,
            task,
            slices: Vec::new(),
            request: None,
            payload: Bytes::new(),
            slow: false,
        });
    }

    /// A request comes, for the first time or again.
    fn begin_request(&mut self, at: usize) {
        let (number, function) = self.function();
        let deadline = self.happens(self.chances.deadline).then(|| self.rng.u64(5..300));
        self.note(format!("#{number} begins: request {at}, deadline in {deadline:?} ms"));
        let deadline = deadline.map(|ms| Instant::now() + Duration::from_millis(ms));
        let call = Call { now_ms: self.settings.now_ms, deadline };
        let (changes, most) = (self.requests[at].changes(&self.settings), self.settings.max_tag_sets);
        let world = Arc::clone(&self.world);
        let task = tokio::spawn(async move {
            let (receipt, outcome) = function.ledger.ingest(changes, most, call).await;
            let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
            world.met.insert("a request over HTTP");
            if receipt.redone > 0 {
                world.met.insert("one that finishes what others left");
            }
            outcome.map_err(|error| chain(&error))
        });
        let slow = self.rng.u8(..4) == 0;
        let (slices, payload) = (Vec::new(), Bytes::new());
        self.invocations.push(Invocation { number, task, slices, request: Some(at), payload, slow });
    }

    /// Beside whatever else is going on, a cut is exact.
    fn begin_archive(&mut self) {
        let (number, function) = self.function();
        self.note(format!("#{number} begins: archive"));
        let call = Call { now_ms: self.settings.now_ms, deadline: None };
        let world = Arc::clone(&self.world);
        let task = tokio::spawn(async move {
            let archived = archive(&function.ledger, call).await.map_err(|error| chain(&error))?;
            world.lock().unwrap_or_else(PoisonError::into_inner).archives.push(archived);
            Ok(())
        });
        self.invocations.push(Invocation {
            number,
            task,
            slices: Vec::new(),
            request: None,
            payload: Bytes::new(),
            slow: true,
        });
    }

    async fn check_archives(&mut self) {
        let archives = std::mem::take(&mut self.world().archives);
        for archived in archives {
            {
                let mut world = self.world();
                cut_is_exact(&archived, &world, self.settings.now_ms);
                let met = met(&archived, &world);
                world.met.extend(met);
            }
            if !std::mem::replace(&mut self.restored, true) {
                let (options, settings) = (self.options.clone(), &self.settings);
                let (partitions, requests) = (&self.partitions, &self.requests);
                cut_restores(&archived, &self.world, options, settings, partitions, requests, &self.sent).await;
            }
        }
    }

    fn function(&mut self) -> (usize, Aggregate<Reach, Reach>) {
        self.begun += 1;
        let reach = Reach { world: Arc::clone(&self.world), invocation: self.begun };
        let options = Options { seed: Some(self.rng.u64(..)), ..self.options.clone() };
        let ledger = Ledger::new(reach.clone(), options);
        (self.begun, Aggregate::new(ledger, Quarantine::new(reach, 0), self.settings.clone()))
    }

    /// Invocations that are done report to the source.
    async fn collect_finished(&mut self) {
        while let Some(at) = self.invocations.iter().position(|invocation| invocation.task.is_finished()) {
            let Invocation { number, task, slices, request, payload, .. } = self.invocations.remove(at);
            let outcome = match task.await {
                Ok(outcome) => outcome,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            };
            self.note(match &outcome {
                Ok(()) => format!("#{number} reports success"),
                Err(error) => format!("#{number} fails: {error}"),
            });
            if outcome.is_ok() && !slices.is_empty() {
                report_is_true(&self.world(), &payload, &self.settings);
            }
            if let Some(at) = request.filter(|_| outcome.is_ok()) {
                answer_is_true(&self.world(), &self.requests[at].changes(&self.settings));
                self.requests[at].answered = true;
            }
            for (at, range) in slices {
                let partition = &mut self.partitions[at];
                if partition.with == Some(number) {
                    partition.with = None;
                    if outcome.is_ok() {
                        partition.acknowledged = partition.acknowledged.max(range.end);
                    }
                }
            }
        }
    }

    /// Requests whose senders wait no more: some travel on.
    fn collect_given_up(&mut self) {
        let (waiting, given_up): (Vec<_>, Vec<_>) =
            self.world().waiting.drain(..).partition(|waiting| !waiting.is_given_up());
        self.world().waiting = waiting;
        for waiting in given_up {
            self.leave(waiting.invocation, waiting.write);
        }
    }

    fn leave(&mut self, invocation: usize, write: Option<Request>) {
        for part in write.into_iter().flat_map(Request::parts) {
            if self.rng.bool() {
                self.world().travelling.push((invocation, part));
            }
        }
    }

    fn kill(&mut self) {
        if self.invocations.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.invocations.len());
        let Invocation { number, task, .. } = self.invocations.remove(at);
        task.abort();
        self.note(format!("#{number} dies"));
        self.partitions.iter_mut().filter(|p| p.with == Some(number)).for_each(|p| p.with = None);
        let (dead, waiting): (Vec<_>, Vec<_>) =
            self.world().waiting.drain(..).partition(|waiting| waiting.invocation == number);
        self.world().waiting = waiting;
        for request in dead {
            self.leave(number, request.write);
        }
        self.world().met.insert("death");
    }

    /// The source takes an invocation for dead that goes on.
    fn give_up(&mut self) {
        let taken: Vec<usize> = self.partitions.iter().filter_map(|p| p.with).collect();
        let Some(number) = self.rng.choice(taken) else { return };
        self.note(format!("#{number} is given up on, but goes on"));
        self.partitions.iter_mut().filter(|p| p.with == Some(number)).for_each(|p| p.with = None);
        self.world().met.insert("zombie");
    }

    fn replay(&mut self) {
        let at = self.rng.usize(..self.partitions.len());
        let to = self.rng.usize(..=self.partitions[at].acknowledged);
        (self.partitions[at].acknowledged, self.partitions[at].with) = (to, None);
        self.note(format!("{}-{} is replayed from {to}", self.partitions[at].topic, self.partitions[at].number));
    }

    /// The source gives up on records, and goes on after them.
    fn discard(&mut self) {
        let at = self.rng.usize(..self.partitions.len());
        let partition = &mut self.partitions[at];
        if partition.has_weightless || partition.with.is_some() || partition.acknowledged == partition.records.len() {
            return;
        }
        partition.acknowledged += 1;
        partition.discarded = true;
        let Partition { topic, number, acknowledged, .. } = *partition;
        self.note(format!("{topic}-{number} {} is discarded", acknowledged - 1));
        self.world().met.insert("discard");
    }

    /// A write arrives that has travelled for long.
    fn arrive(&mut self) {
        let count = self.world().travelling.len();
        let at = self.rng.usize(..count);
        let stays = self.happens(300);
        let mut world = self.world();
        let (invocation, write) = world.travelling[at].clone();
        if !stays {
            world.travelling.swap_remove(at);
        }
        let reply = world.land(&write);
        world.note(format!("late, of #{invocation}: {write}: {reply}"));
        world.met.insert("late");
    }

    fn let_one_land(&mut self) {
        let count = self.world().waiting.len();
        if count == 0 {
            return;
        }
        // By what they are, not by who was polled first.
        self.world().waiting.sort_by(|a, b| (a.invocation, &a.label).cmp(&(b.invocation, &b.label)));
        let mut at = self.rng.usize(..count);
        let number = self.world().waiting[at].invocation;
        let slow = self.invocations.iter().any(|invocation| invocation.number == number && invocation.slow);
        // Once more, so that it is one of another's more often.
        if slow && self.rng.u8(..8) > 0 {
            at = self.rng.usize(..count);
        }
        let waiting = self.world().waiting.remove(at);
        let fate = if self.happens(self.chances.fault) { self.fault(&waiting) } else { Fate::Answered };
        let travels_on = match fate {
            Fate::Answered | Fate::AnswerLost(_) => self.happens(self.chances.duplicate),
            Fate::TimedOut => self.rng.bool(),
            _ => false,
        };
        if travels_on {
            let parts = waiting.write.clone().into_iter().flat_map(Request::parts);
            self.world().travelling.extend(parts.map(|part| (waiting.invocation, part)));
        }
        waiting.meet(fate);
    }

    fn fault(&mut self, Waiting { may, .. }: &Waiting) -> Fate {
        let seed = self.rng.u64(..);
        let fates = [
            ("answer lost", Fate::AnswerLost(seed), may.lose_its_answer),
            ("throttled", Fate::Throttled, true),
            ("timed out", Fate::TimedOut, true),
            ("done in part", Fate::InPart(seed), may.be_done_in_part),
            ("stale", Fate::Stale(seed), may.be_stale),
        ];
        let fates: Vec<_> = fates.into_iter().filter(|(_, _, may_be)| *may_be).collect();
        let (name, fate, _) = self.rng.choice(fates).unwrap();
        self.world().met.insert(name);
        fate
    }
}
