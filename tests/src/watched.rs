//! A bucket in memory that is looked at: what was done to it, what readers see after every request, and faults.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidemark_archive::{ArchiveError, Condition, Listed, Object, ObjectStore, Part, layout};
use tokio::sync::Semaphore;

use crate::faulty::Fault;
use crate::memory::MemoryObjects;

/// What a request did. Reads and refused writes did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    Nothing,
    Put { key: String, body: Vec<u8> },
    Deleted { key: String },
    Began { id: String },
    Uploaded,
    Completed { key: String, id: String },
    Aborted { id: String },
}

/// The objects that readers see, by key.
pub type Visible = BTreeMap<String, Vec<u8>>;

type Look = Arc<dyn Fn(&Did, &Visible) + Send + Sync>;

#[derive(Clone)]
pub struct Watched {
    pub objects: MemoryObjects,
    fault: Option<(Fault, usize)>,
    passes: Duration,
    look: Option<Look>,
    sent: Arc<AtomicUsize>,
    held: Arc<Semaphore>,
    did: Arc<Mutex<Vec<Did>>>,
}

impl Watched {
    pub fn new(objects: &MemoryObjects) -> Self {
        Self {
            objects: objects.clone(),
            fault: None,
            passes: Duration::ZERO,
            look: None,
            sent: Arc::default(),
            held: Arc::new(Semaphore::new(0)),
            did: Arc::default(),
        }
    }

    /// The same log, with a fault at the k-th request of this one: what [`Fault`] says, where it is one of requests.
    pub fn with(&self, fault: Fault, at: usize) -> Self {
        Self { fault: Some((fault, at)), sent: Arc::default(), ..self.clone() }
    }

    /// Time that passes whenever a run has begun uploads and is about to scan. The runtime must have one thread.
    pub fn passing(&self, passes: Duration) -> Self {
        Self { passes, ..self.clone() }
    }

    /// Looks at what readers see after every request that did something.
    pub fn looking(&self, look: impl Fn(&Did, &Visible) + Send + Sync + 'static) -> Self {
        Self { look: Some(Arc::new(look)), ..self.clone() }
    }

    /// Lets the held request go.
    pub fn let_go(&self) {
        self.held.add_permits(1);
    }

    /// Requests so far.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// What was done so far.
    pub fn did(&self) -> Vec<Did> {
        self.did.lock().unwrap().clone()
    }

    /// The ids of uploads that were begun, and neither completed nor aborted.
    pub fn open(&self) -> Vec<String> {
        let mut open = Vec::new();
        for did in self.did() {
            match did {
                Did::Began { id } => open.push(id),
                Did::Completed { id, .. } | Did::Aborted { id } => open.retain(|open| *open != id),
                _ => {}
            }
        }
        open
    }

    /// Whether the state of a run ever named an upload.
    pub fn was_saved(&self, upload: &str) -> bool {
        let is_named = |body: &[u8]| String::from_utf8_lossy(body).contains(upload);
        self.did().iter().any(|did| matches!(did, Did::Put { key, body } if key == layout::RUN && is_named(body)))
    }

    async fn send<T>(
        &self,
        key: &str,
        request: impl Future<Output = Result<T, ArchiveError>> + Send,
        did: impl FnOnce(&T) -> Did + Send,
    ) -> Result<T, ArchiveError> {
        let number = self.sent.fetch_add(1, Ordering::SeqCst);
        // Without this no two requests would ever meet.
        tokio::task::yield_now().await;
        if self.fault == Some((Fault::Held, number)) {
            self.held.acquire().await.unwrap().forget();
        }
        let (fails, is_done) = match self.fault {
            Some((Fault::CrashBefore, at)) => (number >= at, number < at),
            Some((Fault::CrashAfter, at)) => (number >= at, number <= at),
            Some((Fault::AnswerLost, at)) => (number == at, true),
            Some((Fault::Throttled, at)) => (number == at, number != at),
            _ => (false, true),
        };
        let lost = ArchiveError::Unanswered {
            bucket: "memory".to_owned(),
            object: key.to_owned(),
            action: "any",
            source: format!("{:?}", self.fault).into(),
        };
        if !is_done {
            return Err(lost);
        }
        let answer = request.await?;
        let did = did(&answer);
        if did != Did::Nothing {
            self.did.lock().unwrap().push(did.clone());
            if let Some(look) = &self.look {
                look(&did, &self.objects.0.lock().unwrap());
            }
        }
        if fails { Err(lost) } else { Ok(answer) }
    }

    /// Lets time pass before a scan.
    async fn pass(&self, key: &str, body: &[u8]) {
        let scans = [r#""stage":"rows""#, r#""stage":"entities""#];
        let (body, idle) = (String::from_utf8_lossy(body), r#""open":[]"#);
        let is_due = key == layout::RUN && scans.iter().any(|stage| body.contains(stage)) && !body.contains(idle);
        if self.passes > Duration::ZERO && is_due {
            tokio::time::pause();
            tokio::time::advance(self.passes).await;
            tokio::time::resume();
        }
    }
}

impl ObjectStore for Watched {
    async fn put(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<(), ArchiveError> {
        let did = Did::Put { key: key.to_owned(), body: body.clone() };
        self.send(key, self.objects.put(key, content_type, body), |()| did).await
    }

    async fn put_if(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
        condition: &Condition,
    ) -> Result<Option<String>, ArchiveError> {
        let did = Did::Put { key: key.to_owned(), body: body.clone() };
        let put = self.objects.put_if(key, content_type, body.clone(), condition);
        let written = self.send(key, put, |written| if written.is_some() { did } else { Did::Nothing }).await;
        self.pass(key, &body).await;
        written
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, ArchiveError> {
        self.send(key, self.objects.get(key), |_| Did::Nothing).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ArchiveError> {
        self.send(key, self.objects.size(key), |_| Did::Nothing).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        self.send(key, self.objects.get_range(key, range), |_| Did::Nothing).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, ArchiveError> {
        self.send(prefix, self.objects.list(prefix, after), |_| Did::Nothing).await
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        self.send(key, self.objects.delete(key), |()| Did::Deleted { key: key.to_owned() }).await
    }

    async fn begin_upload(&self, key: &str, content_type: &str) -> Result<String, ArchiveError> {
        self.send(key, self.objects.begin_upload(key, content_type), |id| Did::Began { id: id.clone() }).await
    }

    async fn upload_part(&self, key: &str, upload: &str, number: i32, body: Bytes) -> Result<Part, ArchiveError> {
        self.send(key, self.objects.upload_part(key, upload, number, body), |_| Did::Uploaded).await
    }

    async fn complete_upload(&self, key: &str, upload: &str, parts: &[Part]) -> Result<(), ArchiveError> {
        let did = Did::Completed { key: key.to_owned(), id: upload.to_owned() };
        self.send(key, self.objects.complete_upload(key, upload, parts), |()| did).await
    }

    async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), ArchiveError> {
        let did = Did::Aborted { id: upload.to_owned() };
        self.send(key, self.objects.abort_upload(key, upload), |()| did).await
    }
}
