//! End-to-end sealing between a reconstructor and an agent (PROTOCOL §6, Transport).
//!
//! Once per session and agent, the reconstructor's identity signs a fresh X25519 key; the agent answers
//! with an RFC 9180 encapsulation to it, signed by its own identity. Both export one AES-256-GCM key for
//! each direction. Requests and shares are sealed under these, so that no proxy, TLS buffer or HTTP layer
//! ever holds a share in the clear. Key schedules are made on crucible threads and stay in locked memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use evanesce_secret::{Secret, on_crucible};
use evanesce_token::hash::th;
use hpke::aead::ExportOnlyAead;
use hpke::kdf::HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender};

use crate::kem::Dhkem;
use crate::limits::{REPLAY_WINDOW, SESSION_LIFE};
use crate::{Id, Identity, WireError, verify_statement};

/// Length of the tag that sealing adds, in bytes.
pub const TAG: usize = 16;
/// Length of a sealed 32-byte share.
pub const SEALED_SHARE: usize = 32 + TAG;

const INFO: &[u8] = b"evanesce/v1/session";
const TO_AGENT: &[u8] = b"to agent";
const TO_RECONSTRUCTOR: &[u8] = b"to reconstructor";

type PrivateKey = <Dhkem as Kem>::PrivateKey;
type PublicKey = <Dhkem as Kem>::PublicKey;
type EncappedKey = <Dhkem as Kem>::EncappedKey;

/// What a reconstructor sends to open a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The session's X25519 public key.
    pub session_key: [u8; 32],
    /// The reconstructor's id as a caller.
    pub caller: Id,
    /// The agent it is meant for.
    pub agent: Id,
    /// Unix seconds.
    pub not_after: u64,
    /// The reconstructor's identity over [`Offer::statement`].
    pub signature: Vec<u8>,
}

impl Offer {
    /// `S = TH("session", session public key, own id, agent id, u64(not after))`, which also names the session.
    pub fn statement(&self) -> [u8; 32] {
        th(
            "session",
            &[
                &self.session_key,
                &self.caller,
                &self.agent,
                &self.not_after.to_be_bytes(),
            ],
        )
    }
}

/// What an agent answers to an [`Offer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// RFC 9180 encapsulated key.
    pub enc: [u8; 32],
    /// The agent's identity over `TH("session-answer", S, enc)`.
    pub signature: Vec<u8>,
}

/// A session offered and not yet answered.
pub struct PendingSession {
    statement: [u8; 32],
    not_after: u64,
    private: Secret<32>,
}

impl PendingSession {
    /// Draws a session key and signs it for `agent`. `now` is in Unix seconds.
    pub fn offer(identity: &dyn Identity, agent: Id, now: u64) -> Result<(Self, Offer), WireError> {
        let mut session_key = [0u8; 32];
        let private = on_crucible(|| -> Result<Secret<32>, WireError> {
            let mut seed = [0u8; 32];
            evanesce_secret::random(&mut seed);
            let (private, public) = Dhkem::derive_keypair(&seed);
            session_key.copy_from_slice(&public.to_bytes());
            Ok(Secret::filled(|out| private.write_exact(out))?)
        })?;
        let not_after = now + SESSION_LIFE.as_secs();
        let mut offer = Offer {
            session_key,
            caller: identity.caller_id(),
            agent,
            not_after,
            signature: Vec::new(),
        };
        let statement = offer.statement();
        offer.signature = identity.sign(&statement)?;
        Ok((
            Self {
                statement,
                not_after,
                private,
            },
            offer,
        ))
    }

    /// Takes the agent's answer, judged by the key that TLS has proven to be the agent's.
    pub fn accept(self, answer: &Answer, agent_spki: &[u8]) -> Result<SealingSession, WireError> {
        if !verify_statement(
            agent_spki,
            &answer_statement(&self.statement, &answer.enc),
            &answer.signature,
        ) {
            return Err(WireError::WrongPeer(
                "the agent's session answer is not signed by its identity".into(),
            ));
        }
        on_crucible(|| {
            let private =
                PrivateKey::from_bytes(self.private.expose()).map_err(|_| WireError::Unsealable)?;
            let enc = EncappedKey::from_bytes(&answer.enc)
                .map_err(|_| WireError::Malformed("session answer: enc is no X25519 key".into()))?;
            let context = setup_receiver::<ExportOnlyAead, HkdfSha256, Dhkem>(
                &OpModeR::Base,
                &private,
                &enc,
                &info(&self.statement),
            )
            .map_err(|_| WireError::Malformed("session answer: enc is no X25519 key".into()))?;
            let export = |label: &[u8], out: &mut [u8]| {
                context
                    .export(label, out)
                    .map_err(|_| WireError::Unsealable)
            };
            SealingSession::new(
                self.statement,
                self.not_after,
                export,
                TO_AGENT,
                TO_RECONSTRUCTOR,
            )
        })
    }
}

/// Answers an offer as the agent `identity`. The caller's key must be the one that TLS has proven.
///
/// # Errors
/// `WrongPeer` when the offer names another agent or caller, or is not signed by the caller; `SessionEnded`
/// when it has expired or asks for more than an hour.
pub fn answer(
    offer: &Offer,
    caller_spki: &[u8],
    identity: &dyn Identity,
    now: u64,
) -> Result<(Answer, SealingSession), WireError> {
    let wrong = |why: &str| Err(WireError::WrongPeer(why.into()));
    if offer.agent != identity.agent_id() {
        return wrong("the session offer names another agent");
    }
    if offer.caller != evanesce_token::formula::caller_id(caller_spki) {
        return wrong("the session offer names another caller than the connection's");
    }
    let statement = offer.statement();
    if !verify_statement(caller_spki, &statement, &offer.signature) {
        return wrong("the session offer is not signed by the caller");
    }
    // A minute's grace for a caller whose clock runs ahead.
    if offer.not_after <= now || offer.not_after > now + SESSION_LIFE.as_secs() + 60 {
        return Err(WireError::SessionEnded);
    }
    let (enc, session) = on_crucible(|| -> Result<_, WireError> {
        let malformed =
            || WireError::Malformed("session offer: the session key is no X25519 key".into());
        let public = PublicKey::from_bytes(&offer.session_key).map_err(|_| malformed())?;
        let (enc, context) = setup_sender::<ExportOnlyAead, HkdfSha256, Dhkem>(
            &OpModeS::Base,
            &public,
            &info(&statement),
        )
        .map_err(|_| malformed())?;
        let export = |label: &[u8], out: &mut [u8]| {
            context
                .export(label, out)
                .map_err(|_| WireError::Unsealable)
        };
        let session = SealingSession::new(
            statement,
            offer.not_after,
            export,
            TO_RECONSTRUCTOR,
            TO_AGENT,
        )?;
        let mut bytes = [0u8; 32];
        bytes.copy_from_slice(&enc.to_bytes());
        Ok((bytes, session))
    })?;
    let signature = identity.sign(&answer_statement(&statement, &enc))?;
    Ok((Answer { enc, signature }, session))
}

fn info(statement: &[u8; 32]) -> Vec<u8> {
    [INFO, statement].concat()
}

fn answer_statement(statement: &[u8; 32], enc: &[u8; 32]) -> [u8; 32] {
    th("session-answer", &[statement, enc])
}

/// One side of an established session: seals in its own direction, opens the other's.
pub struct SealingSession {
    /// `S`, by which requests name the session.
    pub id: Id,
    /// Unix seconds after which the session may not be used.
    pub not_after: u64,
    outgoing: Box<LessSafeKey>,
    incoming: Box<LessSafeKey>,
    next: AtomicU64,
    seen: Mutex<ReplayWindow>,
}

impl SealingSession {
    fn new(
        id: Id,
        not_after: u64,
        export: impl Fn(&[u8], &mut [u8]) -> Result<(), WireError>,
        outgoing: &[u8],
        incoming: &[u8],
    ) -> Result<Self, WireError> {
        let key = |label: &[u8]| -> Result<Box<LessSafeKey>, WireError> {
            let mut bytes = [0u8; 32];
            export(label, &mut bytes)?;
            let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| WireError::Unsealable)?;
            Ok(Box::new(LessSafeKey::new(key)))
        };
        Ok(Self {
            id,
            not_after,
            outgoing: key(outgoing)?,
            incoming: key(incoming)?,
            next: AtomicU64::new(0),
            seen: Mutex::new(ReplayWindow::default()),
        })
    }

    /// Seals `data` in place under a counter of its own; returns the counter and the tag.
    pub fn seal(&self, aad: &[u8; 32], data: &mut [u8]) -> Result<(u64, [u8; TAG]), WireError> {
        // 2^53 is what CBOR here can carry; a session ends long before.
        let counter = self.next.fetch_add(1, Ordering::Relaxed);
        if counter >= 1 << 53 {
            return Err(WireError::SessionEnded);
        }
        let tag = self
            .outgoing
            .seal_in_place_separate_tag(nonce(counter), Aad::from(aad), data)
            .map_err(|_| WireError::Unsealable)?;
        let mut out = [0u8; TAG];
        out.copy_from_slice(tag.as_ref());
        Ok((counter, out))
    }

    /// Seals a public message: ciphertext and tag in one vector.
    pub fn seal_message(
        &self,
        aad: &[u8; 32],
        mut message: Vec<u8>,
    ) -> Result<(u64, Vec<u8>), WireError> {
        let (counter, tag) = self.seal(aad, &mut message)?;
        message.extend_from_slice(&tag);
        Ok((counter, message))
    }

    /// Opens `sealed` (ciphertext and tag) in place; the plaintext is all but its last 16 bytes.
    ///
    /// # Errors
    /// `Unsealable` when it was not sealed by the peer under this counter and aad, or when the counter was
    /// used before or lies too far back. A failed opening does not use up the counter.
    pub fn open<'a>(
        &self,
        counter: u64,
        aad: &[u8; 32],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], WireError> {
        let window = || {
            self.seen
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        if !window().fresh(counter) {
            return Err(WireError::Unsealable);
        }
        let plain = self
            .incoming
            .open_in_place(nonce(counter), Aad::from(aad), sealed)
            .map_err(|_| WireError::Unsealable)?;
        if !window().take(counter) {
            plain.fill(0);
            return Err(WireError::Unsealable);
        }
        Ok(plain)
    }
}

/// `u32(0) ‖ u64(counter)`.
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0u8; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Which of the last [`REPLAY_WINDOW`] counters have been used (as in RFC 4303 §3.4.3).
struct ReplayWindow {
    /// One above the highest counter taken.
    top: u64,
    used: [u64; (REPLAY_WINDOW / 64) as usize],
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self {
            top: 0,
            used: [0; (REPLAY_WINDOW / 64) as usize],
        }
    }
}

impl ReplayWindow {
    fn slot(counter: u64) -> (usize, u64) {
        (
            ((counter % REPLAY_WINDOW) / 64) as usize,
            1 << (counter % 64),
        )
    }

    fn fresh(&self, counter: u64) -> bool {
        if counter >= self.top {
            return true;
        }
        let (word, bit) = Self::slot(counter);
        self.top - counter <= REPLAY_WINDOW && self.used[word] & bit == 0
    }

    fn take(&mut self, counter: u64) -> bool {
        if !self.fresh(counter) {
            return false;
        }
        if counter >= self.top {
            if counter - self.top >= REPLAY_WINDOW {
                self.used = [0; (REPLAY_WINDOW / 64) as usize];
            } else {
                for skipped in self.top..counter {
                    let (word, bit) = Self::slot(skipped);
                    self.used[word] &= !bit;
                }
            }
            self.top = counter + 1;
        }
        let (word, bit) = Self::slot(counter);
        self.used[word] |= bit;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileIdentity;

    fn pair() -> (SealingSession, SealingSession) {
        let dir = tempfile::tempdir().unwrap();
        let caller = FileIdentity::create(&dir.path().join("caller.key")).unwrap();
        let agent = FileIdentity::create(&dir.path().join("agent.key")).unwrap();
        let (pending, offer) = PendingSession::offer(&caller, agent.agent_id(), 1000).unwrap();
        let (reply, agent_side) = answer(&offer, caller.spki(), &agent, 1000).unwrap();
        (pending.accept(&reply, agent.spki()).unwrap(), agent_side)
    }

    #[test]
    fn what_one_side_seals_the_other_opens_once() {
        let (reconstructor, agent) = pair();
        assert_eq!(reconstructor.id, agent.id);
        let (counter, mut sealed) = agent.seal_message(&[7; 32], b"a share".to_vec()).unwrap();
        assert_eq!(
            reconstructor
                .open(counter, &[7; 32], &mut sealed.clone())
                .unwrap(),
            b"a share"
        );
        assert!(
            reconstructor.open(counter, &[7; 32], &mut sealed).is_err(),
            "a replay opened"
        );
    }

    #[test]
    fn another_aad_counter_direction_or_bit_does_not_open() {
        let (reconstructor, agent) = pair();
        let (counter, sealed) = agent.seal_message(&[7; 32], b"a share".to_vec()).unwrap();
        assert!(
            reconstructor
                .open(counter, &[8; 32], &mut sealed.clone())
                .is_err()
        );
        assert!(
            reconstructor
                .open(counter + 1, &[7; 32], &mut sealed.clone())
                .is_err()
        );
        assert!(agent.open(counter, &[7; 32], &mut sealed.clone()).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(reconstructor.open(counter, &[7; 32], &mut flipped).is_err());
        }
        assert!(
            reconstructor
                .open(counter, &[7; 32], &mut sealed.clone())
                .is_ok(),
            "failed tries used the counter up"
        );
    }

    #[test]
    fn an_offer_for_someone_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let caller = FileIdentity::create(&dir.path().join("a")).unwrap();
        let other = FileIdentity::create(&dir.path().join("b")).unwrap();
        let agent = FileIdentity::create(&dir.path().join("c")).unwrap();
        let (_, offer) = PendingSession::offer(&caller, other.agent_id(), 1000).unwrap();
        assert!(answer(&offer, caller.spki(), &agent, 1000).is_err());
        let (_, offer) = PendingSession::offer(&caller, agent.agent_id(), 1000).unwrap();
        assert!(answer(&offer, other.spki(), &agent, 1000).is_err());
        assert!(
            answer(&offer, caller.spki(), &agent, 1000 + 3600).is_err(),
            "an old offer was taken"
        );
        let mut longer = offer.clone();
        longer.not_after += 1;
        assert!(
            answer(&longer, caller.spki(), &agent, 1000).is_err(),
            "a changed offer was taken"
        );
    }

    proptest::proptest! {
        #[test]
        fn the_replay_window_takes_each_counter_at_most_once(counters in proptest::collection::vec(0u64..3 * REPLAY_WINDOW, 1..400)) {
            let mut window = ReplayWindow::default();
            let mut taken = std::collections::HashSet::new();
            let mut highest = 0;
            for counter in counters {
                let expected = !taken.contains(&counter) && counter + REPLAY_WINDOW > highest;
                let took = window.take(counter);
                proptest::prop_assert!(!took || taken.insert(counter), "counter {} taken twice", counter);
                if expected { proptest::prop_assert!(took, "counter {} refused", counter); }
                highest = highest.max(counter);
            }
        }
    }
}
