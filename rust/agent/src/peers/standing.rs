//! How the agent stands with its peers: from whom it has heard since it started, and what follows from that.
//!
//! Pure: what was heard goes in, with the time; why the agent must not answer comes out.

use std::fmt::Write;

use evanesce_wire::Id;

use super::Peers;

/// Most peers named in a reason.
const NAMED: usize = 8;

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
}
