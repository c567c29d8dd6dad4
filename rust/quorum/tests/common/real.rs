//! The product's own agents, each in a folder of its own, on threads of the test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use evanesce_agent::{Config, DECLARATION, Handle};
use evanesce_quorum::*;
use evanesce_token::{Gate, Token};
use evanesce_wire::{FileIdentity, Id, Identity, System};

use super::wait;

/// An identity file of a given Ed25519 seed.
pub fn identity_file(path: &Path, seed: &[u8]) {
    let mut der = hex::decode("302e020100300506032b657004220420").unwrap();
    der.extend(seed);
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        BASE64.encode(der)
    );
    private_file(path, &pem);
}

pub fn private_file(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A caller that the agents of a test know under `name`.
pub struct Caller {
    folder: tempfile::TempDir,
    pub id: Id,
    pub name: String,
}

impl Caller {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = FileIdentity::create(&folder.path().join("caller.key")).unwrap();
        Self {
            id: identity.caller_id(),
            folder,
            name: name.into(),
        }
    }

    pub fn identity(&self) -> FileIdentity {
        FileIdentity::open(&self.folder.path().join("caller.key")).unwrap()
    }

    pub fn reconstructor(&self, holders: Vec<Holder>) -> Reconstructor {
        Reconstructor::new(self.source(), holders, Settings::default()).unwrap()
    }

    /// The same, over other ways to the agents.
    pub fn reconstructor_over(&self, dial: DialSource, holders: Vec<Holder>) -> Reconstructor {
        let settings = Settings::default();
        Reconstructor::in_world(self.source(), holders, settings, Arc::new(System), dial).unwrap()
    }

    fn source(&self) -> IdentitySource {
        let path = self.folder.path().join("caller.key");
        Box::new(move || {
            FileIdentity::open(&path).map(|identity| Arc::new(identity) as Arc<dyn Identity>)
        })
    }
}

/// Every role there is.
pub const EVERY_ROLE: &str = "\"caller\", \"minter\", \"reconstructor\"";

/// Starts an agent in `folder` that knows `caller` in every role; seed and roots are drawn where none are given.
pub fn start(
    folder: &Path,
    name: &str,
    seed: Option<&[u8]>,
    roots: &BTreeMap<u64, String>,
    caller: &Caller,
) -> Handle {
    start_for(folder, name, seed, roots, &[(caller, EVERY_ROLE)])
}

/// The same, for several callers, each in these roles.
pub fn start_for(
    folder: &Path,
    name: &str,
    seed: Option<&[u8]>,
    roots: &BTreeMap<u64, String>,
    callers: &[(&Caller, &str)],
) -> Handle {
    start_configured(folder, name, seed, roots, callers, "")
}

fn start_configured(
    folder: &Path,
    name: &str,
    seed: Option<&[u8]>,
    roots: &BTreeMap<u64, String>,
    callers: &[(&Caller, &str)],
    more: &str,
) -> Handle {
    std::fs::create_dir_all(folder).unwrap();
    let config = format!(
        "name = \"{name}\"\nlisten = \"127.0.0.1:0\"\nidentity = \"identity.key\"\nquiet = true\n[element]\nkind = \"software\"\n{more}"
    );
    std::fs::write(folder.join("agent.toml"), config).unwrap();
    let known = |(caller, roles): &(&Caller, &str)| {
        let (name, id) = (&caller.name, hex::encode(caller.id));
        format!("[[identity]]\nname = \"{name}\"\nid = \"{id}\"\nroles = [{roles}]\n\n")
    };
    let known: String = callers.iter().map(known).collect();
    std::fs::write(folder.join("known.toml"), known).unwrap();
    let config = Config::load(&folder.join("agent.toml")).unwrap();
    match seed {
        Some(seed) => {
            identity_file(&folder.join("identity.key"), seed);
            let roots: String = roots
                .iter()
                .map(|(epoch, root)| format!("{epoch} {root}\n"))
                .collect();
            private_file(
                &folder.join("roots"),
                &format!("evanesce software roots v1\n{roots}"),
            );
        }
        None => drop(evanesce_agent::create(&config).unwrap_or_else(|e| panic!("{e}"))),
    }
    evanesce_agent::spawn(config).unwrap_or_else(|e| panic!("{e}"))
}

pub fn holder(name: &str, id: Id, address: String) -> Holder {
    Holder {
        name: name.into(),
        id,
        address,
        site: String::new(),
        vendor: String::new(),
    }
}

pub fn operate(
    reconstructor: &Reconstructor,
    token: &Arc<Token>,
    suite: &str,
    input: OwnedInput,
) -> Result<Outcome, Error> {
    let jobs = vec![Job::new(suite, input)];
    wait(|done| reconstructor.submit(Operation::new(token.clone(), jobs), done))
}

pub struct Five {
    pub agents: Vec<Option<Handle>>,
    pub reconstructor: Reconstructor,
    pub caller: Caller,
    pub holders: Vec<Holder>,
    pub folder: tempfile::TempDir,
}

pub fn five() -> Five {
    agents(5, &[])
}

/// So many agents that know the caller in every role, and others in theirs.
pub fn agents(count: usize, others: &[(&Caller, &str)]) -> Five {
    agents_configured(count, others, "")
}

/// Some that keep prepared nonces.
pub fn agents_that_prepare(count: usize) -> Five {
    let declared = format!("[threshold]\nprepared = \"{DECLARATION}\"\n");
    agents_configured(count, &[], &declared)
}

fn agents_configured(count: usize, others: &[(&Caller, &str)], more: &str) -> Five {
    let folder = tempfile::tempdir().unwrap();
    let caller = Caller::new("minter");
    let (mut agents, mut holders) = (Vec::new(), Vec::new());
    for name in (0..count).map(|number| format!("s{number}")) {
        let name = &name[..];
        let callers = [&[(&caller, EVERY_ROLE)], others].concat();
        let at = folder.path().join(name);
        let handle = start_configured(&at, name, None, &BTreeMap::new(), &callers, more);
        let id = FileIdentity::open(&folder.path().join(name).join("identity.key"))
            .unwrap()
            .agent_id();
        holders.push(holder(name, id, handle.address().to_string()));
        agents.push(Some(handle));
    }
    let reconstructor = caller.reconstructor(holders.clone());
    Five {
        agents,
        reconstructor,
        caller,
        holders,
        folder,
    }
}

impl Five {
    /// The folder of an agent.
    pub fn place(&self, agent: usize) -> PathBuf {
        self.folder.path().join(format!("s{agent}"))
    }

    /// The configuration of an agent, for what is done while it does not run.
    pub fn config(&self, agent: usize) -> Config {
        Config::load(&self.place(agent).join("agent.toml")).unwrap()
    }

    pub fn stop(&mut self, agent: usize) {
        drop(self.agents[agent].take());
    }

    /// Starts an agent again that was stopped, at another address.
    pub fn start(&mut self, agent: usize) {
        let handle = evanesce_agent::spawn(self.config(agent)).unwrap_or_else(|e| panic!("{e}"));
        self.holders[agent].address = handle.address().to_string();
        self.agents[agent] = Some(handle);
        self.reconstructor = self.caller.reconstructor(self.holders.clone());
    }
}

pub fn spec(policy: &str) -> MintSpec {
    MintSpec {
        name: "code signing".into(),
        suites: vec!["ed25519".into(), "hmac-sha256".into()],
        quorum: Gate::parse("3 of (s0, s1, s2, s3, s4)").unwrap(),
        seats: BTreeMap::new(),
        policy: policy.into(),
        expires: None,
        key: None,
        replaces: None,
        imported: None,
        policy_check: Box::new(evanesce_policy::check),
    }
}

pub fn sign(reconstructor: &Reconstructor, token: &Arc<Token>) -> Result<Outcome, Error> {
    operate(
        reconstructor,
        token,
        "ed25519",
        OwnedInput::Sign {
            message: b"m".to_vec(),
        },
    )
}
