//! Token buckets, and a bounded number of them.

use std::collections::HashMap;

/// Whose bucket it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// One connection.
    Socket(u64),
    /// An address or a session.
    Name(Box<str>),
}

/// Tokens of one owner: an action takes one, and they come back with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    /// Seconds since the start.
    as_of: f64,
}

/// The buckets of one limit.
#[derive(Debug)]
pub struct Buckets {
    rate: f64,
    burst: f64,
    most: usize,
    of: HashMap<Owner, Bucket>,
    /// For all who come when there is no room for more: a flood of new owners shares what one of them would have.
    rest: Bucket,
}

impl Buckets {
    /// `rate` tokens a second, `burst` at most, for at most so many owners.
    pub fn new(rate: f64, burst: f64, most: usize) -> Self {
        Buckets { rate, burst, most, of: HashMap::new(), rest: Bucket { tokens: burst, as_of: 0.0 } }
    }

    /// Takes a token; else it says in how many seconds there will be one.
    pub fn take(&mut self, owner: &Owner, now: f64) -> Result<(), f64> {
        if !self.of.contains_key(owner) && self.of.len() >= self.most {
            self.clean(now);
        }
        let is_crowded = self.of.len() >= self.most;
        let full = Bucket { tokens: self.burst, as_of: now };
        let bucket = match self.of.get_mut(owner) {
            Some(bucket) => bucket,
            None if is_crowded => &mut self.rest,
            None => self.of.entry(owner.clone()).or_insert(full),
        };
        let tokens = refilled(bucket, self.rate, self.burst, now);
        bucket.as_of = now;
        if tokens >= 1.0 {
            bucket.tokens = tokens - 1.0;
            return Ok(());
        }
        bucket.tokens = tokens;
        Err((1.0 - tokens) / self.rate)
    }

    /// Forgets an owner who is gone.
    pub fn forget(&mut self, owner: &Owner) {
        self.of.remove(owner);
    }

    /// Forgets those that are full again: they are as those that were never there.
    pub fn clean(&mut self, now: f64) {
        let (rate, burst) = (self.rate, self.burst);
        self.of.retain(|_, bucket| refilled(bucket, rate, burst, now) < burst);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.of.len()
    }
}

fn refilled(bucket: &Bucket, rate: f64, burst: f64, now: f64) -> f64 {
    (bucket.tokens + (now - bucket.as_of).max(0.0) * rate).min(burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let mut buckets = Buckets::new(2.0, 3.0, 10);
        let one = Owner::Socket(1);
        assert_eq!([0.0; 3].map(|now| buckets.take(&one, now)), [Ok(()); 3]);
        assert_eq!(buckets.take(&one, 0.0), Err(0.5));
        assert_eq!(buckets.take(&one, 0.25), Err(0.25));
        assert_eq!(buckets.take(&one, 0.5), Ok(()));
        assert_eq!(buckets.take(&Owner::Socket(2), 0.5), Ok(()), "others have their own");
        assert_eq!([100.0; 4].map(|now| buckets.take(&one, now).is_ok()), [true, true, true, false]);
    }

    #[test]
    fn owners_are_bounded_and_newcomers_share_a_bucket() {
        let mut buckets = Buckets::new(1.0, 1.0, 2);
        let owner = |number: u64| Owner::Name(number.to_string().into());
        assert_eq!([1, 2, 3].map(|number| buckets.take(&owner(number), 0.0).is_ok()), [true; 3]);
        assert!(buckets.take(&owner(4), 0.0).is_err(), "the third took what is for all the rest");
        assert_eq!(buckets.len(), 2);
        // Full again: their places are free.
        assert!(buckets.take(&owner(5), 1.0).is_ok());
        assert_eq!(buckets.len(), 1);
        buckets.forget(&owner(5));
        assert_eq!(buckets.len(), 0);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut buckets = Buckets::new(1.0, 1.0, 2);
        assert!(buckets.take(&Owner::Socket(1), 5.0).is_ok());
        assert!(buckets.take(&Owner::Socket(1), 1.0).is_err());
    }
}
