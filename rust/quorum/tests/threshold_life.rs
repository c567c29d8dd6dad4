//! Keys that are never put together outlive the roots and the holders of their shares, at the product's own agents.

mod common;

use std::path::PathBuf;
use std::process::{self, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::real::{self, Five, agents};
use common::together::*;
use common::{Behaviour, FakeAgent, wait};
use evanesce_agent::{AgentError, Config, Rolled, roll};
use evanesce_quorum::*;
use evanesce_token::mpc::{self, Kind, Token};
use evanesce_token::{Gate, formula};
use evanesce_wire::message::Command;

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
        let mut child = process::Command::new(std::env::current_exe().unwrap())
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

fn repair(five: &Five, token: &Arc<Token>, holder: &str) -> Result<ThresholdRepaired, Error> {
    let spec = ThresholdRepairSpec {
        token: token.clone(),
        seat: "s1".into(),
        holder: holder.into(),
    };
    let settled = Settled::default();
    wait(|done| five.reconstructor.repair_threshold(spec, settled, done))
}

#[test]
fn a_lost_seat_has_its_share_again_at_a_new_holder_and_the_key_is_the_same() {
    let mut five = agents(4, &[]);
    let tokens = all_sorts(&five);
    five.stop(1);
    let mut repaired = Vec::new();
    for token in &tokens {
        let done = repair(&five, token, "s3").unwrap_or_else(|e| panic!("{e}"));
        assert!(done.faults.is_empty() && done.token.body == token.body);
        let new = Arc::new(done.token);
        assert_eq!(new.rows[1].holder, five.holders[3].id);
        assert_eq!(
            (&new.rows[0], &new.rows[2]),
            (&token.rows[0], &token.rows[2])
        );
        let entries: Vec<_> = done
            .receipts
            .iter()
            .map(|one| one.verify().unwrap())
            .collect();
        let verbs: Vec<_> = entries.iter().map(|entry| entry.verb.as_str()).collect();
        assert_eq!(verbs, ["mpc-help", "mpc-help", "mpc-receive"]);
        let (seat, holder) = (1u32.to_be_bytes(), five.holders[3].id);
        let inputs: [&[u8]; 2] = [&seat, &holder];
        let input = formula::input_digest(&done.salt, "repair", "", &inputs);
        for entry in &entries[..2] {
            let operation = &entry.operations[0];
            assert_eq!(
                (operation.action.as_str(), operation.input),
                ("repair", input)
            );
        }
        assert_eq!(faults(&five, &new), [None; 3]);
        repaired.push(new);
    }
    assert_eq!((kept(&five, 3), kept(&five, 0)), (2, 2));
    // Nobody of those that made the key but one, and the new holder.
    five.stop(0);
    for token in &repaired {
        let signed = sign(&five, token, vec![message(b"m")]).unwrap_or_else(|e| panic!("{e}"));
        assert!(verifies(token, b"m", &signed.outputs[0]));
    }
    // A key that was repaired lives on: its shares are renewed, and its agents rolled.
    five.start(0);
    let new = renew(&five, &repaired[0], None).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(new.token.rows[1].holder, five.holders[3].id);
    five.stop(3);
    inventory(&five, &[&repaired[0].encode(), &repaired[1].encode()]);
    assert_eq!(rolled(&five, 3, None).unwrap().rerooted, 2);
}

#[test]
fn others_help_in_the_place_of_whoever_does_not_and_it_is_named() {
    let mut five = agents(6, &[]);
    let quorum = "2 of (s0, s1, s2, s3, s4)";
    for kind in Kind::ALL {
        let token = create(&five, kind, SUITES[0], quorum, "");
        // s0 has lost its share, and s2 is away
        let mut altered = Token::clone(&token);
        altered.rows[0].correction[0] ^= 1;
        altered.rows[0].epoch = 9;
        five.stop(1);
        five.stop(2);
        let done = repair(&five, &Arc::new(altered), "s5").unwrap_or_else(|e| panic!("{e}"));
        let mut named: Vec<_> = done
            .faults
            .iter()
            .map(|f| f.seat.as_deref().unwrap())
            .collect();
        named.sort_unstable();
        assert_eq!(named, ["s0", "s2"], "{:?}", done.faults);
        five.start(2);
        let healed = Token {
            rows: [&token.rows[..1], &done.token.rows[1..]].concat(),
            ..done.token
        };
        assert_eq!(faults(&five, &Arc::new(healed)), [None; 5]);
        five.start(1);
    }
}

#[test]
fn one_that_accuses_the_honest_does_not_stop_as_many_as_are_needed() {
    let mut six = agents(6, &[]);
    let quorum = "3 of (s0, s1, s2, s3, s4)";
    let token = create(&six, Kind::Regenerated, SUITES[0], quorum, "");
    // s1 is lost, and at s0 there is another agent than was
    let liar = FakeAgent::start();
    liar.behave(Behaviour::Accuses);
    six.holders[0].id = liar.shared.id;
    six.holders[0].address = liar.address.to_string();
    six.reconstructor = six.caller.reconstructor(six.holders.clone());
    let mut altered = Token::clone(&token);
    altered.rows[0].holder = liar.shared.id;
    let altered = Arc::new(altered);
    let accused = (0..100).find_map(|_| {
        // Whoever answers first is asked first, and it is not always that one.
        let done = repair(&six, &altered, "s5").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(done.token.rows[1].holder, six.holders[5].id);
        (!done.faults.is_empty()).then_some(done.faults)
    });
    let accused = accused.expect("it was among the first three once");
    assert!(
        accused
            .iter()
            .all(|fault| fault.detail.contains("s0 says of it")),
        "{accused:?}"
    );
}

#[test]
fn a_seat_is_given_away_only_as_the_policy_has_it_and_never_to_one_that_sits() {
    let mut five = agents(4, &[]);
    let signing = "permit(principal, action == Action::\"sign\", resource);";
    let token = create(&five, Kind::Regenerated, SUITES[0], QUORUM, signing);
    let error = repair(&five, &token, "s3").err().unwrap();
    assert_eq!(
        (error.code, error.faults.len()),
        (Code::Refused, 2),
        "{error}"
    );

    let token = create(&five, Kind::Kept, SUITES[0], QUORUM, "");
    for (holder, why) in [("s0", "sits at s0 already"), ("s9", "no agent named")] {
        let error = repair(&five, &token, holder).err().unwrap();
        assert_eq!(error.code, Code::BadInput, "{error}");
        assert!(error.message.contains(why), "{error}");
    }
    // the same agent may take its own seat back
    std::fs::remove_dir_all(five.place(1).join("shares")).unwrap();
    let lost = Some(FaultKind::CannotRegenerate);
    assert_eq!(faults(&five, &token), [None, lost, None]);
    let done = repair(&five, &token, "s1").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(faults(&five, &Arc::new(done.token)), [None; 3]);

    five.stop(2);
    let error = repair(&five, &token, "s3").err().unwrap();
    assert_eq!(error.code, Code::QuorumNotMet, "{error}");
    assert!(
        error.faults.iter().any(|fault| fault.holder == "s2"),
        "{error}"
    );
    five.stop(3);
    let error = repair(&five, &token, "s3").err().unwrap();
    assert!(
        error.faults.iter().all(|fault| fault.holder == "s3"),
        "{error}"
    );
    assert_eq!(kept(&five, 3), 0);
}

fn revoke(five: &Five, token: &Arc<Token>) -> Ordered {
    let versions = vec![token.clone()];
    let ordered = wait(|done| {
        five.reconstructor
            .order_threshold(versions, Command::Revoke, done)
    });
    ordered.unwrap_or_else(|e: Error| panic!("{e}"))
}

/// The second step, in which nobody is left out; how many shares that were kept are gone.
fn finished(five: &Five, renewed: Renewed) -> u64 {
    let end = wait(|done| five.reconstructor.finish_renewal(Arc::new(renewed), done));
    let end: Renewal = end.unwrap_or_else(|e: Error| panic!("{e}"));
    assert!(end.faults.is_empty(), "{:?}", end.faults);
    end.removed
}

#[test]
fn a_member_that_is_gone_is_removed_and_the_key_is_the_same() {
    let mut five = agents(3, &[]);
    for old in all_sorts(&five) {
        let kind = old.body.header.kind;
        five.stop(1);
        let quorum = "2 of (s0, s2)";
        let renewed = reshare(&five, &old, quorum, &[]).unwrap_or_else(|e| panic!("{e}"));
        let new = renewed.token.clone();
        assert_eq!(new.body.vector[0], old.body.vector[0]);
        assert_eq!(new.body.header.replaces, Some(*old.id()));
        let holders: Vec<_> = new.rows.iter().map(|row| row.holder).collect();
        assert_eq!(holders, [five.holders[0].id, five.holders[2].id]);
        let deal = mpc::formula::deal(kind, &new.body.header_bytes);
        let inputs = mpc::formula::reshare_inputs(&deal, &holders);
        let input = formula::input_digest(&renewed.salt, "reshare", "", &inputs);
        let entries = renewed.receipts.iter().map(|one| one.verify().unwrap());
        let entries: Vec<_> = entries.collect();
        let verbs: Vec<_> = entries.iter().map(|entry| entry.verb.as_str()).collect();
        assert_eq!(
            verbs,
            ["mpc-announce", "mpc-announce", "mpc-take", "mpc-take"]
        );
        for entry in &entries[..2] {
            let operation = &entry.operations[0];
            assert_eq!((entry.token, operation.input), (*old.id(), input));
            assert_eq!(operation.action, "reshare");
        }
        let removed = finished(&five, renewed);
        assert_eq!(removed, if kind == Kind::Kept { 2 } else { 0 });
        assert_eq!(faults(&five, &new), [None; 2]);
        let signed = sign(&five, &new, vec![message(b"m")]).unwrap_or_else(|e| panic!("{e}"));
        assert!(verifies(&old, b"m", &signed.outputs[0]));

        // Whoever was left out has its old share yet, and is alone with it: at once where shares are kept, and once
        // the old token is revoked where its rows give them again.
        five.start(1);
        let table = faults(&five, &old);
        let gone = (kind == Kind::Kept).then_some(FaultKind::CannotRegenerate);
        assert_eq!(table, [gone, None, gone]);
        let signed = sign(&five, &old, vec![message(b"m")]);
        assert_eq!(signed.is_ok(), kind == Kind::Regenerated);
        five.stop(1);
        revoke(&five, &old);
        five.start(1);
        let error = sign(&five, &old, vec![message(b"m")]).err().unwrap();
        assert_eq!(error.code, Code::QuorumNotMet, "{error}");
        let signed = sign(&five, &new, vec![message(b"m")]);
        assert!(signed.is_ok(), "{:?}", signed.err());
        assert!(revoke(&five, &old).settled);
    }
    let kept: Vec<_> = (0..3).map(|agent| kept(&five, agent)).collect();
    assert_eq!(kept, [2, 0, 2]);
}

#[test]
fn a_key_that_is_never_put_together_goes_to_a_larger_quorum_with_new_members_and_on_from_there() {
    let mut five = agents(5, &[]);
    for old in all_sorts(&five) {
        let (before, kind) = (kept(&five, 3), old.body.header.kind);
        // others come in between, and an agent that stays has another seat
        let quorum = "3 of (s3, s1, x, s0, s4)";
        let renewed =
            reshare(&five, &old, quorum, &[("x", "s2")]).unwrap_or_else(|e| panic!("{e}"));
        let new = renewed.token.clone();
        assert_eq!(new.body.vector[0], old.body.vector[0]);
        assert_eq!(finished(&five, renewed), 3 * u64::from(kind == Kind::Kept));
        assert_eq!(faults(&five, &new), [None; 5]);
        assert_eq!(
            kept(&five, 3),
            before + usize::from(kind == Kind::Kept),
            "a new member keeps its share"
        );
        for away in [[0, 1], [2, 3]] {
            away.iter().for_each(|agent| five.stop(*agent));
            let signed = sign(&five, &new, vec![message(b"m")]);
            let signed = signed.unwrap_or_else(|e| panic!("{e}"));
            assert!(verifies(&old, b"m", &signed.outputs[0]));
            five.stop(4);
            assert!(sign(&five, &new, vec![message(b"m")]).is_err());
            away.iter().for_each(|agent| five.start(*agent));
            five.start(4);
        }
        // and on: refreshed as it is, and to two of the new ones and one of the old, in the other form
        let again = renew(&five, &new, None).unwrap_or_else(|e| panic!("{e}"));
        let refreshed = again.token.clone();
        finished(&five, again);
        let other = match kind {
            Kind::Kept => Kind::Regenerated,
            Kind::Regenerated => Kind::Kept,
        };
        let spec = RenewalSpec {
            kind: Some(other),
            quorum: Some(Gate::parse("2 of (s4, s0, s3)").unwrap()),
            ..renewal(&refreshed)
        };
        let last: Result<Renewed, Error> = wait(|done| five.reconstructor.renew(spec, done));
        let last = last.unwrap_or_else(|e| panic!("{e}"));
        let (token, removed) = (last.token.clone(), 3 * u64::from(kind == Kind::Kept));
        assert_eq!(finished(&five, last), removed);
        assert_eq!(faults(&five, &token), [None; 3]);
        let signed = sign(&five, &token, vec![message(b"m")]);
        let signed = signed.unwrap_or_else(|e| panic!("{e}"));
        assert!(verifies(&old, b"m", &signed.outputs[0]));
    }
}

#[test]
fn a_seat_is_given_to_another_agent_by_a_reshare_of_the_same_quorum() {
    let mut five = agents(4, &[]);
    let old = create(&five, Kind::Kept, SUITES[1], QUORUM, "");
    five.stop(1);
    let renewed = reshare(&five, &old, QUORUM, &[("s1", "s3")]).unwrap_or_else(|e| panic!("{e}"));
    let new = renewed.token.clone();
    assert_eq!(new.rows[1].holder, five.holders[3].id);
    assert_eq!(finished(&five, renewed), 2);
    assert_eq!(faults(&five, &new), [None; 3]);
}

#[test]
fn others_give_in_the_place_of_whoever_has_lost_its_share_and_it_is_named() {
    let five = agents(4, &[]);
    let quorum = "2 of (s0, s1, s2, s3)";
    for kind in Kind::ALL {
        let old = create(&five, kind, SUITES[0], QUORUM, "");
        let mut lost = Token::clone(&old);
        let (trouble, removed) = match kind {
            Kind::Kept => {
                let share = five.place(0).join("shares").join(hex::encode(old.id()));
                std::fs::remove_file(share).unwrap();
                ("regenerate", 2)
            }
            // as one that has lost a root
            Kind::Regenerated => {
                lost.rows[0].epoch = 9;
                ("root", 0)
            }
        };
        let renewed = reshare(&five, &Arc::new(lost), quorum, &[]);
        let renewed = renewed.unwrap_or_else(|e| panic!("{e}"));
        let named: Vec<_> = renewed
            .warnings
            .iter()
            .filter(|warning| warning.contains("others give in its place"))
            .collect();
        assert!(
            matches!(&named[..], [one] if one.starts_with("s0: ")),
            "{trouble}: {:?}",
            renewed.warnings
        );
        let new = renewed.token.clone();
        assert_eq!(finished(&five, renewed), removed);
        assert_eq!(faults(&five, &new), [None; 4]);
        // with two that have lost it nobody is left to give
        let mut two = Token::clone(&new);
        for agent in [0, 1] {
            match kind {
                Kind::Kept => {
                    let share = five.place(agent).join("shares").join(hex::encode(new.id()));
                    std::fs::remove_file(share).unwrap();
                }
                Kind::Regenerated => two.rows[agent].epoch = 9,
            }
        }
        let two = Arc::new(two);
        let error = reshare(&five, &two, "2 of (s0, s1, s2)", &[])
            .err()
            .unwrap();
        assert_eq!((error.code, error.faults.len()), (Code::QuorumNotMet, 2));
        assert!(error.hint.contains("must have their old shares"), "{error}");
        let lost = (kind == Kind::Kept).then_some(FaultKind::CannotRegenerate);
        assert_eq!(faults(&five, &new), [lost, lost, None, None]);
    }
}

#[test]
fn as_many_as_sign_are_not_left_out_at_once_without_a_warning() {
    let five = agents(4, &[]);
    let old = create(
        &five,
        Kind::Regenerated,
        SUITES[0],
        "2 of (s0, s1, s2, s3)",
        "",
    );
    for (quorum, warned) in [("2 of (s0, s1, s2)", false), ("2 of (s0, s1)", true)] {
        let renewed = reshare(&five, &old, quorum, &[]).unwrap_or_else(|e| panic!("{e}"));
        let says = |warning: &String| warning.contains("2 holders are left out at once");
        assert_eq!(
            renewed.warnings.iter().any(says),
            warned,
            "{:?}",
            renewed.warnings
        );
    }
}

/// A kept share is opened under the root of its file, whatever its row says: its holder would take part as one that has nothing to decide,
/// and keep the old share beside the new.
#[test]
fn nobody_who_keeps_a_share_joins_another_quorum_without_being_asked_for_leave() {
    let five = agents(4, &[]);
    let old = create(&five, Kind::Kept, SUITES[0], QUORUM, "");
    let mut outdated = Token::clone(&old);
    outdated.rows[2].epoch = 9;
    let error = reshare(&five, &Arc::new(outdated), "2 of (s0, s1, s2, s3)", &[]);
    let error = error.err().unwrap();
    assert_eq!(error.code, Code::QuorumNotMet, "{error}");
    assert!(
        error.message.contains("an older copy, or was altered"),
        "{error}"
    );
    let named: Vec<_> = error.faults.iter().map(|f| f.seat.as_deref()).collect();
    assert_eq!(named, [Some("s2")], "{error}");
    assert_eq!(kept(&five, 3), 0, "no agent was asked");
    // as it is it does, of whoever keeps one
    let renewed = reshare(&five, &old, "2 of (s0, s1, s2, s3)", &[]);
    assert_eq!(
        finished(&five, renewed.unwrap_or_else(|e| panic!("{e}"))),
        3
    );
}

#[test]
fn a_key_goes_to_another_quorum_only_as_its_policy_has_it_and_with_enough_of_those_that_have_it() {
    let mut five = agents(5, &[]);
    let old = create(&five, Kind::Kept, SUITES[0], QUORUM, "");
    for (quorum, seats, why) in [
        ("2 of (s0, s3, s4)", &[][..], "2 of those who hold shares"),
        ("2 of (s0, s1, x)", &[("x", "s1")], "s1\" has two seats"),
        ("2 of (s0, s1, s9)", &[], "no agent named"),
        ("2 of (s0, s1)", &[("s2", "s2")], "no seat \"s2\""),
        ("1 of (s0, s1)", &[], "2 or more"),
        ("2 of (s0, 1 of (s1, s2))", &[], "flat"),
    ] {
        let error = reshare(&five, &old, quorum, seats).err().unwrap();
        assert_eq!(error.code, Code::BadInput, "{quorum}: {error}");
        assert!(error.message.contains(why), "{quorum}: {error}");
    }
    // one that is to sit there is away: nobody is asked
    five.stop(3);
    let error = reshare(&five, &old, "2 of (s0, s1, s3)", &[])
        .err()
        .unwrap();
    assert_eq!(error.faults.len(), 1, "{error}");
    assert_eq!(error.faults[0].holder, "s3");
    assert_eq!(faults(&five, &old), [None; 3]);

    let signing = "permit(principal, action == Action::\"sign\", resource);";
    let bound = create(&five, Kind::Kept, SUITES[0], QUORUM, signing);
    let error = reshare(&five, &bound, "2 of (s0, s1)", &[]).err().unwrap();
    assert_eq!(
        (error.code, error.faults.len()),
        (Code::Refused, 2),
        "{error}"
    );
    assert_eq!(faults(&five, &bound), [None; 3]);
    assert_eq!(kept(&five, 4), 0);
}
