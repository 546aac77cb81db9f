//! Session tickets: what a client brings along to resume without a full handshake. They are sealed under keys that the
//! master keeps, so a ticket of one balancer is good at another, and after a restart.
//!
//! A ticket stands for a client that was checked, so its key depends on how clients are checked: when that changes, no
//! earlier ticket is good.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use sc_core::limits::TICKET_LIFE;
use sc_core::tls::{ClientCheck, TicketKey};
use tokio_rustls::rustls::server::ProducesTickets;

/// Bytes that name a ticket's key.
const NAME: usize = 16;

/// A ticket: its key's name, its nonce, and what is sealed with both.
#[derive(Debug)]
pub(super) struct Tickets {
    /// The first seals, all open.
    keys: Vec<Key>,
    random: SystemRandom,
}

#[derive(Debug)]
struct Key {
    name: [u8; NAME],
    seal: LessSafeKey,
}

impl Tickets {
    pub(super) fn new(keys: &[TicketKey], clients: Option<&ClientCheck>) -> Self {
        Tickets {
            keys: keys.iter().filter_map(|key| derive(key, clients)).collect(),
            random: SystemRandom::new(),
        }
    }
}

/// None never: a derived key has the length that it needs.
fn derive(TicketKey(secret): &TicketKey, clients: Option<&ClientCheck>) -> Option<Key> {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let part = |purpose: &[u8]| {
        let mut mac = hmac::Context::with_key(&secret);
        mac.update(purpose);
        if let Some(ClientCheck { roots, required }) = clients {
            mac.update(&[1, u8::from(*required)]);
            for root in roots {
                mac.update(&(root.len() as u64).to_be_bytes());
                mac.update(root);
            }
        }
        mac.sign()
    };
    let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, part(b"seal").as_ref()).ok()?);
    let name = part(b"name").as_ref().first_chunk().copied()?;
    Some(Key { name, seal })
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        !self.keys.is_empty()
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFE.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let seal = Nonce::assume_unique_for_key(nonce);
        key.seal.seal_in_place_append_tag(seal, Aad::from(key.name), &mut sealed).ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, ticket) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        // The name is no secret.
        let key = self.keys.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.seal.open_in_place(nonce, Aad::from(key.name), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secrets: &[u8], clients: Option<&ClientCheck>) -> Tickets {
        let keys: Vec<_> = secrets.iter().map(|secret| TicketKey([*secret; 32])).collect();
        Tickets::new(&keys, clients)
    }

    #[test]
    fn tickets_are_good_for_as_long_as_their_key_is_known() {
        let ticket = tickets(&[1], None).encrypt(b"a session").expect("sealed");
        assert_eq!(tickets(&[2, 1], None).decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert_eq!(tickets(&[2], None).decrypt(&ticket), None);
        let other = tickets(&[1], None).encrypt(b"a session").expect("sealed");
        assert_ne!(ticket, other);
    }

    #[test]
    fn what_was_changed_is_no_ticket() {
        let known = tickets(&[1], None);
        let ticket = known.encrypt(b"a session").expect("sealed");
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(known.decrypt(&changed), None, "byte {at}");
            assert_eq!(known.decrypt(&ticket[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn a_ticket_does_not_outlive_how_its_client_was_checked() {
        let check = |root: &'static [u8], required| ClientCheck { roots: vec![root.into()], required };
        let (before, after) = (check(b"a", true), check(b"b", true));
        let ticket = tickets(&[1], Some(&before)).encrypt(b"a session").expect("sealed");
        assert!(tickets(&[1], Some(&before)).decrypt(&ticket).is_some());
        for other in [Some(&after), Some(&check(b"a", false)), None] {
            assert_eq!(tickets(&[1], other).decrypt(&ticket), None);
        }
    }
}
