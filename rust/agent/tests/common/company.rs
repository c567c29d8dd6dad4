//! Some agents that are each other's peers.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use evanesce_agent::{Handle, spawn};
use evanesce_wire::client::Way;
use evanesce_wire::message::{Batch, Code, Kept, Status};
use evanesce_wire::note::Checkpoint;
use evanesce_wire::{FileIdentity, Id, Identity};

use super::{Caller, EVERY_ROLE, Line, Minted, Place};

/// Some agents in folders of their own, each of which has all as its peers.
pub struct Company {
    pub places: Vec<Place>,
    pub running: Vec<Option<Handle>>,
    pub addresses: Vec<SocketAddr>,
    pub ops: Caller,
}

impl Company {
    /// None of them runs.
    pub fn of(count: usize, top: &str) -> Self {
        let places: Vec<Place> = (0..count).map(|_| Place::new("")).collect();
        let ops = Caller::new("ops", places[0].dir.path());
        let mut addresses = Vec::new();
        for place in &places {
            place.know(&[(&ops, EVERY_ROLE)]);
            // Each keeps the address that it first got.
            let first = spawn(place.config()).unwrap();
            addresses.push(first.address());
            first.stop();
            let path = place.path("agent.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            let listen = format!("\"{}\"", addresses[addresses.len() - 1]);
            std::fs::write(path, text.replace("\"127.0.0.1:0\"", &listen)).unwrap();
        }
        let company = Self {
            running: places.iter().map(|_| None).collect(),
            places,
            addresses,
            ops,
        };
        let file = company.file(top);
        for place in &company.places {
            std::fs::write(place.path("peers.toml"), &file).unwrap();
        }
        company
    }

    pub fn file(&self, top: &str) -> String {
        let all = self.places.iter().zip(&self.addresses).zip(1..);
        let stanza = |((place, address), n): ((&Place, &SocketAddr), u32)| {
            let id = hex::encode(id(place));
            format!("[[agent]]\nname = \"agent-{n}\"\nid = \"{id}\"\naddress = \"{address}\"\n")
        };
        format!(
            "every_ms = 100\n{top}\n{}",
            all.map(stanza).collect::<String>()
        )
    }

    pub fn start(&mut self, which: impl IntoIterator<Item = usize>) {
        for n in which {
            self.running[n] = Some(spawn(self.places[n].config()).unwrap());
        }
    }

    pub fn stop(&mut self, which: impl IntoIterator<Item = usize>) {
        for n in which {
            self.running[n].take().unwrap().stop();
        }
    }

    pub async fn line(&self, n: usize) -> Line {
        self.ops.open(self.addresses[n], id(&self.places[n])).await
    }

    pub async fn status(&self, n: usize) -> Status {
        let connection = self
            .ops
            .connect(self.addresses[n], id(&self.places[n]))
            .await;
        Status::decode(&connection.get("/v1/status").await.unwrap()).unwrap()
    }

    /// Until that agent's status is as it should be.
    pub async fn until(&self, n: usize, what: &str, good: impl Fn(&Status) -> bool) -> Status {
        let started = Instant::now();
        loop {
            let status = self.status(n).await;
            if good(&status) {
                return status;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "{what}: {status:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until all others have on their disks that this one's log has so many entries.
    pub async fn until_seen(&self, whose: usize, size: u64) {
        let agent = id(&self.places[whose]);
        let has = |place: &Place| {
            let bytes = std::fs::read(place.path("seen")).unwrap_or(vec![0x80]);
            let heads = Kept::decode(&bytes).unwrap().0;
            let mut own = heads.iter().filter(|(of, _)| *of == agent);
            own.any(|(_, head)| Checkpoint::parse(&head.checkpoint).unwrap().size == size)
        };
        let others = || (0..self.places.len()).filter(|n| *n != whose);
        let started = Instant::now();
        while !others().all(|n| has(&self.places[n])) {
            assert!(started.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn until_well(&self, n: usize) {
        self.until(n, "it answers", |status| status.standing.is_empty())
            .await;
    }
}

/// An agent's id.
pub fn id(place: &Place) -> Id {
    let identity = FileIdentity::open(&place.path("identity.key")).unwrap();
    identity.agent_id()
}

/// What an agent says to a contribution: its code, or the problem's words.
pub async fn contribute(line: &Line, token: &Minted) -> Result<Code, String> {
    let batch = Batch {
        contexts: vec![token.context()],
        openings: vec![line.opening(token, "sign", "ed25519")],
    };
    match line.send("contribute", batch.encode()).await {
        Ok(bytes) => {
            let answers = evanesce_wire::message::Answers::decode(&bytes).unwrap();
            Ok(answers.openings[0].code)
        }
        Err(e) => Err(e.to_string()),
    }
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
