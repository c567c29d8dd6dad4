//! What verbs other than opening need: the ways to the holders, and the loop to open through.

use std::sync::Arc;

use evanesce_wire::{Id, Identity, World};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::fault::Fault;
use crate::holder::Directory;
use crate::io::driver::Event;
use crate::io::link::{Down, Link};
use crate::operation::{Outcome, Reply};
use crate::threshold::Prepared;
use crate::work::Work;

pub(crate) struct Side {
    pub links: Vec<Arc<Link>>,
    pub directory: Arc<Directory>,
    pub world: Arc<dyn World>,
    /// This side's id.
    pub caller: Id,
    /// Its key.
    pub identity: Arc<dyn Identity>,
    pub tell: UnboundedSender<Event>,
    /// What agents have prepared.
    pub prepared: Prepared,
}

impl Side {
    /// Opens a token as any operation does.
    pub async fn open(&self, work: Work) -> Result<Outcome, Error> {
        let (tell, told) = oneshot::channel();
        let done = Box::new(move |result| {
            let _ = tell.send(result);
        });
        let _ = self
            .tell
            .send(Event::Submit(Box::new(work), Reply::new(done)));
        told.await
            .unwrap_or_else(|_| Err(Error::internal("the opening was dropped")))
    }

    /// A fault of a holder as a whole.
    pub fn fault(&self, place: usize, down: &Down) -> Fault {
        let holder = &self.directory.all()[place];
        Fault {
            seat: None,
            seat_number: None,
            holder: holder.name.clone(),
            holder_id: holder.id,
            kind: down.trouble.kind(),
            detail: down.detail.clone(),
        }
    }
}
