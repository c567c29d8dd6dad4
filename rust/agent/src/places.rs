//! Places that those who connect take: so many in all, and so many each.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Places, and who has them.
pub struct Places<K> {
    taken: Mutex<Taken<K>>,
    all: usize,
    each: usize,
    freed: Notify,
}

struct Taken<K> {
    all: usize,
    by: HashMap<K, usize>,
}

/// One place, until it is dropped.
pub struct Place<K: Hash + Eq> {
    places: Arc<Places<K>>,
    holder: K,
}

impl<K: Hash + Eq + Clone> Places<K> {
    /// `all` places, of which one holder may have `each`.
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        let taken = Taken {
            all: 0,
            by: HashMap::new(),
        };
        Arc::new(Self {
            taken: Mutex::new(taken),
            all,
            each,
            freed: Notify::new(),
        })
    }

    /// A place for `holder`; `None` when none is left, or it has its share.
    pub fn take(self: &Arc<Self>, holder: K) -> Option<Place<K>> {
        let mut taken = self.lock();
        let own = taken.by.get(&holder).copied().unwrap_or_default();
        if taken.all >= self.all || own >= self.each {
            return None;
        }
        taken.all += 1;
        taken.by.insert(holder.clone(), own + 1);
        Some(Place {
            places: self.clone(),
            holder,
        })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.lock().all
    }

    /// Whether all of them are.
    pub fn full(&self) -> bool {
        self.taken() >= self.all
    }

    /// Returns once none is taken; for one who waits.
    pub async fn empty(&self) {
        while self.taken() > 0 {
            self.freed.notified().await;
        }
    }
}

impl<K> Places<K> {
    fn lock(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        if let Some(own) = taken.by.get_mut(&self.holder) {
            *own -= 1;
            // Nothing is remembered of who has left.
            if *own == 0 {
                taken.by.remove(&self.holder);
            }
        }
        self.places.freed.notify_one();
    }
}

/// Whom an address counts as: one host of IPv4, one network of IPv6, which gives a host as many as it likes.
pub fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_share_and_all_have_the_whole() {
        let places = Places::new(3, 2);
        let (one, two) = (places.take("a").unwrap(), places.take("a").unwrap());
        assert!(places.take("a").is_none() && !places.full());
        let three = places.take("b").unwrap();
        assert!(places.take("c").is_none() && places.full());
        drop(one);
        let four = places.take("a").unwrap();
        assert!(places.take("c").is_none());
        drop((two, three, four));
        assert_eq!((places.taken(), places.lock().by.len()), (0, 0));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let of = |text: &str| source(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
