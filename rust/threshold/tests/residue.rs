//! What the crate's promise about memory is worth: a process with the crucible's allocator makes a key, masks its shares, regenerates them,
//! signs, repairs, refreshes and reshares; then all of its memory but the locked one is searched for the secrets that went through.
//!
//! Found is whatever holds 8 bytes in a row of one of them, as they are or reversed (as curve libraries keep numbers). The search must find
//! what is planted.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;

use common::{Outside, agents, delivered, heard};
use evanesce_secret::{CrucibleAlloc, on_crucible};
use evanesce_threshold::dkg::{self, Made, Parcels, Plan};
use evanesce_threshold::repair::{Repair, prove};
use evanesce_threshold::sign::{Prepared, Signing};
use evanesce_threshold::{Ed25519, Error, Regen, Taproot};
use evanesce_token::Gate;
use evanesce_token::hash::hmac_sha256;
use evanesce_token::mpc::{Body, Header, Kind};

#[global_allocator]
static ALLOCATOR: CrucibleAlloc = CrucibleAlloc;

/// Secrets to look for, none of which is itself in this memory: every byte is another.
#[derive(Default)]
struct Sought(Vec<[u8; 32]>);

const MASK: u8 = 0xa5;

impl Sought {
    fn add(&mut self, secret: &[u8; 32]) {
        self.0.push([0; 32]);
        let masked = self.0.last_mut().unwrap();
        on_crucible(|| {
            for (masked, byte) in masked.iter_mut().zip(secret) {
                *masked = byte ^ MASK;
            }
        });
    }

    /// Where any 8 bytes of any of them are, in memory that is not locked.
    fn find(&self) -> Vec<String> {
        const WINDOW: usize = 8;
        let mut windows = Vec::new();
        for masked in &self.0 {
            let mut reversed = *masked;
            reversed.reverse();
            for at in [0, 8, 16, 24] {
                for whole in [masked, &reversed] {
                    let window: [u8; WINDOW] = whole[at..at + WINDOW].try_into().unwrap();
                    windows.push(u64::from_ne_bytes(window));
                }
            }
        }
        windows.sort_unstable();
        // most places are told by their first two bytes
        let mut first = vec![false; 1 << 16];
        for window in &windows {
            let [a, b, ..] = window.to_ne_bytes();
            first[usize::from(u16::from_ne_bytes([a ^ MASK, b ^ MASK]))] = true;
        }
        let mask = u64::from_ne_bytes([MASK; WINDOW]);
        let memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0; 1 << 16];
        let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + (1 << 16);
        let mut found = Vec::new();
        for (low, high, name) in readable_and_not_locked() {
            let mut at = low;
            while at + (WINDOW as u64) <= high {
                let length = buffer.len().min((high - at) as usize);
                // what is locked by other means than mlock cannot be read at all
                let Ok(read) = memory.read_at(&mut buffer[..length], at) else {
                    break;
                };
                for (i, window) in buffer[..read].windows(WINDOW).enumerate() {
                    if !first[usize::from(u16::from_ne_bytes([window[0], window[1]]))] {
                        continue;
                    }
                    let masked = u64::from_ne_bytes(window.try_into().unwrap()) ^ mask;
                    let address = at + i as u64;
                    if windows.binary_search(&masked).is_ok() && !own.contains(&address) {
                        found.push(format!("{address:#x} in {name}"));
                    }
                }
                // the last bytes again, so that nothing hides between two reads
                at += (read.saturating_sub(WINDOW - 1)).max(1) as u64;
                if read < WINDOW {
                    break;
                }
            }
        }
        buffer.fill(0);
        found
    }
}

/// Mappings, and what they are called.
fn readable_and_not_locked() -> Vec<(u64, u64, String)> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut mappings: Vec<(u64, u64, String)> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or("");
        let range = first.split_once('-').and_then(|(low, high)| {
            Some((
                u64::from_str_radix(low, 16).ok()?,
                u64::from_str_radix(high, 16).ok()?,
            ))
        });
        if let Some((low, high)) = range {
            if words.next().is_some_and(|rights| rights.starts_with("rw")) {
                let name = words.last().unwrap_or("").to_owned();
                mappings.push((low, high, name));
            } else {
                mappings.push((low, low, String::new()));
            }
        } else if first == "VmFlags:" && words.any(|flag| flag == "lo") {
            mappings.pop();
        }
    }
    mappings
}

fn remember(sought: &mut Sought, parcels: &Parcels) {
    for (_, secret) in parcels {
        sought.add(secret.expose());
    }
}

/// An agent's element, on the crucible.
fn element(
    root: &[u8; 32],
) -> impl FnOnce(&[u8; 32], &mut [u8; 32]) -> Result<(), Error> + use<'_> {
    |message, y| {
        on_crucible(|| hmac_sha256(root, message, y));
        Ok(())
    }
}

fn everything_is_done<S: Outside>(sought: &mut Sought) {
    let header = Header {
        kind: Kind::Regenerated,
        key: [1; 32],
        nonce: [2; 32],
        name: "treasury".into(),
        suite: S::NAME.into(),
        quorum: Gate::parse("2 of (a, b, c)").unwrap(),
        policy: String::new(),
        created: 1_780_000_000,
        expires: None,
        replaces: None,
    };
    let roots = agents(3);

    // a key is made
    let (agreed, sent) = common::agreed(heard::<S>(2, 3));
    sent.iter().for_each(|parcels| remember(sought, parcels));
    let made: Vec<Made<S>> = agreed
        .into_iter()
        .zip(sent)
        .map(|(agreed, shares)| agreed.finish(shares).unwrap())
        .collect();
    made.iter().for_each(|made| sought.add(made.share.expose()));

    // masked, forgotten, regenerated
    let vector = made[0].group.vector().to_vec();
    let body = Body::new(header.encode(), vector, made[0].transcript).unwrap();
    let regen = Regen::<S>::new(&body).unwrap();
    let corrections: Vec<_> = made
        .iter()
        .zip(&roots)
        .map(|(made, root)| regen.correct(&made.share, element(root)).unwrap())
        .collect();
    drop(made);
    let shares: Vec<_> = (0..3u8)
        .map(|seat| {
            let (correction, root) = (&corrections[usize::from(seat)], &roots[usize::from(seat)]);
            regen.regenerate(seat, correction, element(root)).unwrap()
        })
        .collect();
    let group = regen.group();

    // used
    for _ in 0..4 {
        common::sign_together(group, &[&shares[0], &shares[2]]);
    }
    // beforehand, too, and where nothing comes of it
    let draw = |seat: usize| Prepared::where_no_snapshot_is_restored(&shares[seat]).unwrap();
    for _ in 0..4 {
        let ((one, first), (two, second)) = (draw(0), draw(2));
        let signing = Signing::new(group, b"m", &[(0, first), (2, second)]).unwrap();
        for (nonces, seat) in [(one, 0), (two, 2)] {
            let nonces = nonces.decided(&[3; 32], b"m");
            nonces.sign(&signing, &shares[seat], &[3; 32]).unwrap();
        }
        drop(draw(0));
    }

    // repaired
    let repair = Repair::new(group, &[0, 1], 2).unwrap();
    let (mut sent, mut points) = (Vec::new(), Vec::new());
    for seat in [0, 1] {
        let share = &shares[usize::from(seat)];
        prove(group, share, &[7; 32]).unwrap();
        let (summands, of) = repair.split(share).unwrap();
        sent.push((seat, summands));
        points.push(of);
    }
    sent.iter()
        .for_each(|(_, parcels)| remember(sought, parcels));
    let summands = delivered(sent, 2);
    let mut sums = Parcels::new();
    for (seat, summands) in (0..).zip(summands) {
        sums.push((seat, repair.gather(seat, &points, summands).unwrap()));
    }
    remember(sought, &sums);
    drop(repair.receive(&points, sums).unwrap());

    // refreshed
    let plan = |seat| Plan::of(&header, &roots, seat).unwrap();
    let (announced, announcements): (Vec<_>, Vec<_>) = (0..3)
        .map(|seat| dkg::refresh(plan(seat), group).unwrap())
        .unzip();
    let heard = announced
        .into_iter()
        .map(|a| a.hear(&announcements).unwrap());
    let (agreed, sent) = common::agreed(heard.collect());
    sent.iter().for_each(|parcels| remember(sought, parcels));
    for ((agreed, received), share) in agreed.into_iter().zip(sent).zip(&shares) {
        let new = agreed.finish_refresh(received, share).unwrap();
        sought.add(new.share.expose());
    }

    // given to another quorum, in which one is new
    let mut wider = header.clone();
    wider.quorum = Gate::parse("3 of (b, d, a, e)").unwrap();
    let givers = [(0, 1), (2, 0)];
    let all = agents(5);
    let members = [all[1], all[3], all[0], all[4]];
    let plan = |seat| Plan::of(&wider, &members, seat).unwrap();
    let (announced, announcements): (Vec<_>, Vec<_>) = (0..4)
        .map(|seat| dkg::reshare(plan(seat), group, &givers).unwrap())
        .unzip();
    let heard = announced
        .into_iter()
        .map(|a| a.hear(&announcements).unwrap());
    let (agreed, sent) = common::agreed_giving(heard.collect(), |old| &shares[usize::from(old)]);
    sent.iter().for_each(|parcels| remember(sought, parcels));
    for (agreed, received) in agreed.into_iter().zip(sent) {
        let new = agreed.finish_reshare(received).unwrap();
        sought.add(new.share.expose());
    }

    // and so is what goes wrong
    let mut other = corrections[1];
    other[8] ^= 1;
    assert!(regen.regenerate(1, &other, element(&roots[1])).is_err());
}

#[test]
fn no_share_is_left_outside_locked_memory() {
    let mut sought = Sought::default();
    for _ in 0..3 {
        everything_is_done::<Ed25519>(&mut sought);
        everything_is_done::<Taproot>(&mut sought);
    }
    assert!(sought.0.len() > 100);
    assert_eq!(sought.find(), Vec::<String>::new());

    // what is put there is found: 8 bytes of the first secret, and of the last, reversed
    let plant = |secret: &[u8; 32], reversed: bool| {
        let mut planted: Vec<u8> = secret[8..16].iter().map(|byte| byte ^ MASK).collect();
        if reversed {
            planted.reverse();
        }
        planted
    };
    let planted = [
        plant(&sought.0[0], false),
        plant(sought.0.last().unwrap(), true),
    ];
    assert_eq!(sought.find().len(), planted.len());
}
