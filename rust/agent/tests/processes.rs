//! Stories of an agent as a process of its own: signals, crashes, a full disk, and what a contribution costs.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Caller, EVERY_ROLE, Line, Minted, Place, header, problem, tell};
use evanesce_agent::{Config, run};
use evanesce_wire::client::Way;
use evanesce_wire::message::{Answers, Batch, Code, Evidence, Opening, SeatResult, Status};
use evanesce_wire::{FileIdentity, Id, Identity};

/// Not a test: the agent that the others start, as this program run again.
#[test]
#[ignore = "an agent's process, started by the other tests"]
fn agent_process() {
    let Ok(folder) = std::env::var("EVANESCE_TEST_FOLDER") else {
        return;
    };
    let folder = std::path::Path::new(&folder);
    let config = Config::load(&folder.join("agent.toml")).unwrap();
    run(config, |address| {
        std::fs::write(folder.join("address.new"), address.to_string()).unwrap();
        std::fs::rename(folder.join("address.new"), folder.join("address")).unwrap();
    })
    .unwrap();
}

struct Process {
    child: Child,
    address: SocketAddr,
    id: Id,
}

impl Process {
    /// Starts the agent of a folder, through a shell that first runs `before`.
    fn start(place: &Place, before: &str) -> Self {
        let _ = std::fs::remove_file(place.path("address"));
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!(
                "{before} exec \"$0\" --exact agent_process --ignored --nocapture"
            ))
            .arg(std::env::current_exe().unwrap())
            .env("EVANESCE_TEST_FOLDER", place.dir.path())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(place.path("stderr")).unwrap())
            .spawn()
            .unwrap();
        let id = FileIdentity::open(&place.path("identity.key"))
            .unwrap()
            .agent_id();
        let deadline = Instant::now() + Duration::from_secs(30);
        let address = loop {
            if let Ok(address) = std::fs::read_to_string(place.path("address")) {
                break address.parse().unwrap();
            }
            assert!(Instant::now() < deadline, "{}", said(place));
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { child, address, id }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn end(mut self, signal: &str) -> Duration {
        let started = Instant::now();
        self.signal(signal);
        self.child.wait().unwrap();
        started.elapsed()
    }

    /// CPU time of all its threads, user and system.
    fn cpu(&self) -> Duration {
        let mut total = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap() {
            let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            total += text.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
        Duration::from_nanos(total)
    }
}

fn said(place: &Place) -> String {
    std::fs::read_to_string(place.path("stderr")).unwrap_or_default()
}

async fn sign(line: &Line, token: &Minted) -> (Code, String) {
    let (answer, _) = line
        .one("contribute", token, line.opening(token, "sign", "ed25519"))
        .await;
    (answer.code, answer.reason)
}

async fn entries(line: &Line) -> u64 {
    Status::decode(&line.connection.get("/v1/status").await.unwrap())
        .unwrap()
        .entries
}

#[test]
fn a_killed_agent_comes_back_with_every_answered_entry() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let mut agent = Process::start(&place, "");
    let token = tell(async {
        let line = ops.open(agent.address, agent.id).await;
        line.mint(header("1 of (a)", "")).await.unwrap()
    });
    let mut answered = 1;
    for round in 0..6 {
        tell(async {
            let line = ops.open(agent.address, agent.id).await;
            assert_eq!(
                entries(&line).await,
                answered,
                "round {round}\n{}",
                said(&place)
            );
            for _ in 0..20 {
                assert_eq!(sign(&line, &token).await.0, Code::Done);
                answered += 1;
            }
        });
        agent.end("-KILL");
        if round % 2 == 0 {
            // As if the last write had been torn.
            let mut file = std::fs::File::options()
                .append(true)
                .open(place.path("log/entries"))
                .unwrap();
            file.write_all(&[1; 77]).unwrap();
        }
        agent = Process::start(&place, "");
        assert_eq!(
            said(&place).contains("\"torn_bytes\":77"),
            round % 2 == 0,
            "{}",
            said(&place)
        );
    }
}

#[test]
fn a_terminated_agent_finishes_what_is_in_flight_and_stores_its_head() {
    let place = Place::new("commit = \"power\"");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = Process::start(&place, "");
    tell(async {
        let line = ops.open(agent.address, agent.id).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let openings = (0..400)
            .map(|_| line.opening(&token, "sign", "ed25519"))
            .collect();
        let batch = Batch {
            contexts: vec![token.context()],
            openings,
        }
        .encode();
        let (answer, ()) = tokio::join!(line.send("contribute", batch), async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            agent.signal("-TERM");
        });
        match answer {
            Ok(answer) => assert_eq!(Answers::decode(&answer).unwrap().openings.len(), 400),
            Err(e) => panic!("cut off: {e}\n{}", said(&place)),
        }
    });
    assert!(agent.end("-TERM") < Duration::from_secs(3));
    assert!(
        said(&place).contains("\"event\":\"stopped\""),
        "{}",
        said(&place)
    );
    let head = std::fs::read_to_string(place.path("log/head")).unwrap();
    assert!(head.contains("\n401\n"), "{head}");
    let agent = Process::start(&place, "");
    assert!(!said(&place).contains("recovered"), "{}", said(&place));
    agent.end("-TERM");
}

#[test]
fn a_directory_is_read_again_on_sighup_and_a_broken_one_is_not() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    let eve = Caller::new("eve", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = Process::start(&place, "");
    let until = |what: &str| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !said(&place).contains(what) {
            assert!(Instant::now() < deadline, "{}", said(&place));
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    tell(async {
        let line = ops.open(agent.address, agent.id).await;
        std::fs::write(place.path("known.toml"), "[[identity]\n").unwrap();
        agent.signal("-HUP");
        until("directory-broken");
        assert!(
            line.connection.get("/v1/status").await.is_ok(),
            "the old directory holds"
        );
        place.know(&[(&eve, EVERY_ROLE)]);
        agent.signal("-HUP");
        until("directory-read");
        let said = problem(line.connection.get("/v1/status").await);
        assert_eq!(
            said,
            (401, "unknown-identity".into()),
            "an open connection is no excuse"
        );
        eve.open(agent.address, agent.id).await;
    });
    agent.end("-TERM");
}

#[test]
fn a_full_disk_releases_nothing_and_is_got_over() {
    let place = Place::new("observe = \"127.0.0.1:0\"");
    let observed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    place.configure(&format!("observe = \"{observed}\""));
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    // A limit on the size of files fails as a full disk does: in the middle of a write.
    let agent = Process::start(&place, "trap '' XFSZ; ulimit -S -f 16;");
    let health = || {
        let mut stream = TcpStream::connect(observed).unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    tell(async {
        let line = ops.open(agent.address, agent.id).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        assert!(health().starts_with("HTTP/1.1 200"));
        let mut answered = 1;
        let why = loop {
            match sign(&line, &token).await {
                (Code::Done, _) => answered += 1,
                (code, why) => {
                    assert_eq!(code, Code::Unavailable);
                    break why;
                }
            }
            assert!(answered < 1000);
        };
        assert!(why.contains("the log cannot be written"), "{why}");
        let (answer, checkpoint) = line
            .one(
                "contribute",
                &token,
                line.opening(&token, "sign", "ed25519"),
            )
            .await;
        assert_eq!(
            (answer.seats.len(), answer.receipt, checkpoint.as_str()),
            (0, None, "")
        );
        assert!(health().starts_with("HTTP/1.1 503"), "{}", health());
        // A check needs no log.
        let check = Opening {
            context: 0,
            requests: vec![],
            salts: vec![],
            evidence: Evidence::default(),
            rows: token.rows.clone(),
        };
        let (answer, _) = line.one("check", &token, check).await;
        assert_eq!(answer.seats[0].result, SeatResult::Good);

        let pid = agent.child.id().to_string();
        let raised = Command::new("prlimit")
            .args(["--pid", &pid, "--fsize=unlimited"])
            .status();
        assert!(raised.unwrap().success());
        assert_eq!(
            sign(&line, &token).await.0,
            Code::Done,
            "space is all it needs"
        );
        assert!(health().starts_with("HTTP/1.1 200"));
        assert_eq!(entries(&line).await, answered + 1);
    });
    agent.end("-KILL");
    let agent = Process::start(&place, "");
    assert!(said(&place).contains("\"torn_bytes\":0") || !said(&place).contains("recovered"));
    agent.end("-TERM");
}

#[test]
#[ignore = "prints what contributions cost"]
fn what_a_contribution_costs() {
    for (commit, policy) in [
        ("process", ""),
        ("power", ""),
        (
            "process",
            "permit(principal, action == Action::\"sign\", resource);",
        ),
    ] {
        let place = Place::new(&format!("commit = \"{commit}\""));
        let ops = Caller::new("ops", place.dir.path());
        place.know(&[(&ops, EVERY_ROLE)]);
        let agent = Process::start(&place, "");
        tell(async {
            let line = ops.open(agent.address, agent.id).await;
            let quorum = "3 of (a, b, c, d, e)";
            let mut tokens = Vec::new();
            for _ in 0..16 {
                let mut token = line.mint(header(quorum, policy)).await.unwrap();
                token.rows.truncate(1);
                tokens.push(token);
            }
            for per_request in [1, 16, 64] {
                let requests: Vec<Vec<u8>> = (0..(12_800 / per_request).min(2000))
                    .map(|_| Batch {
                        contexts: tokens
                            .iter()
                            .take(per_request)
                            .map(Minted::context)
                            .collect(),
                        openings: (0..per_request)
                            .map(|n| Opening {
                                context: n % 16,
                                ..line.opening(&tokens[n % 16], "sign", "ed25519")
                            })
                            .collect(),
                    })
                    .map(|batch| batch.encode())
                    .collect();
                let count = requests.len() * per_request;
                let (cpu, started) = (agent.cpu(), Instant::now());
                for request in requests {
                    let answer = line.send("contribute", request).await.unwrap();
                    assert!(answer.len() > 100);
                }
                let per = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
                println!(
                    "{commit}, policy of {} bytes, {per_request} openings a request: {:.1} µs CPU, {:.1} µs of time",
                    policy.len(),
                    per(agent.cpu() - cpu),
                    per(started.elapsed()),
                );
            }
        });
        agent.end("-TERM");
    }
}

#[test]
#[ignore = "prints how memory stays flat over many different tokens"]
fn memory_over_many_different_tokens() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = Process::start(&place, "");
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let (tokens, per_request) = (400_000, 32);
    tell(async {
        let line = ops.open(agent.address, agent.id).await;
        let mut base = line.mint(header("3 of (a, b, c, d, e)", "")).await.unwrap();
        base.rows.truncate(1);
        let mut cpu = agent.cpu();
        for n in 0..tokens / per_request {
            let mut batch = Batch::default();
            for k in 0..per_request {
                base.body.anchor[..8]
                    .copy_from_slice(&((n * per_request + k) as u64).to_be_bytes());
                let context = base.context();
                let catalogue = evanesce_suite::catalogue();
                let body = base.body.clone();
                base.body = evanesce_token::Body::new(
                    body.header_bytes,
                    body.anchor,
                    body.commitments,
                    body.public_hash,
                    body.sealed_hash,
                    catalogue,
                )
                .unwrap();
                let opening = Opening {
                    context: k,
                    ..line.opening(&base, "sign", "ed25519")
                };
                batch.contexts.push(context);
                batch.openings.push(opening);
            }
            line.send("contribute", batch.encode()).await.unwrap();
            if (n + 1) % (tokens / per_request / 8) == 0 {
                let spent = agent.cpu() - cpu;
                cpu = agent.cpu();
                println!(
                    "{} tokens: {} KiB resident, {:.1} µs each",
                    (n + 1) * per_request,
                    resident(),
                    spent.as_secs_f64() * 1e6 / (tokens / 8) as f64
                );
            }
        }
    });
    agent.end("-TERM");
}

#[test]
fn a_token_is_told_of_as_retired_when_its_tombstone_is_written() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = Process::start(&place, "");
    tell(async {
        let line = ops.open(agent.address, agent.id).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let retired = || {
            let told = "\"event\":\"retired\"";
            (said(&place).matches(told).count(), place.tombstones())
        };
        let retire = async |change: &dyn Fn(&mut Opening)| {
            let mut opening = line.opening(&token, "retire", "");
            change(&mut opening);
            line.one("retire", &token, opening).await.0.code
        };
        // Neither a row of another epoch nor one that proves nothing.
        assert_eq!(retire(&|o| o.rows[0].epoch += 1).await, Code::Unrouted);
        assert_eq!(
            retire(&|o| o.rows[0].correction[0] ^= 1).await,
            Code::Done,
            "permitted, but not regenerated"
        );
        assert_eq!(retired(), (0, 0));
        assert_eq!(retire(&|_| ()).await, Code::Done);
        assert_eq!(retired(), (1, 1));
        assert_eq!(retire(&|_| ()).await, Code::Retired);
        assert_eq!(retired(), (1, 1));
    });
    agent.end("-TERM");
}

#[test]
fn a_start_tells_what_the_agents_secrets_lie_in() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = Process::start(&place, "");
    let status = tell(async {
        let connection = ops.connect(agent.address, agent.id).await;
        Status::decode(&connection.get("/v1/status").await.unwrap()).unwrap()
    });
    let events = said(&place);
    let mut lines = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let started: serde_json::Value = lines
        .find(|line: &serde_json::Value| line["event"] == "started")
        .unwrap();
    assert_eq!(started["memory"], status.memory);
    assert!(
        status.memory == "memfd_secret" || status.memory.starts_with("locked memory ("),
        "{}",
        status.memory
    );
    agent.end("-TERM");
}
