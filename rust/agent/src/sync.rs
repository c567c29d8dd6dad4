//! The thread that syncs the log (`commit` in `agent.toml`).
//!
//! In mode `process` it is told after each write, and syncs within 10 ms. In mode `power` every commit group
//! waits for a sync of its own; what queues meanwhile makes up the next group. After a sync it stores the
//! log's newest head, which so never names entries that a loss of power could take.
//!
//! A sync that fails leaves it unknown what is on disk, and the kernel does not say it twice: from then on
//! nothing more may be logged until a restart has read the disk again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use crate::disk::{Disk, Journal};
use crate::events::{Event, Events};
use crate::limits::SYNC_AFTER;
use crate::log::HEAD;

/// Called when a sync is done, with whether it succeeded.
pub type Done = Box<dyn FnOnce(bool) + Send>;

enum Message {
    Soon,
    Now(Done),
    Head(Vec<u8>),
}

/// A handle on the thread. Dropping it syncs a last time and waits.
pub struct Syncer {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    told: AtomicBool,
    failed: OnceLock<String>,
}

impl Syncer {
    /// Starts the thread for `journal`; heads go to `disk`.
    pub fn start(
        journal: Arc<dyn Journal>,
        disk: Arc<dyn Disk>,
        events: Events,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let state = Arc::new(State::default());
        let shared = state.clone();
        let thread = std::thread::Builder::new()
            .name("evanesce-sync".into())
            .spawn(move || run(&receiver, &*journal, &*disk, &shared, &events))?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
            state,
        })
    }

    /// Why nothing more may be logged, if a sync has failed.
    pub fn failed(&self) -> Option<&str> {
        self.state.failed.get().map(String::as_str)
    }

    /// What was written is to be synced within 10 ms.
    pub fn soon(&self) {
        // One message is enough until the thread has taken it.
        if !self.state.told.swap(true, Ordering::AcqRel) {
            self.send(Message::Soon);
        }
    }

    /// Syncs what was written and calls back.
    pub fn now(&self, done: Done) {
        self.send(Message::Now(done));
    }

    /// Stores a head once what it covers, which was written before, is synced.
    pub fn head(&self, head: Vec<u8>) {
        self.send(Message::Head(head));
    }

    fn send(&self, message: Message) {
        // The thread ends only when this handle is dropped.
        if let Some(sender) = &self.sender {
            let _ = sender.send(message);
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    messages: &Receiver<Message>,
    journal: &dyn Journal,
    disk: &dyn Disk,
    state: &State,
    events: &Events,
) {
    while let Ok(first) = messages.recv() {
        // More may be written until then; whoever waits for a sync ends this.
        let soon = matches!(first, Message::Soon);
        let second = soon.then(|| messages.recv_timeout(SYNC_AFTER).ok());
        let taken = [Some(first), second.flatten()];
        let (mut waiting, mut head) = (Vec::new(), None);
        for message in taken.into_iter().flatten().chain(messages.try_iter()) {
            match message {
                Message::Soon => {}
                Message::Now(done) => waiting.push(done),
                Message::Head(newest) => head = Some(newest),
            }
        }
        // Cleared before the sync: what is written during it asks for another.
        state.told.store(false, Ordering::Release);
        if state.failed.get().is_none()
            && let Err(e) = journal.sync()
        {
            let why = format!("a sync failed: {e}");
            events.emit(Event::LogFailed { why: &why });
            let _ = state.failed.set(why);
        }
        let good = state.failed.get().is_none();
        for done in waiting {
            done(good);
        }
        if good
            && let Some(head) = head
            && let Err(e) = disk.replace(HEAD, &head)
        {
            // The old head still holds, and the next one is a second away.
            events.emit(Event::LogFailed {
                why: &format!("its head cannot be stored: {e}"),
            });
        }
    }
}
