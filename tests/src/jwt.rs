//! Tokens signed here and not by the host, so that tests can make every kind of bad one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The key of hosts under test.
pub const KEY: &str = "testkey";
/// A second past every test, and past what calendars of date libraries hold.
pub const FAR: u64 = 3_163_758_979_080_310;

/// A token with that payload, signed with `key` by HS256.
pub fn sign(payload: &Value, key: &str) -> String {
    let body = format!(
        "{}.{}",
        part(&json!({"alg": "HS256", "typ": "JWT"}).to_string()),
        part(&payload.to_string())
    );
    let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(key.as_bytes(), body.as_bytes()));
    format!("{body}.{signature}")
}

/// A good token of that user.
pub fn of(username: &str) -> String {
    sign(&json!({"username": username, "iat": 1_502_625_213, "exp": FAR}), KEY)
}

/// One part of a token.
pub fn part(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// The claims of a token, unverified.
pub fn claims(token: &str) -> anyhow::Result<Value> {
    let body = token.split('.').nth(1).unwrap_or_default();
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body)?)?)
}

/// RFC 2104.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut padded = if key.len() > BLOCK { Sha256::digest(key).to_vec() } else { key.to_vec() };
    padded.resize(BLOCK, 0);
    let keyed = |byte: u8| padded.iter().map(move |key| key ^ byte).collect::<Vec<_>>();
    let inner = Sha256::new().chain_update(keyed(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(keyed(0x5c)).chain_update(inner).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_mac_is_the_rfc_s() {
        let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
