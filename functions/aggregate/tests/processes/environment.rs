//! Execution environments: processes of the function, and what befalls them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidemark_runtime::now_ms;
use tidemark_tests::root;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::runtime_api::{Answer, RuntimeApi, Seat};
use crate::source::Source;

/// Counts a process that ended though nobody killed it.
pub(crate) const ENDED: &str = "processes that ended by themselves";

/// What befell processes and invocations, by name.
pub(crate) type Counts = BTreeMap<&'static str, usize>;

/// The whole scene.
pub(crate) struct World {
    pub(crate) api: RuntimeApi,
    pub(crate) source: Mutex<Source>,
    pub(crate) counts: Mutex<Counts>,
    /// Which executable, and its environment.
    pub(crate) binary: PathBuf,
    pub(crate) variables: BTreeMap<String, String>,
    /// Where all processes write.
    pub(crate) log: std::fs::File,
    pub(crate) rng: Mutex<fastrand::Rng>,
    /// Whether the mayhem is over.
    pub(crate) calm: AtomicBool,
    pub(crate) zombies: Mutex<JoinSet<()>>,
}

/// A process of the function.
pub(crate) struct Process {
    child: Child,
    seat: Arc<Seat>,
}

/// What is to befall an invocation.
pub(crate) enum Fate {
    /// Nothing.
    Unharmed,
    /// Its time is short.
    Hurried,
    /// Its process is killed, after a while.
    Killed(Duration),
    /// The source gives it up after a while and delivers its records again, while it goes on.
    GivenUp(Duration),
    /// Its process is stopped after a while, and goes on after another, when its records have come again.
    Stopped(Duration, Duration),
}

/// Lambda's time for an invocation, as configured here.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is left to an invocation of which the source has given up, once the mayhem is over.
const AFTERLIFE: Duration = Duration::from_secs(3);

impl World {
    /// One environment: delivers what the source has, to one process after the other, until the mayhem is
    /// over or, in the calm, until nothing is left. Its process, if it still lives.
    pub(crate) async fn environment(self: Arc<Self>, mut process: Option<Process>, until: Instant) -> Option<Process> {
        while self.is_calm() || (Instant::now() < until && self.source.lock().unwrap().replays() == 0) {
            let ready = match process.take() {
                Some(process) => process,
                None => match self.survive(self.start()).await {
                    Some(process) => process,
                    None => continue,
                },
            };
            let (job, waiting) = {
                let mut source = self.source.lock().unwrap();
                (source.next(), source.is_waiting())
            };
            let Some(job) = job else {
                process = Some(ready);
                if self.is_calm() && !waiting {
                    break;
                }
                sleep(Duration::from_millis(5)).await;
                continue;
            };
            let (survivor, acknowledged) = self.invoke(ready, job.payload.clone(), self.fate()).await;
            self.source.lock().unwrap().settle(&job, acknowledged);
            process = match survivor {
                Some(process) => self.survive(process).await,
                None => None,
            };
        }
        process
    }

    /// One more process.
    pub(crate) fn start(&self) -> Process {
        let seat = self.api.seat();
        let log = || Stdio::from(self.log.try_clone().unwrap());
        let mut command = Command::new(&self.binary);
        command.env_clear().envs(&self.variables).env("AWS_LAMBDA_RUNTIME_API", seat.url());
        command.current_dir(root()).stdin(Stdio::null()).stdout(log()).stderr(log()).kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|e| panic!("{} cannot be started: {e}", self.binary.display()));
        self.count("processes");
        Process { child, seat }
    }

    /// Has a process handle a payload: the process, if it lives and is not given up, and whether it succeeded.
    pub(crate) async fn invoke(
        self: &Arc<Self>,
        process: Process,
        payload: Bytes,
        fate: Fate,
    ) -> (Option<Process>, bool) {
        let Process { mut child, seat } = process;
        let time = if matches!(fate, Fate::Hurried) { Duration::from_millis(900) } else { TIMEOUT };
        let deadline_ms = now_ms().unsigned_abs() + time.as_millis() as u64;
        let overdue = Instant::now() + time + Duration::from_millis(500);
        let mut answer = seat.invoke(payload, deadline_ms);
        let strikes = async {
            match fate {
                Fate::Killed(after) | Fate::GivenUp(after) | Fate::Stopped(after, _) => sleep(after).await,
                Fate::Unharmed | Fate::Hurried => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = &mut answer => {
                let succeeded = self.answered(answer.unwrap());
                return (Some(Process { child, seat }), succeeded);
            }
            status = child.wait() => self.ended(&seat, status.unwrap()),
            () = sleep_until(overdue) => {
                self.count("invocations that ran past their deadline");
                child.kill().await.unwrap();
            }
            () = strikes => match fate {
                Fate::GivenUp(_) => {
                    self.count("invocations given up");
                    self.haunt(Process { child, seat }, answer, None);
                }
                Fate::Stopped(_, time) => {
                    signal(&child, "-STOP").await;
                    self.count("processes stopped");
                    self.haunt(Process { child, seat }, answer, Some(time));
                }
                _ => {
                    child.kill().await.unwrap();
                    self.count("processes killed at work");
                }
            },
        }
        (None, false)
    }

    fn answered(&self, answer: Answer) -> bool {
        let succeeded = match answer {
            Answer::Response(report) => {
                serde_json::from_slice::<serde_json::Value>(&report).expect("a report");
                true
            }
            Answer::Error => false,
        };
        self.count(if succeeded { "invocations that succeeded" } else { "invocations that failed" });
        succeeded
    }

    /// A process that nobody killed must not end.
    fn ended(&self, seat: &Seat, status: ExitStatus) {
        let said = seat.init_error().unwrap_or_default();
        eprintln!("a process ended by itself: {status} {}", String::from_utf8_lossy(&said));
        self.count(ENDED);
    }

    /// Lets a process go on with an invocation that the source has given up, and ends it then.
    fn haunt(self: &Arc<Self>, process: Process, answer: oneshot::Receiver<Answer>, stopped: Option<Duration>) {
        let world = Arc::clone(self);
        let zombie = async move {
            let mut process = process;
            if let Some(time) = stopped {
                sleep(time).await;
                signal(&process.child, "-CONT").await;
            }
            let ends = async {
                while !world.is_calm() {
                    sleep(Duration::from_millis(20)).await;
                }
                sleep(AFTERLIFE).await;
            };
            tokio::select! {
                answer = timeout(TIMEOUT, answer) => {
                    let what = match answer {
                        Ok(Ok(Answer::Response(_))) => "zombies that succeeded",
                        Ok(_) => "zombies that failed",
                        Err(_) => "zombies that never answered",
                    };
                    world.count(what);
                }
                () = ends => world.count("zombies cut short at the end"),
            }
            process.child.kill().await.unwrap();
        };
        self.zombies.lock().unwrap().spawn(zombie);
    }

    /// Kills a process in its first moments, or between two invocations, now and then.
    async fn survive(&self, mut process: Process) -> Option<Process> {
        let is_new = !process.seat.is_ready();
        if self.is_calm() || self.random(..if is_new { 4 } else { 9 }) > 0 {
            return Some(process);
        }
        if is_new {
            sleep(Duration::from_micros(self.random(..15_000))).await;
        }
        self.count(if process.seat.is_ready() { "processes killed when idle" } else { "processes killed in init" });
        process.child.kill().await.unwrap();
        None
    }

    fn fate(&self) -> Fate {
        if self.is_calm() {
            return Fate::Unharmed;
        }
        let soon = Duration::from_millis(self.random(..400));
        let (soon_or_at_once, long) =
            (Duration::from_millis(self.random(..60)), Duration::from_millis(self.random(100..3_000)));
        match self.random(..24) {
            0..3 => Fate::Killed(soon_or_at_once),
            3..6 => Fate::Killed(soon),
            6..8 => Fate::GivenUp(soon),
            8..10 => Fate::Stopped(soon, long),
            10 => Fate::Hurried,
            _ => Fate::Unharmed,
        }
    }

    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::SeqCst)
    }

    fn random(&self, range: impl std::ops::RangeBounds<u64>) -> u64 {
        self.rng.lock().unwrap().u64(range)
    }

    fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }
}

/// The standard library sends no signal but SIGKILL.
async fn signal(child: &Child, name: &str) {
    let Some(id) = child.id() else { return };
    let sent = Command::new("kill").args([name, &id.to_string()]).status().await;
    assert!(sent.unwrap().success(), "kill {name} {id}");
}
