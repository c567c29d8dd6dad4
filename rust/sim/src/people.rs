//! The keys of everybody who takes part, the same in every schedule: identities, log keys and roots from fixed seeds.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use evanesce_agent::Directory;
use evanesce_element::{Description, Element, ElementError};
use evanesce_secret::on_crucible;
use evanesce_token::hash::{hmac_sha256, th};
use evanesce_wire::{FileIdentity, Id, Identity, WireError};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Most agents of a schedule.
pub const AGENTS: usize = 5;
/// Callers: the first may mint and retire, the second may not, the third is known to nobody.
pub const CALLERS: [&str; 3] = ["alice", "bob", "mallory"];

/// One key.
pub type Key = Arc<FileIdentity>;

/// Everybody.
pub struct People {
    /// Agents' identities.
    pub agents: Vec<Key>,
    /// Their logs' keys.
    pub logs: Vec<Key>,
    /// Their ids.
    pub ids: Vec<Id>,
    /// Callers' identities.
    pub callers: Vec<Key>,
    /// Who approves, and is no caller.
    pub approver: Key,
    /// Whom an agent knows, read once: what a policy comes to is remembered for each of them.
    pub known: Directory,
}

/// Among who asks over the network, the place of an agent that asks its peers: behind all callers.
pub fn as_asker(agent: usize) -> usize {
    CALLERS.len() + agent
}

impl People {
    /// The key of whoever asks from that place.
    pub fn asker(&self, place: usize) -> &Key {
        match place.checked_sub(CALLERS.len()) {
            Some(agent) => &self.agents[agent],
            None => &self.callers[place],
        }
    }

    /// The agent that asks from that place, if it is one.
    pub fn asking_agent(place: usize) -> Option<usize> {
        place.checked_sub(CALLERS.len())
    }
}

/// Everybody, made once.
pub fn people() -> &'static People {
    static PEOPLE: OnceLock<People> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let keys = |what: &str, n: usize| -> Vec<Key> {
            (0..n).map(|i| key(&format!("{what} {i}"))).collect()
        };
        let (agents, callers) = (keys("agent", AGENTS), keys("caller", CALLERS.len()));
        let roles = [
            "[\"caller\", \"minter\", \"reconstructor\"]",
            "[\"caller\", \"reconstructor\"]",
        ];
        let line = |(n, roles): (usize, &&str)| {
            let (name, id) = (CALLERS[n], hex::encode(callers[n].caller_id()));
            format!("[[identity]]\nname = \"{name}\"\nid = \"{id}\"\nroles = {roles}\n")
        };
        let known: String = roles.iter().enumerate().map(line).collect();
        People {
            ids: agents.iter().map(|agent| agent.agent_id()).collect(),
            logs: keys("log", AGENTS),
            approver: key("approver"),
            known: Directory::parse(&known).expect("a directory"),
            agents,
            callers,
        }
    })
}

/// An Ed25519 key from a name (RFC 8410 §7).
fn key(name: &str) -> Key {
    let mut der = [0; 48];
    der[..16].copy_from_slice(&[
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ]);
    der[16..].copy_from_slice(&th("simulated key", &[name.as_bytes()]));
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        BASE64.encode(der)
    );
    let key = on_crucible(|| FileIdentity::from_pem(pem.as_bytes()));
    Arc::new(key.expect("a key of the right form"))
}

/// A key that is shared with whoever wants it boxed.
pub struct Shared(pub Key);

impl Identity for Shared {
    fn spki(&self) -> &[u8] {
        self.0.spki()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, WireError> {
        self.0.sign(message)
    }
}

/// The epoch of every root in the beginning.
pub const EPOCH: u64 = 1;

/// A root of an agent, which the invariants know too, whether or not its element has it.
pub fn root(agent: usize, epoch: u64) -> [u8; 32] {
    th(
        "simulated root",
        &[&agent.to_be_bytes(), &epoch.to_be_bytes()],
    )
}

/// An agent's element, with known roots. It can be away; roots can be added and destroyed.
pub struct Roots {
    agent: usize,
    away: AtomicBool,
    /// In their order.
    held: Mutex<Vec<u64>>,
}

impl Roots {
    /// With one root.
    pub fn new(agent: usize) -> Arc<Self> {
        Arc::new(Self {
            agent,
            away: AtomicBool::new(false),
            held: Mutex::new(vec![EPOCH]),
        })
    }

    fn held(&self) -> MutexGuard<'_, Vec<u64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It does not answer, or does again.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Relaxed);
    }

    /// Whether it has a root of that epoch.
    pub fn has(&self, epoch: u64) -> bool {
        self.held().contains(&epoch)
    }

    /// Another root, unless there is one.
    pub fn add(&self, epoch: u64) {
        if !self.has(epoch) {
            self.held().push(epoch);
        }
    }

    /// A root is gone for good.
    pub fn destroy(&self, epoch: u64) {
        self.held().retain(|held| *held != epoch);
    }
}

/// A handle on it, as its agent has.
pub struct KnownRoots(pub Arc<Roots>);

impl Element for KnownRoots {
    fn description(&self) -> Description {
        Description {
            kind: "software",
            label: "simulated".into(),
            development: true,
            weaknesses: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn epochs(&self) -> Vec<u64> {
        self.0.held().clone()
    }

    fn current(&self) -> u64 {
        self.0.held().last().copied().unwrap_or(EPOCH)
    }

    fn evaluate(&self, epoch: u64, input: &[u8; 32], y: &mut [u8; 32]) -> Result<(), ElementError> {
        *y = [0; 32];
        if !self.0.has(epoch) {
            return Err(ElementError::EpochNotHeld(epoch));
        }
        if self.0.away.load(Relaxed) {
            return Err(ElementError::Unavailable("it was pulled out".into()));
        }
        hmac_sha256(&root(self.0.agent, epoch), input, y);
        Ok(())
    }
}
