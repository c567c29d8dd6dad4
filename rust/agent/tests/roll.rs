//! An agent moved to a new root: its operator's inventory re-rooted, stopped, killed, gone on with; the old root destroyed.

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, header};
use evanesce_agent::{AgentError, Config, Rolled, roll, spawn};
use evanesce_element::pkcs11::Pkcs11Element;
use evanesce_element::software::{RootsFile, SoftwareElement};
use evanesce_element::{Element, SecretSource};
use evanesce_secret::{Secret, on_crucible};
use evanesce_suite::catalogue;
use evanesce_token::{Header, Row, Token, armor, formula, sharing};
use evanesce_wire::{FileIdentity, Id, Identity, verify_statement};

/// An agent's folder and an inventory.
struct Room {
    place: Place,
    tokens: PathBuf,
    me: Id,
}

impl Room {
    fn new() -> Self {
        let place = Place::new("");
        let me = FileIdentity::open(&place.path("identity.key"))
            .unwrap()
            .agent_id();
        let tokens = place.path("inventory");
        std::fs::create_dir_all(tokens.join("more")).unwrap();
        Self { place, tokens, me }
    }

    fn element(&self) -> SoftwareElement {
        SoftwareElement::open(&self.place.path("roots"), None).unwrap()
    }

    fn roll(&self, destroy_old: Option<u64>) -> Result<Rolled, AgentError> {
        self.roll_while(destroy_old, &mut |_, _| true)
    }

    fn roll_while(
        &self,
        destroy_old: Option<u64>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Rolled, AgentError> {
        self.roll_in(&self.tokens, destroy_old, progress)
    }

    fn roll_in(
        &self,
        tokens: &Path,
        destroy_old: Option<u64>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Rolled, AgentError> {
        for _ in 0..100 {
            match roll(&self.place.config(), tokens, destroy_old, progress) {
                // A child that another test starts holds this one's lock too, until it has become another program.
                Err(AgentError::InUse(_)) => std::thread::sleep(Duration::from_millis(20)),
                other => return other,
            }
        }
        panic!("the folder stays in use")
    }

    /// So many tokens in which this agent has one of three seats.
    fn fill(&self, count: usize) {
        let element = self.element();
        for number in 0..count {
            let token = token(&element, "2 of (a, b, c)", &[(1, self.me)]);
            std::fs::write(
                self.tokens.join(format!("{number:06}.regen")),
                token.encode(),
            )
            .unwrap();
        }
    }

    fn read(&self, name: &str) -> Token {
        read(&self.tokens.join(name))
    }
}

/// A token whose `seats` are held under the element's current epoch, and the others by somebody.
fn token(element: &dyn Element, quorum: &str, seats: &[(u32, Id)]) -> Token {
    let header = Header {
        suites: vec!["hmac-sha256".into()],
        ..header(quorum, "")
    };
    let deal = formula::deal(&header.encode());
    let mut seed = [0; 32];
    evanesce_secret::random(&mut seed);
    let shares: Vec<Secret<32>> = on_crucible(|| {
        sharing::split(&seed, &header.quorum, &mut evanesce_secret::random).unwrap()
    });
    let commitments: Vec<[u8; 32]> = shares
        .iter()
        .zip(0..)
        .map(|(share, seat)| formula::commitment(&deal, seat, share.expose()))
        .collect();
    let anchor = formula::anchor(&deal, &seed);
    let somebody = Row {
        holder: [7; 32],
        epoch: 1,
        correction: [8; 32],
        signature: vec![9; 64],
    };
    let assemble = |rows| {
        let (commitments, public) = (commitments.clone(), BTreeMap::new());
        Token::assemble(
            &header,
            anchor,
            commitments,
            public,
            None,
            rows,
            catalogue(),
        )
        .unwrap()
    };
    let mut token = assemble(vec![somebody; shares.len()]);
    for (seat, holder) in seats {
        let epoch = element.current();
        let mut correction = pad(element, token.id(), *seat, epoch);
        let share = shares[*seat as usize].expose();
        correction.iter_mut().zip(share).for_each(|(c, s)| *c ^= s);
        token.rows[*seat as usize] = Row {
            holder: *holder,
            epoch,
            correction,
            signature: vec![0; 64],
        };
    }
    token
}

fn pad(element: &dyn Element, token: &Id, seat: u32, epoch: u64) -> [u8; 32] {
    let (mut y, mut pad) = ([0; 32], [0; 32]);
    let input = formula::contribution(token, seat);
    on_crucible(|| element.evaluate(epoch, &input, &mut y)).unwrap();
    formula::pad(&y, &mut pad);
    pad
}

/// Whether the share of `seat` can be regenerated from its row.
fn regenerates(element: &dyn Element, token: &Token, seat: u32) -> bool {
    let row = &token.rows[seat as usize];
    let mut share = pad(element, token.id(), seat, row.epoch);
    share
        .iter_mut()
        .zip(&row.correction)
        .for_each(|(s, c)| *s ^= c);
    formula::commitment(&token.body.deal, seat, &share) == token.body.commitments[seat as usize]
}

fn read(path: &Path) -> Token {
    let bytes = std::fs::read(path).unwrap();
    let bytes = match std::str::from_utf8(&bytes) {
        Ok(text) if text.contains("-----BEGIN") => armor::decode(text).unwrap(),
        _ => bytes,
    };
    Token::decode(&bytes, catalogue()).unwrap()
}

/// Every token file of an inventory that holds only such.
fn all(tokens: &Path) -> Vec<Token> {
    let entries = std::fs::read_dir(tokens)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let names = entries.filter(|path| path.extension().is_some_and(|end| end == "regen"));
    names.map(|path| read(&path)).collect()
}

#[test]
fn every_row_of_the_agent_is_rerooted_signed_and_gives_the_same_share() {
    let room = Room::new();
    room.fill(20);
    let element = room.element();
    let twice = token(&element, "2 of (a, b, c)", &[(0, room.me), (2, room.me)]);
    let (twice_at, text_at) = (
        room.tokens.join("more/twice.regen"),
        room.tokens.join("mailed.regen"),
    );
    std::fs::write(&twice_at, twice.encode()).unwrap();
    let mailed = token(&element, "1 of (a)", &[(0, room.me)]);
    let armour = armor::encode(&mailed.encode());
    std::fs::write(&text_at, format!("Dear all,\r\n{armour}bye\n")).unwrap();
    std::fs::set_permissions(&text_at, PermissionsExt::from_mode(0o640)).unwrap();
    let unnamed = token(&element, "1 of (a)", &[(0, room.me)]);
    std::fs::write(room.tokens.join("no-suffix"), unnamed.encode()).unwrap();
    let theirs = token(&element, "1 of (a)", &[(0, [3; 32])]);
    std::fs::write(room.tokens.join("theirs.regen"), theirs.encode()).unwrap();
    std::fs::write(room.tokens.join("notes.txt"), "about these keys\n").unwrap();
    let dead = token(&element, "1 of (a)", &[(0, room.me)]);
    std::fs::write(room.tokens.join("dead.regen"), dead.encode()).unwrap();
    let line = format!("{}\n", hex::encode(dead.id()));
    std::fs::write(room.place.path("tombstones"), line).unwrap();
    let before = room.read("000007.regen");

    let rolled = room.roll(None).unwrap();
    assert!(rolled.finished && rolled.problems.is_empty(), "{rolled:?}");
    assert_eq!(
        (rolled.epoch, &rolled.epochs[..], rolled.agent),
        (2, &[1, 2][..], room.me)
    );
    assert_eq!((rolled.tokens, rolled.rerooted, rolled.proven), (25, 24, 0));
    assert_eq!((rolled.elsewhere, rolled.retired, rolled.others), (1, 1, 1));

    let (element, identity) = (
        room.element(),
        FileIdentity::open(&room.place.path("identity.key")).unwrap(),
    );
    for path in [
        &twice_at,
        &text_at,
        &room.tokens.join("no-suffix"),
        &room.tokens.join("000007.regen"),
    ] {
        let token = read(path);
        for (row, seat) in token.rows.iter().zip(0..) {
            if row.holder != room.me {
                assert_eq!((row.epoch, row.correction), (1, [8; 32]), "other rows stay");
                continue;
            }
            assert!(
                row.epoch == 2 && regenerates(&element, &token, seat),
                "{}",
                path.display()
            );
            let statement = formula::row_statement(token.id(), seat, 2, &row.correction);
            assert!(verify_statement(
                identity.spki(),
                &statement,
                &row.signature
            ));
        }
    }
    let after = room.read("000007.regen");
    assert_eq!((after.id(), &after.body), (before.id(), &before.body));
    assert_ne!(after.rows[1].correction, before.rows[1].correction);
    let text = std::fs::read_to_string(&text_at).unwrap();
    assert!(
        text.starts_with("Dear all,\r\n-----BEGIN") && text.ends_with("-----\nbye\n"),
        "{text}"
    );
    assert_eq!(
        std::fs::metadata(&text_at).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(
        room.read("dead.regen").rows[0].epoch,
        1,
        "nobody opens it again"
    );
    assert_eq!(read(&room.tokens.join("theirs.regen")), theirs);
    assert!(!beside(&room.tokens), "what was replaced is removed");
}

/// Whether anything lies beside the token files.
fn beside(tokens: &Path) -> bool {
    let mut names = std::fs::read_dir(tokens)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names.any(|name| name.to_string_lossy().starts_with('.'))
}

#[test]
fn the_old_root_goes_only_when_told_and_is_then_gone() {
    let room = Room::new();
    room.fill(5);
    let copy = std::fs::read(room.tokens.join("000000.regen")).unwrap();
    room.roll(None).unwrap();
    for (epoch, why) in [(2, "current"), (9, "no root of epoch 9")] {
        let error = room.roll(Some(epoch)).err().unwrap().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(room.element().epochs(), [1, 2]);
    // A copy from before comes back: it is re-rooted first.
    std::fs::write(room.tokens.join("000000.regen"), &copy).unwrap();
    let rolled = room.roll(Some(1)).unwrap();
    assert_eq!(
        (rolled.destroyed, rolled.rerooted, rolled.proven),
        (Some(1), 1, 4)
    );
    assert_eq!((room.element().epochs(), rolled.epochs), (vec![2], vec![2]));
    let element = room.element();
    assert!(
        all(&room.tokens)
            .iter()
            .all(|token| regenerates(&element, token, 1))
    );
    // Now it is too late for a copy, and it is named.
    std::fs::write(room.tokens.join("copy.regen"), &copy).unwrap();
    let rolled = room.roll(None).unwrap();
    assert_eq!(rolled.problem_count, 1);
    assert!(
        rolled.problems[0].why.contains("no root of epoch 1"),
        "{rolled:?}"
    );
}

#[test]
fn no_root_is_destroyed_while_anything_in_the_inventory_stands_in_the_way() {
    let room = Room::new();
    room.fill(3);
    room.roll(None).unwrap();
    let broken = room.tokens.join("broken.regen");
    let mut altered = room.read("000001.regen");
    altered.rows[1].correction[0] ^= 1;
    for (content, why) in [
        (b"cut short".to_vec(), "token"),
        (altered.encode(), "altered"),
    ] {
        std::fs::write(&broken, &content).unwrap();
        let rolled = room.roll(Some(1)).unwrap();
        assert_eq!(
            (rolled.destroyed, rolled.problem_count),
            (None, 1),
            "{rolled:?}"
        );
        assert!(rolled.problems[0].why.contains(why), "{rolled:?}");
        assert_eq!(std::fs::read(&broken).unwrap(), content);
    }
    std::fs::remove_file(&broken).unwrap();
    std::os::unix::fs::symlink(room.tokens.join("000001.regen"), &broken).unwrap();
    assert_eq!(
        room.roll(Some(1)).unwrap().problem_count,
        1,
        "a link is no file of the inventory's"
    );
    std::fs::remove_file(&broken).unwrap();
    // A wrong folder is no reason to destroy anything.
    let nowhere = room.place.path("nowhere");
    let elsewhere = |destroy| room.roll_in(&nowhere, destroy, &mut |_, _| true);
    assert!(matches!(elsewhere(Some(1)), Err(AgentError::Roll(_))));
    std::fs::create_dir(&nowhere).unwrap();
    let error = elsewhere(Some(1)).err().unwrap().to_string();
    assert!(error.contains("whole inventory"), "{error}");
    assert_eq!(room.element().epochs(), [1, 2]);
}

#[test]
fn a_roll_that_was_stopped_goes_on_with_the_same_root() {
    let room = Room::new();
    room.fill(2500);
    let mut proven = 0;
    for steps in 1.. {
        let mut left = steps;
        let stopped = room.roll_while(None, &mut |_, _| {
            left -= 1;
            left > 0
        });
        let stopped = stopped.unwrap();
        assert_eq!(stopped.epoch, 2, "no other root is begun");
        proven += stopped.proven;
        let element = room.element();
        assert!(
            all(&room.tokens)
                .iter()
                .all(|token| regenerates(&element, token, 1))
        );
        // What the workers had begun when they were told to stop is finished.
        if stopped.finished {
            break;
        }
        assert!(steps < 10);
    }
    assert!(
        all(&room.tokens)
            .iter()
            .all(|token| token.rows[1].epoch == 2)
    );
    assert!(
        room.roll(None).unwrap().epoch == 3,
        "and then another may begin ({proven} were proven again)"
    );
}

/// As a crash leaves them: the journal with and without its root, a half-written file beside a token.
#[test]
fn what_a_crash_leaves_behind_is_gone_on_from() {
    for root_is_there in [false, true] {
        let room = Room::new();
        room.fill(2);
        std::fs::write(room.place.path("roll"), "evanesce roll v1 to 2\n").unwrap();
        if root_is_there {
            RootsFile::new(&room.place.path("roots"), None)
                .unwrap()
                .add(2)
                .unwrap();
        }
        let half = room.tokens.join(".000000.regen.rolling");
        std::fs::write(&half, b"half").unwrap();
        std::fs::write(room.place.path("roots.new"), b"half").unwrap();
        let rolled = room.roll(None).unwrap();
        assert_eq!(
            (rolled.epoch, rolled.rerooted, rolled.problem_count),
            (2, 2, 0)
        );
        assert_eq!(room.element().epochs(), [1, 2]);
        assert!(!half.exists() && !room.place.path("roll").exists());
    }
}

#[test]
fn no_roll_while_an_agent_runs_in_the_folder() {
    let room = Room::new();
    room.fill(1);
    std::fs::write(room.place.path("known.toml"), "").unwrap();
    let running = spawn(room.place.config()).unwrap();
    let refused = roll(&room.place.config(), &room.tokens, None, &mut |_, _| true);
    assert!(matches!(refused, Err(AgentError::InUse(_))));
    assert_eq!(room.element().epochs(), [1]);
    running.stop();
    room.roll(None).unwrap();
}

/// Not a test: the roll that the next one kills, as this program run again.
#[test]
#[ignore = "a roll's process, started by another test"]
fn roller_process() {
    let Ok(folder) = std::env::var("EVANESCE_TEST_FOLDER") else {
        return;
    };
    let folder = Path::new(&folder);
    let config = Config::load(&folder.join("agent.toml")).unwrap();
    roll(&config, &folder.join("inventory"), None, &mut |_, _| true).unwrap();
}

#[test]
fn a_roll_that_is_killed_at_any_moment_leaves_every_token_as_good_as_before() {
    let room = Room::new();
    room.fill(2500);
    let (mut killed, mut wait) = (0, Duration::from_millis(2));
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "roller_process", "--ignored", "--nocapture"])
            .env("EVANESCE_TEST_FOLDER", room.place.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(wait);
        wait = wait * 3 / 2;
        let ended = child.try_wait().unwrap();
        if ended.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
        }
        let element = room.element();
        let tokens = all(&room.tokens);
        assert_eq!(tokens.len(), 2500);
        assert!(tokens.iter().all(|token| regenerates(&element, token, 1)));
        if tokens.iter().all(|token| token.rows[1].epoch == 2) {
            break;
        }
        assert!(wait < Duration::from_secs(30));
    }
    assert!(killed > 2, "killed {killed} times");
    // Whichever of the two a killed roll has left beside a file, the file is the one in force.
    let aside = room.tokens.join(".000000.regen.rolling");
    std::fs::copy(room.tokens.join("000000.regen"), aside).unwrap();
    let rolled = room.roll(Some(1)).unwrap();
    assert_eq!(
        (rolled.epoch, rolled.destroyed, rolled.problem_count),
        (2, Some(1), 0),
        "{rolled:?}"
    );
    assert!(!beside(&room.tokens));
}

#[test]
fn a_sealed_file_of_roots_is_rolled_with_its_passphrase_asked_for_once() {
    let room = Room::new();
    std::fs::remove_file(room.place.path("roots")).unwrap();
    let passphrase = room.place.path("passphrase");
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    std::fs::set_permissions(&passphrase, PermissionsExt::from_mode(0o600)).unwrap();
    let source = SecretSource::File(passphrase);
    let element = SoftwareElement::create(&room.place.path("roots"), Some(&source)).unwrap();
    let path = room.tokens.join("a.regen");
    std::fs::write(&path, token(&element, "1 of (a)", &[(0, room.me)]).encode()).unwrap();
    // A pipe gives its passphrase once, and nothing after.
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, b"correct horse\n").unwrap();
    drop(writer);
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&reader);
    room.place
        .configure(&format!("---passphrase = {{ descriptor = {descriptor} }}"));
    let rolled = room.roll(None).unwrap();
    assert_eq!((rolled.rerooted, &rolled.epochs[..]), (1, &[1, 2][..]));
    let element = SoftwareElement::open(&room.place.path("roots"), Some(&source)).unwrap();
    assert!(regenerates(&element, &read(&path), 0));
}

/// SoftHSM, as `setup` uses it; this file's own process, so its own token folder.
#[test]
fn roots_in_a_token_are_rolled_and_destroyed_there() {
    let module = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ]
    .into_iter()
    .find(|place| Path::new(place).exists())
    .expect("SoftHSM is not installed; run: apt-get install softhsm2");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("roll");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("tokens")).unwrap();
    std::fs::create_dir_all(dir.join("inventory")).unwrap();
    let conf = dir.join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nlog.level = ERROR\n",
        dir.join("tokens").display()
    );
    std::fs::write(&conf, text).unwrap();
    // SAFETY: the module reads its environment when it is started, which only this test does, after this.
    unsafe { std::env::set_var("SOFTHSM2_CONF", &conf) };
    let done = Command::new("softhsm2-util")
        .args([
            "--init-token",
            "--free",
            "--label",
            "roll",
            "--so-pin",
            "security-officer",
            "--pin",
            "correct-horse",
        ])
        .output()
        .expect("softhsm2-util does not run; run: apt-get install softhsm2");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    std::fs::write(dir.join("pin"), "correct-horse\n").unwrap();
    std::fs::set_permissions(dir.join("pin"), PermissionsExt::from_mode(0o600)).unwrap();
    let text = format!(
        "name = \"agent\"\nlisten = \"127.0.0.1:0\"\nidentity = {{ element = \"agent\" }}\n[element]\nkind = \"pkcs11\"\n\
         module = \"{module}\"\ntoken = \"roll\"\npin = {{ file = \"pin\" }}\n"
    );
    let config = Config::parse(&text, &dir).unwrap();
    let made = evanesce_agent::create(&config).unwrap();
    let inside = evanesce_element::pkcs11::Config {
        module: module.into(),
        token_label: Some("roll".into()),
        slot: None,
        pin: Some(SecretSource::File(dir.join("pin"))),
        root_label: "evanesce-root".into(),
        accept_weak_element: false,
        init_args: None,
        sessions: 0,
    };
    let element = Pkcs11Element::open(&inside).unwrap();
    let inventory = dir.join("inventory");
    for number in 0..50 {
        let token = token(&element, "2 of (a, b, c)", &[(1, made.agent_id)]);
        std::fs::write(inventory.join(format!("{number}.regen")), token.encode()).unwrap();
    }
    drop(element);
    let rolled = roll(&config, &inventory, None, &mut |_, _| true).unwrap();
    assert_eq!(
        (rolled.rerooted, &rolled.epochs[..], rolled.problem_count),
        (50, &[1, 2][..], 0)
    );
    let rolled = roll(&config, &inventory, Some(1), &mut |_, _| true).unwrap();
    assert_eq!(
        (rolled.destroyed, &rolled.epochs[..], rolled.proven),
        (Some(1), &[2][..], 50)
    );
    let element = Pkcs11Element::open(&inside).unwrap();
    assert_eq!(element.epochs(), [2]);
    assert!(
        all(&inventory)
            .iter()
            .all(|token| regenerates(&element, token, 1))
    );
}

/// `EVANESCE_ROLL_TOKENS` says how many, if not 100,000.
#[test]
#[ignore = "100,000 files: run it by name, on a machine that does nothing else"]
fn how_long_a_hundred_thousand_tokens_take() {
    let count = std::env::var("EVANESCE_ROLL_TOKENS");
    let count: usize = count.map_or(100_000, |count| count.parse().unwrap());
    let room = Room::new();
    room.fill(count);
    let once = |destroy: Option<u64>| {
        let begun = Instant::now();
        let rolled = room.roll(destroy).unwrap();
        let (
            took,
            Rolled {
                rerooted, proven, ..
            },
        ) = (begun.elapsed(), rolled.clone());
        println!("{rerooted} re-rooted, {proven} proven in {took:.1?}");
        assert_eq!(rolled.problem_count, 0);
        took
    };
    let took = once(None);
    once(Some(1));
    assert!(took < Duration::from_secs(60).mul_f64(count as f64 / 100_000.0));
}
