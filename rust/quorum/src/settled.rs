//! What was settled before an opening that people had to approve: the agents are asked for that, and for nothing else.

use evanesce_token::Header;
use evanesce_wire::World;
use evanesce_wire::message::Evidence;

/// Settled beforehand; by default nothing is.
#[derive(Clone, Default)]
pub struct Settled {
    /// The salt of the input digest; `None` draws one.
    pub salt: Option<[u8; 32]>,
    /// What goes along to every agent so that it may permit the opening: what people have approved.
    pub evidence: Evidence,
    /// For a reshare the new token's whole header, whose `deal` is what was approved; `None` draws it. The nonce in it is
    /// good for one mint: after one that was begun it is the caller's never to be given again (PROTOCOL §8).
    pub header: Option<Header>,
}

impl Settled {
    /// The settled salt, or a fresh one.
    pub(crate) fn salt(&self, world: &dyn World) -> [u8; 32] {
        self.salt.unwrap_or_else(|| {
            let mut salt = [0; 32];
            world.random(&mut salt);
            salt
        })
    }

    /// The salt, and this with it settled: for one that is asked of many, who must all be asked the same.
    pub(crate) fn salted(self, world: &dyn World) -> ([u8; 32], Self) {
        let salt = self.salt(world);
        let settled = Self {
            salt: Some(salt),
            ..self
        };
        (salt, settled)
    }
}
