//! Keys that are never put together outlive the roots and the holders of their shares, at the product's own agents.

mod common;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::real::{self, Five, agents};
use common::together::*;
use common::wait;
use evanesce_agent::{AgentError, Config, Rolled, roll};
use evanesce_quorum::*;
use evanesce_token::Gate;
use evanesce_token::mpc::{Kind, Token};

const QUORUM: &str = "2 of (s0, s1, s2)";

/// An operator's inventory of some tokens, under names that do not say what they are.
fn inventory(five: &Five, tokens: &[&[u8]]) -> PathBuf {
    let folder = five.folder.path().join("inventory");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    for (number, token) in tokens.iter().enumerate() {
        std::fs::write(folder.join(format!("key-{number}")), token).unwrap();
    }
    folder
}

/// The epochs whose roots an agent that is stopped holds.
fn held(five: &Five, agent: usize) -> Vec<u64> {
    evanesce_agent::probe(&five.config(agent)).unwrap().epochs
}

fn rolled(five: &Five, agent: usize, destroy_old: Option<u64>) -> Result<Rolled, AgentError> {
    let inventory = five.folder.path().join("inventory");
    roll(&five.config(agent), &inventory, destroy_old, &mut |_, _| {
        true
    })
}

/// A token of the first kind.
fn first(five: &Five) -> Vec<u8> {
    let quorum = Gate::parse(QUORUM).unwrap();
    let spec = MintSpec {
        quorum,
        ..real::spec("")
    };
    let minted = wait(|done| five.reconstructor.mint(spec, done));
    let minted: Minted = minted.unwrap_or_else(|e| panic!("{e}"));
    minted.token.encode()
}

/// The tokens of the inventory, by their names' order.
fn read(five: &Five) -> Vec<Arc<Token>> {
    let folder = five.folder.path().join("inventory");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    files.sort();
    let decode = |path: &PathBuf| Token::decode(&std::fs::read(path).unwrap()).unwrap();
    files.iter().map(decode).map(Arc::new).collect()
}

/// One token of each suite and kind.
fn all_sorts(five: &Five) -> Vec<Arc<Token>> {
    let sorts = SUITES
        .iter()
        .flat_map(|suite| Kind::ALL.map(|kind| (*suite, kind)));
    sorts
        .map(|(suite, kind)| create(five, kind, suite, QUORUM, ""))
        .collect()
}

/// What is wrong with each seat; nothing where all have their shares.
fn faults(five: &Five, token: &Arc<Token>) -> Vec<Option<FaultKind>> {
    let table = wait(|done| five.reconstructor.check_threshold(token.clone(), done));
    let table: CheckTable = table.unwrap_or_else(|e: Error| panic!("{e}"));
    let rows = table.rows.iter();
    rows.map(|row| row.fault.as_ref().map(|fault| fault.kind))
        .collect()
}

/// A signature that s0 must take part in: s2 is away meanwhile.
fn signs(five: &mut Five, tokens: &[Arc<Token>]) {
    five.stop(2);
    for token in tokens {
        let signed = sign(five, token, vec![message(b"m")]).unwrap_or_else(|e| panic!("{e}"));
        assert!(verifies(token, b"m", &signed.outputs[0]));
    }
    five.start(2);
}

#[test]
fn an_agent_moves_to_a_new_root_with_its_shares_of_keys_that_are_never_put_together() {
    let mut five = agents(3, &[]);
    let old = all_sorts(&five);
    five.stop(0);
    let encoded: Vec<_> = old.iter().map(|token| token.encode()).collect();
    let encoded: Vec<&[u8]> = encoded.iter().map(Vec::as_slice).collect();
    let folder = inventory(&five, &encoded);
    let done = rolled(&five, 0, None).unwrap();
    assert_eq!((done.rerooted, done.problem_count), (4, 0), "{done:?}");
    let new = read(&five);
    for (old, new) in old.iter().zip(&new) {
        assert_eq!((&new.body, &new.rows[1..]), (&old.body, &old.rows[1..]));
        assert_eq!((old.rows[0].epoch, new.rows[0].epoch), (1, 2));
        let masked = new.body.header.kind == Kind::Regenerated;
        assert_eq!(new.rows[0].correction != old.rows[0].correction, masked);
    }
    five.start(0);
    // while both roots are held, copies from before are as good
    signs(&mut five, &new);
    signs(&mut five, &old);

    five.stop(0);
    // As a crash leaves it: a share that was sealed anew, and not its row.
    std::fs::write(folder.join("key-1"), encoded[1]).unwrap();
    let done = rolled(&five, 0, Some(1)).unwrap();
    assert_eq!((done.rerooted, done.proven), (1, 3), "{done:?}");
    assert_eq!((done.destroyed, held(&five, 0)), (Some(1), vec![2]));
    let new = read(&five);
    five.start(0);
    signs(&mut five, &new);
    for (old, new) in old.iter().zip(&new) {
        assert_eq!(faults(&five, new), [None; 3]);
        if new.body.header.kind == Kind::Regenerated {
            let gone = Some(FaultKind::EpochNotHeld);
            assert_eq!(faults(&five, old), [gone, None, None]);
        }
    }
}

#[test]
fn no_root_is_destroyed_that_a_share_needs_of_a_key_which_is_never_put_together() {
    let mut five = agents(3, &[]);
    let masked = create(&five, Kind::Regenerated, SUITES[0], QUORUM, "");
    let kept = create(&five, Kind::Kept, SUITES[1], QUORUM, "");
    let first = first(&five);
    five.stop(0);
    inventory(&five, &[&first]);
    // What it keeps itself the agent knows, whatever the inventory holds.
    let error = rolled(&five, 0, None).and_then(|_| rolled(&five, 0, Some(1)));
    let error = error.err().unwrap().to_string();
    assert!(error.contains(&hex::encode(kept.id())), "{error}");

    let mut altered = Token::clone(&masked);
    altered.rows[0].correction[0] ^= 1;
    let share = five.place(0).join("shares").join(hex::encode(kept.id()));
    let sealed = std::fs::read(&share).unwrap();
    let mut flipped = sealed.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let (masked, kept) = (masked.encode(), kept.encode());
    for (token, file, why) in [
        (&altered.encode(), &sealed, "altered"),
        (&kept, &flipped, "altered"),
        (&kept, &sealed[..9].to_vec(), "can be read"),
        (&kept, &Vec::new(), "can be read"),
    ] {
        inventory(&five, &[&first, token]);
        std::fs::write(&share, file).unwrap();
        let rolled = rolled(&five, 0, Some(1)).unwrap();
        assert_eq!((rolled.problem_count, rolled.destroyed), (1, None), "{why}");
        assert!(rolled.problems[0].why.contains(why), "{rolled:?}");
        assert_eq!(
            std::fs::read(&share).unwrap(),
            *file,
            "nothing is made worse"
        );
    }
    std::fs::write(&share, &sealed).unwrap();
    inventory(&five, &[&masked, &kept]);
    assert_eq!(rolled(&five, 0, Some(1)).unwrap().destroyed, Some(1));
    five.start(0);
    let new = read(&five);
    signs(&mut five, &new);
}

/// Not a test: the roll that the next one kills, as this program run again.
#[test]
#[ignore = "a roll's process, started by another test"]
fn roller_process() {
    let Some(folder) = std::env::var_os("EVANESCE_TEST_FOLDER").map(PathBuf::from) else {
        return;
    };
    let config = Config::load(&folder.join("s0/agent.toml")).unwrap();
    roll(&config, &folder.join("inventory"), None, &mut |_, _| true).unwrap();
}

#[test]
fn a_roll_that_is_killed_at_any_moment_leaves_every_share_to_be_had() {
    let mut five = agents(3, &[]);
    let tokens: Vec<_> = (0..4)
        .flat_map(|_| all_sorts(&five))
        .map(|token| token.encode())
        .collect();
    inventory(&five, &tokens.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let (mut killed, mut patience) = (0, Duration::from_millis(3));
    while read(&five).iter().any(|token| token.rows[0].epoch == 1) {
        five.stop(0);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "roller_process", "--ignored"])
            .env("EVANESCE_TEST_FOLDER", five.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(patience);
        patience = patience * 3 / 2;
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
        five.start(0);
        for token in read(&five) {
            assert_eq!(faults(&five, &token), [None; 3]);
        }
        assert!(patience < Duration::from_secs(60));
    }
    assert!(killed > 2, "killed {killed} times");
    five.stop(0);
    let rolled = rolled(&five, 0, Some(1)).unwrap();
    assert_eq!(
        (rolled.destroyed, rolled.problem_count),
        (Some(1), 0),
        "{rolled:?}"
    );
    five.start(0);
    let new = read(&five);
    signs(&mut five, &new);
}
