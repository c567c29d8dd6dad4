//! How the agent stands with its peers: from whom it has heard since it started, and what follows from that.
//!
//! Pure: what was heard goes in, with the time; why the agent must not answer comes out.
//!
//! Of clocks the median of the peers' counts, so that fewer than half of them can stop nobody.

use std::fmt::Write;

use evanesce_wire::Id;

use super::Peers;

/// Most peers named in a reason.
const NAMED: usize = 8;
/// By how much the agent's clock may differ from the median of its peers', in ms.
const CLOCK: i64 = 30_000;
/// What a peer's clock said counts for so long, in ms: a day, in which a clock that nobody sets drifts by less than 10 s. An agent
/// that is cut off from its peers still notices when its own is turned.
const SAMPLE: u64 = 86_400_000;

/// What is known of one peer, in this life of the agent.
struct Heard {
    id: Id,
    name: String,
    /// What it has seen of this agent is what this agent has.
    agrees: bool,
    /// An exchange with it came to its end: the agent has every order that it has.
    whole: bool,
    /// What came of the last one, where nothing did.
    trouble: String,
    /// What its clock said (Unix milliseconds), and when that was, in ms since this agent started.
    clock: Option<(u64, u64)>,
}

/// What is known of all of them.
pub struct Standing {
    needed: usize,
    peers: Vec<Heard>,
    /// What the agent no longer has, though it said before that it did.
    lost: Option<String>,
}

/// What has changed, for whoever tells the operator.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that concerns anyone.
    None,
    /// From now on enough peers were heard.
    Enough,
    /// From now on the agent answers nothing: see [`Standing::lost`].
    Lost,
}

impl Standing {
    /// Nobody was heard yet.
    pub fn new(peers: &Peers) -> Self {
        let heard = peers.all.iter().map(|peer| Heard {
            id: peer.id,
            name: peer.name.clone(),
            agrees: false,
            whole: false,
            trouble: "not asked yet".into(),
            clock: None,
        });
        Self {
            needed: peers.needed,
            peers: heard.collect(),
            lost: None,
        }
    }

    fn find(&mut self, peer: &Id) -> Option<&mut Heard> {
        self.peers.iter_mut().find(|heard| heard.id == *peer)
    }

    /// Nothing came of an exchange with `peer`.
    pub fn failed(&mut self, peer: &Id, why: String) {
        if let Some(heard) = self.find(peer) {
            heard.trouble = why;
        }
    }

    /// What `peer` has seen of this agent is what it has; gives whether so many say so that the agent may write to its log
    /// what it learns from them. Written on a log that was restored from an old copy, it would make a fork.
    pub fn agrees(&mut self, peer: &Id) -> bool {
        if let Some(heard) = self.find(peer) {
            heard.agrees = true;
            heard.trouble.clear();
        }
        self.lost.is_none() && self.count() >= self.needed
    }

    /// An exchange with `peer` came to its end, and nothing in it speaks against this agent.
    pub fn heard(&mut self, peer: &Id) -> Change {
        let before = self.enough();
        if let Some(heard) = self.find(peer) {
            (heard.agrees, heard.whole) = (true, true);
            heard.trouble.clear();
        }
        match self.enough() && !before {
            true => Change::Enough,
            false => Change::None,
        }
    }

    /// The clock of `peer` said `clock` (Unix milliseconds) at `at` (ms since this agent started).
    pub fn tells(&mut self, peer: &Id, clock: u64, at: u64) {
        if let Some(heard) = self.find(peer) {
            heard.clock = Some((clock, at));
        }
    }

    /// By how much the median of the peers' clocks is ahead of `clock` (Unix milliseconds, the agent's own) at `at` (ms since
    /// it started). `None` while fewer of them were heard of late than are needed. Of an even number the one of the two
    /// in the middle that is nearer: half of them can stop nobody.
    pub fn ahead(&self, clock: u64, at: u64) -> Option<i64> {
        let recent = self.peers.iter().filter_map(|heard| heard.clock);
        let recent = recent.filter(|(_, then)| at.saturating_sub(*then) <= SAMPLE);
        let now = recent.map(|(said, then)| said.saturating_add(at.saturating_sub(then)));
        let mut ahead: Vec<i64> = now
            .map(|theirs| (i128::from(theirs) - i128::from(clock)) as i64)
            .collect();
        if ahead.is_empty() || ahead.len() < self.needed {
            return None;
        }
        ahead.sort_unstable();
        let (low, high) = (ahead[(ahead.len() - 1) / 2], ahead[ahead.len() / 2]);
        Some(match low.unsigned_abs() < high.unsigned_abs() {
            true => low,
            false => high,
        })
    }

    /// Why the agent must decide nothing for which its clock matters, if so; arguments as of [`ahead`](Self::ahead).
    pub fn wrong_clock(&self, clock: u64, at: u64) -> Option<String> {
        let ahead = self.ahead(clock, at).filter(|ahead| ahead.abs() > CLOCK)?;
        let which = if ahead > 0 { "behind" } else { "ahead of" };
        Some(format!(
            "this agent's clock is {}.{} s {which} the median of its peers' clocks, {} s at most: its operator sets it \
             right",
            ahead.unsigned_abs() / 1000,
            ahead.unsigned_abs() % 1000 / 100,
            CLOCK / 1000
        ))
    }

    /// A peer has shown what this agent once had and has no longer.
    pub fn lose(&mut self, what: String) -> Change {
        match self.lost.replace(what) {
            None => Change::Lost,
            Some(_) => Change::None,
        }
    }

    /// What was lost, if anything.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Peers heard in this life.
    pub fn count(&self) -> usize {
        self.peers.iter().filter(|heard| heard.agrees).count()
    }

    fn enough(&self) -> bool {
        self.peers.iter().filter(|heard| heard.whole).count() >= self.needed
    }

    /// Why the agent must not answer for what could have been decided without it, if so.
    pub fn refusal(&self) -> Option<String> {
        if let Some(lost) = &self.lost {
            return Some(lost.clone());
        }
        if self.enough() {
            return None;
        }
        if self.count() >= self.needed {
            return Some(
                "this agent has started, and is being told by its peers what was ordered".into(),
            );
        }
        let mut why = format!(
            "this agent has not heard from enough of its peers since it started: {} of {} needed; missing",
            self.count(),
            self.needed
        );
        let missing = self.peers.iter().filter(|heard| !heard.agrees);
        for (n, heard) in missing.enumerate().take(NAMED) {
            let comma = if n == 0 { "" } else { "," };
            // Writing to a String cannot fail.
            let _ = write!(why, "{comma} {} ({})", heard.name, heard.trouble);
        }
        Some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Peer;
    use std::time::Duration;

    fn standing(count: u8, needed: usize) -> Standing {
        let all = (1..=count).map(|n| Peer {
            name: format!("agent-{n}"),
            id: [n; 32],
            address: String::new(),
        });
        Standing::new(&Peers {
            needed,
            every: Duration::from_secs(5),
            former_logs: vec![],
            all: all.collect(),
        })
    }

    #[test]
    fn it_answers_once_enough_were_heard_and_names_who_is_missing_until_then() {
        let mut standing = standing(4, 3);
        standing.failed(&[2; 32], "connection refused".into());
        assert_eq!(standing.heard(&[1; 32]), Change::None);
        assert_eq!(standing.heard(&[1; 32]), Change::None, "the same again");
        assert_eq!(standing.heard(&[9; 32]), Change::None, "no peer");
        let why = standing.refusal().unwrap();
        assert!(
            why.contains("1 of 3") && why.contains("agent-2 (connection refused), agent-3"),
            "{why}"
        );
        assert!(!standing.agrees(&[3; 32]), "two of three");
        assert!(standing.agrees(&[4; 32]) && standing.agrees(&[3; 32]));
        assert!(standing.refusal().unwrap().contains("being told"));
        standing.heard(&[3; 32]);
        assert_eq!(standing.heard(&[4; 32]), Change::Enough);
        assert_eq!(standing.refusal(), None);
        // Who was heard in this life was heard, whatever comes later.
        standing.failed(&[4; 32], "connection refused".into());
        assert_eq!(standing.refusal(), None);
    }

    #[test]
    fn what_was_lost_is_not_outvoted() {
        let mut standing = standing(4, 1);
        standing.heard(&[1; 32]);
        assert_eq!(standing.lose("restored".into()), Change::Lost);
        assert_eq!(standing.lose("restored".into()), Change::None);
        standing.heard(&[2; 32]);
        assert!(!standing.agrees(&[2; 32]), "nothing is written");
        assert_eq!(standing.refusal().unwrap(), "restored");
    }

    #[test]
    fn a_clock_that_is_30_s_off_is_right_and_one_that_is_more_is_wrong() {
        const NOW: u64 = 1_800_000_000_000;
        let mut standing = standing(4, 3);
        for (peer, said) in [(1, NOW), (2, NOW + 100)] {
            standing.tells(&[peer; 32], said, 1000);
        }
        assert_eq!(standing.ahead(0, 1000), None, "too few");
        standing.tells(&[3; 32], NOW - 100, 1000);
        // 2 s later it is 2 s later there, too.
        assert_eq!(standing.ahead(NOW, 3000), Some(2000));
        for (off, wrong) in [(0, false), (29_999, false), (30_000, false), (30_001, true)] {
            for own in [NOW + 2000 + off, NOW + 2000 - off] {
                assert_eq!(standing.wrong_clock(own, 3000).is_some(), wrong, "{off}");
            }
        }
        let why = standing.wrong_clock(NOW + 33_000, 3000).unwrap();
        assert!(why.contains("31.0 s ahead of"), "{why}");
        let why = standing.wrong_clock(NOW - 29_500, 3000).unwrap();
        assert!(why.contains("31.5 s behind"), "{why}");
        // One that lies changes nothing, nor do two of four.
        standing.tells(&[1; 32], u64::MAX, 1000);
        assert_eq!(standing.wrong_clock(NOW + 2000, 3000), None);
        standing.tells(&[4; 32], 0, 1000);
        assert_eq!(standing.wrong_clock(NOW + 2000, 3000), None);
        standing.tells(&[4; 32], u64::MAX, 1000);
        assert_eq!(standing.wrong_clock(NOW + 2000, 3000), None);
        // What was heard long ago says nothing.
        assert_eq!(standing.ahead(NOW, 1000 + SAMPLE + 1), None);
    }
}
