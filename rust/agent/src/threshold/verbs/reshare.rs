//! What a header must be to succeed another one of its key, and whom a list of givers has give.

use evanesce_threshold::dkg::Givers;
use evanesce_token::mpc::{Body, Header};
use evanesce_wire::message::SeatRow;

use super::Obstacle;

/// Refuses what is not so of a renewal.
pub fn renewed(is: bool, how: &str) -> Result<(), Obstacle> {
    match is {
        true => Ok(()),
        false => Err(Obstacle::refused(format!("shares are renewed {how}"))),
    }
}

/// Whether this header may succeed that of `old`; for another quorum only where seats give the key to it.
pub fn may_succeed(header: &Header, old: &Body, is_given: bool) -> Result<(), Obstacle> {
    let before = &old.header;
    renewed(header.key == before.key, "for the same key")?;
    renewed(header.name == before.name, "under the same name")?;
    renewed(header.suite == before.suite, "in the same suite")?;
    let may = is_given || header.quorum == before.quorum;
    renewed(may, "at the same seats")?;
    let replaces = header.replaces == Some(old.id);
    renewed(replaces, "by what replaces their token")?;
    renewed(header.nonce != before.nonce, "under a new header")
}

/// Who gives, if the list says of this agent what is so: it gives the share of its own seat and no other seat gives that. What it says of others
/// they know, and all sign it.
pub fn givers(listed: &[(u32, u32)], seat: u32, row: Option<&SeatRow>) -> Result<Givers, Obstacle> {
    let own = row.map(|row| row.seat);
    let is_so = |(new, old): &(u32, u32)| (*new == seat) == (Some(*old) == own);
    if !listed.iter().all(is_so) {
        let why = "whoever gives, gives the share of its own seat: the list of givers is wrong of this agent";
        return Err(Obstacle::refused(why));
    }
    // each was read as a seat that a token can have
    let narrow = |(new, old): &(u32, u32)| (*new as u8, *old as u8);
    Ok(listed.iter().map(narrow).collect())
}
