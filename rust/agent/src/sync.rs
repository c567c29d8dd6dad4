//! What syncs the log (`commit` in `agent.toml`).
//!
//! In mode `process` it is told after each write, and syncs within 10 ms. In mode `power` every commit group
//! waits for a sync of its own; what queues meanwhile makes up the next group. After a sync it stores the
//! log's newest head, which so never names entries that a loss of power could take.
//!
//! A sync that fails leaves it unknown what is on disk, and the kernel does not say it twice: from then on
//! nothing more may be logged until a restart has read the disk again.
//!
//! When is up to who has the [`Duty`]: here a thread of its own, in a simulator virtual time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use crate::disk::{Disk, Journal};
use crate::events::{Event, Events};
use crate::limits::SYNC_AFTER;
use crate::log::HEAD;

/// Called when a sync is done, with whether it succeeded.
pub type Done = Box<dyn FnOnce(bool) + Send>;

/// What the committer asks for, in the order of its asking.
pub enum Message {
    /// What was written is to be synced within 10 ms.
    Soon,
    /// What was written is to be synced at once, and this called.
    Now(Done),
    /// This head is to be stored once what it covers, which was written before, is synced.
    Head(Vec<u8>),
}

/// What syncs a log, as the committer knows it. Dropping it syncs a last time, where it can.
pub trait Syncer: Send + Sync {
    /// Why nothing more may be logged, if a sync has failed.
    fn failed(&self) -> Option<&str>;
    /// See [`Message`]. Returns at once.
    fn send(&self, message: Message);

    /// See [`Message::Soon`].
    fn soon(&self) {
        self.send(Message::Soon);
    }

    /// See [`Message::Now`].
    fn now(&self, done: Done) {
        self.send(Message::Now(done));
    }

    /// See [`Message::Head`].
    fn head(&self, head: Vec<u8>) {
        self.send(Message::Head(head));
    }
}

/// Makes a syncer for a log that was opened.
pub type MakeSyncer = Box<dyn FnOnce(Duty) -> std::io::Result<Box<dyn Syncer>>>;

/// The newest head whose entries are on the disk for good, as `log/head` has it. Clones share it.
#[derive(Clone, Default)]
pub struct Stored(Arc<Mutex<Option<Vec<u8>>>>);

impl Stored {
    /// The head, if there is one.
    pub fn head(&self) -> Option<Vec<u8>> {
        let head = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        head.clone()
    }

    /// `head` covers nothing but what is on the disk.
    pub fn set(&self, head: Vec<u8>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
    }
}

/// The journal to sync and the disk to store heads on. Clones are one duty.
#[derive(Clone)]
pub struct Duty {
    journal: Arc<dyn Journal>,
    disk: Arc<dyn Disk>,
    events: Events,
    failed: Arc<OnceLock<String>>,
    stored: Stored,
}

impl Duty {
    /// Nothing has failed yet.
    pub fn new(journal: Arc<dyn Journal>, disk: Arc<dyn Disk>, events: Events) -> Self {
        Self {
            journal,
            disk,
            events,
            failed: Arc::default(),
            stored: Stored::default(),
        }
    }

    /// The newest head that was stored.
    pub fn stored(&self) -> Stored {
        self.stored.clone()
    }

    /// Why nothing more may be logged, if a sync has failed.
    pub fn failed(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// One sync for all of `messages`: whoever waits is called, then the newest head is stored. `before` is called once
    /// they are taken, before the sync.
    pub fn perform(&self, messages: impl IntoIterator<Item = Message>, before: impl FnOnce()) {
        let (mut waiting, mut head) = (Vec::new(), None);
        for message in messages {
            match message {
                Message::Soon => {}
                Message::Now(done) => waiting.push(done),
                Message::Head(newest) => head = Some(newest),
            }
        }
        before();
        if self.failed().is_none()
            && let Err(e) = self.journal.sync()
        {
            let why = format!("a sync failed: {e}");
            self.events.emit(Event::LogFailed { why: &why });
            let _ = self.failed.set(why);
        }
        let good = self.failed().is_none();
        for done in waiting {
            done(good);
        }
        if good && let Some(head) = head {
            match self.disk.replace(HEAD, &head) {
                Ok(()) => self.stored.set(head),
                // The old head still holds, and the next one is a second away.
                Err(e) => self.events.emit(Event::LogFailed {
                    why: &format!("its head cannot be stored: {e}"),
                }),
            }
        }
    }
}

/// A thread with a duty. Dropping the handle syncs a last time and waits.
pub struct SyncThread {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    told: Arc<AtomicBool>,
    duty: Duty,
}

impl SyncThread {
    /// Starts it.
    pub fn start(duty: Duty) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let told = Arc::new(AtomicBool::new(false));
        let (own, shared) = (duty.clone(), told.clone());
        let thread = std::thread::Builder::new()
            .name("evanesce-sync".into())
            .spawn(move || run(&receiver, &own, &shared))?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
            told,
            duty,
        })
    }
}

impl Syncer for SyncThread {
    fn failed(&self) -> Option<&str> {
        self.duty.failed()
    }

    fn send(&self, message: Message) {
        // One such message is enough until the thread has taken it.
        if matches!(message, Message::Soon) && self.told.swap(true, Ordering::AcqRel) {
            return;
        }
        // The thread ends only when this handle is dropped.
        if let Some(sender) = &self.sender {
            let _ = sender.send(message);
        }
    }
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(messages: &Receiver<Message>, duty: &Duty, told: &AtomicBool) {
    while let Ok(first) = messages.recv() {
        // More may be written until then; whoever waits for a sync ends this.
        let soon = matches!(first, Message::Soon);
        let second = soon.then(|| messages.recv_timeout(SYNC_AFTER).ok());
        let taken = [Some(first), second.flatten()].into_iter().flatten();
        // Cleared before the sync: what is written during it asks for another.
        let clear = || told.store(false, Ordering::Release);
        duty.perform(taken.chain(messages.try_iter()), clear);
    }
}
