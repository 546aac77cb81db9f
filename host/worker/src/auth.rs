//! Tokens: JSON Web Tokens signed and verified with one secret, and those of others verified with their public keys.
//!
//! A key verifies the algorithms of its own family only: a public key, which anybody may have, is never a secret.
//!
//! Source of messages and of the order of checks: tokens as socketcluster-server 20.0.1 checks them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::num::NonZeroU8;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use sc_core::config::AuthConfig;
use sc_core::controller::Failure;
use sc_wire::encode;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{Config, EncodedConfig, TimePrecision};

/// The claims of a verified token, or of one signed here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claims {
    /// The claims as JSON text.
    pub(crate) text: String,
    /// When they expire, in seconds since 1970.
    pub(crate) expiry: Option<f64>,
}

impl Claims {
    /// Whether they expired by `now`.
    pub(crate) fn expired(&self, now: SystemTime) -> bool {
        self.expiry.is_some_and(|expiry| since_epoch(now).as_secs_f64() > expiry)
    }
}

/// A token that was not accepted.
#[derive(Debug, PartialEq)]
pub(crate) struct Rejected {
    /// The error object that the client gets.
    pub(crate) error: String,
    /// Whether the client should forget the token; an early one is still good.
    pub(crate) is_bad: bool,
}

impl Rejected {
    /// The error for user code.
    pub(crate) fn failure(&self) -> Failure {
        let error: Map<String, Value> = serde_json::from_str(&self.error).unwrap_or_default();
        let text = |member: &str| error.get(member).and_then(Value::as_str).unwrap_or_default();
        Failure::named(text("name"), text("message"))
    }
}

/// The keys, and how tokens are made.
pub(crate) struct Tokens {
    keys: RefCell<Keys>,
    /// Secrets that the controller chose here and that the master has not told all workers yet, oldest first.
    chosen: RefCell<VecDeque<Box<str>>>,
    public: Vec<DecodingKey>,
    algorithm: Algorithm,
    default_expiry: Duration,
}

struct Keys {
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl Keys {
    fn new(secret: &str) -> Self {
        Keys {
            signing: EncodingKey::from_secret(secret.as_bytes()),
            verifying: DecodingKey::from_secret(secret.as_bytes()),
        }
    }
}

impl Tokens {
    pub(crate) fn new(config: &AuthConfig) -> Self {
        let algorithm = match config.algorithm.as_str() {
            "HS384" => Algorithm::HS384,
            "HS512" => Algorithm::HS512,
            _ => Algorithm::HS256,
        };
        Tokens {
            keys: RefCell::new(Keys::new(&config.key)),
            chosen: RefCell::default(),
            // They were looked at when the configuration was read.
            public: config.public_keys.iter().filter_map(|pem| public_key(pem).ok()).collect(),
            algorithm,
            default_expiry: config.default_expiry,
        }
    }

    /// Signs and verifies with another secret from now on, which the master is to be asked to tell all workers.
    pub(crate) fn choose(&self, secret: Box<str>) {
        self.rotate(&secret);
        self.chosen.borrow_mut().push_back(secret);
    }

    /// The same, in the place of the secret that was chosen last, which the master was not asked to tell yet.
    pub(crate) fn choose_instead(&self, secret: Box<str>) {
        self.chosen.borrow_mut().pop_back();
        self.choose(secret);
    }

    /// The master tells all workers a secret. One that was chosen here later stands: the master will tell it as well.
    pub(crate) fn settle(&self, secret: &str) {
        let mut chosen = self.chosen.borrow_mut();
        if chosen.front().is_some_and(|first| **first == *secret) {
            chosen.pop_front();
        }
        if chosen.is_empty() {
            self.rotate(secret);
        }
    }

    fn rotate(&self, secret: &str) {
        *self.keys.borrow_mut() = Keys::new(secret);
    }

    /// Signs claims, the text of a JSON object. An `exp` among them beats `expires_in`, which beats the default.
    pub(crate) fn sign(
        &self,
        claims: &str,
        expires_in: Option<Duration>,
        now: SystemTime,
    ) -> Result<(String, Claims), String> {
        let mut claims: Map<String, Value> =
            serde_json::from_str(claims).map_err(|error| format!("claims must be a JSON object: {error}"))?;
        let now = since_epoch(now).as_secs();
        claims.entry("iat").or_insert_with(|| now.into());
        let expires_in = expires_in.unwrap_or(self.default_expiry).as_secs();
        let expiry = claims.entry("exp").or_insert_with(|| now.saturating_add(expires_in).into()).as_f64();
        if expiry.is_none() {
            return Err("the claim exp must be a number of seconds since 1970".to_owned());
        }
        let token = jsonwebtoken::encode(&Header::new(self.algorithm), &claims, &self.keys.borrow().signing)
            .map_err(|error| format!("the token could not be signed: {error}"))?;
        let text = Value::Object(claims).to_string();
        Ok((token, Claims { text, expiry }))
    }

    /// Verifies what a client sent as its token. `None` stands for a value that was not sent.
    pub(crate) fn verify(&self, token: Option<&RawValue>, now: SystemTime) -> Result<Claims, Rejected> {
        let token = match token.map(RawValue::get) {
            None | Some("null" | "\"\"") => return Err(invalid("jwt must be provided")),
            Some(text) => match serde_json::from_str::<String>(text) {
                Ok(token) => token,
                Err(_) => return Err(unusable("Invalid token format - Token must be a string")),
            },
        };
        self.verify_text(&token, now)
    }

    /// Verifies a token.
    pub(crate) fn verify_text(&self, token: &str, now: SystemTime) -> Result<Claims, Rejected> {
        let [header, payload, signature] = three_parts(token).ok_or_else(|| invalid("jwt malformed"))?;
        let header = decode_object(header).ok_or_else(|| invalid("invalid token"))?;
        let payload = decode(payload).ok_or_else(|| invalid("invalid token"))?;
        let claims: Value = serde_json::from_slice(&payload)
            .map_err(|error| unusable(&format!("Invalid token payload - {error}")))?;
        if signature.is_empty() {
            return Err(invalid("jwt signature is required"));
        }
        if !is_base64url(signature) {
            return Err(invalid("invalid token"));
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
        let algorithm: Algorithm = algorithm.ok_or_else(|| invalid("invalid algorithm"))?;
        self.check_signature(token, algorithm)?;
        check_times(&claims, since_epoch(now).as_secs())?;
        let expiry = claims.get("exp").and_then(Value::as_f64);
        Ok(Claims { text: claims.to_string(), expiry })
    }

    fn check_signature(&self, token: &str, algorithm: Algorithm) -> Result<(), Rejected> {
        let keys = self.keys.borrow();
        let all = std::iter::once(&keys.verifying).chain(&self.public);
        let mut fitting = all.filter(|key| key.family() == algorithm.family()).peekable();
        if fitting.peek().is_none() {
            return Err(invalid("invalid algorithm"));
        }
        let mut signature_only = Validation::new(algorithm);
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        let verifies = |key| jsonwebtoken::decode::<Value>(token, key, &signature_only).is_ok();
        if fitting.any(verifies) { Ok(()) } else { Err(invalid("invalid signature")) }
    }
}

/// Whether a text is a public key that tokens can be verified with, in PEM; else why not.
pub fn check_public_key(pem: &str) -> Result<(), String> {
    if pem.contains("PRIVATE KEY-----") {
        return Err("holds a private key, which belongs to whoever signs and to nobody else".to_owned());
    }
    public_key(pem).map(drop)
}

fn public_key(pem: &str) -> Result<DecodingKey, String> {
    let pem = pem.as_bytes();
    DecodingKey::from_rsa_pem(pem)
        .or_else(|_| DecodingKey::from_ec_pem(pem))
        .or_else(|_| DecodingKey::from_ed_pem(pem))
        .map_err(|_| "holds no public key of RSA, EC or Ed25519 in PEM".to_owned())
}

/// Early and expired tokens, without leeway; times may be fractions.
fn check_times(claims: &Value, now: u64) -> Result<(), Rejected> {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact")]
    let now = now as f64;
    if let Some(not_before) = claims.get("nbf") {
        let not_before = not_before.as_f64().ok_or_else(|| invalid("invalid nbf value"))?;
        if not_before > now {
            let members = format!(r#""date":{},"isBadToken":false"#, encode::string(&date(not_before)));
            let error = encode::error(Some("AuthTokenNotBeforeError"), "jwt not active", &members);
            return Err(Rejected { error, is_bad: false });
        }
    }
    if let Some(expiry) = claims.get("exp") {
        let expiry = expiry.as_f64().ok_or_else(|| invalid("invalid exp value"))?;
        if now >= expiry {
            let members = format!(r#""expiry":{},"isBadToken":true"#, encode::string(&date(expiry)));
            let error = encode::error(Some("AuthTokenExpiredError"), "jwt expired", &members);
            return Err(Rejected { error, is_bad: true });
        }
    }
    Ok(())
}

fn invalid(message: &str) -> Rejected {
    let error = encode::error(Some("AuthTokenInvalidError"), message, r#""isBadToken":true"#);
    Rejected { error, is_bad: true }
}

fn unusable(message: &str) -> Rejected {
    Rejected { error: encode::error(Some("AuthTokenError"), message, r#""isBadToken":true"#), is_bad: true }
}

fn three_parts(token: &str) -> Option<[&str; 3]> {
    let mut parts = token.split('.');
    let three = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(three)
}

fn is_base64url(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn decode(part: &str) -> Option<Vec<u8>> {
    if part.is_empty() { None } else { URL_SAFE_NO_PAD.decode(part).ok() }
}

fn decode_object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&decode(part)?).ok()
}

pub(crate) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since 1970 as an ISO date in UTC, as JavaScript writes it: `2020-09-13T12:26:40.000Z`.
fn date(seconds: f64) -> String {
    const MILLIS: TimePrecision = TimePrecision::Second { decimal_digits: NonZeroU8::new(3) };
    const FORM: EncodedConfig = Config::DEFAULT.set_time_precision(MILLIS).encode();
    #[expect(clippy::cast_possible_truncation, reason = "a time that no calendar has is none either way")]
    let nanos = ((seconds * 1000.0) as i128).saturating_mul(1_000_000);
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|date| date.format(&Iso8601::<FORM>).ok())
        .unwrap_or_else(|| "Invalid Date".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(&AuthConfig {
            key: "testkey".into(),
            algorithm: "HS256".into(),
            default_expiry: Duration::from_secs(60),
            public_keys: Vec::new(),
            rotation: true,
        })
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn verify(tokens: &Tokens, token: &str, now: u64) -> Result<Claims, String> {
        let raw = RawValue::from_string(encode::string(token)).expect("a JSON string");
        tokens.verify(Some(&raw), at(now)).map_err(|rejected| rejected.error)
    }

    #[test]
    fn a_secret_chosen_here_stands_until_the_master_tells_a_later_one() {
        let (tokens, other) = (tokens(), tokens());
        let is_key = |secret: &str| {
            other.settle(secret);
            let (token, _) = other.sign("{}", None, at(1000)).expect("signed");
            verify(&tokens, &token, 1000).is_ok()
        };
        tokens.choose("a".into());
        tokens.choose("b".into());
        assert!(is_key("b"));
        for told in ["a", "of another worker"] {
            tokens.settle(told);
            assert!(is_key("b"), "{told}");
        }
        tokens.settle("b");
        assert!(is_key("b"));
        tokens.settle("c");
        assert!(is_key("c"));
        tokens.choose("d".into());
        tokens.choose("e".into());
        tokens.choose_instead("f".into());
        tokens.settle("d");
        assert!(is_key("f"), "the one that was told before it");
        tokens.settle("f");
        tokens.settle("g");
        assert!(is_key("g"), "none is waited for any more");
    }

    #[test]
    fn a_signed_token_verifies_until_it_expires() {
        let tokens = tokens();
        let (token, claims) = tokens.sign(r#"{"username":"bob"}"#, None, at(1000)).expect("signed");
        assert_eq!(claims.expiry, Some(1060.0));
        assert_eq!(verify(&tokens, &token, 1059), Ok(claims));
        let error = verify(&tokens, &token, 1060).expect_err("expired");
        assert_eq!(
            error,
            r#"{"message":"jwt expired","name":"AuthTokenExpiredError","expiry":"1970-01-01T00:17:40.000Z","isBadToken":true}"#
        );
    }

    #[test]
    fn the_expiry_among_the_claims_wins() {
        let tokens = tokens();
        let (_, claims) =
            tokens.sign(r#"{"exp":3163758978215487}"#, Some(Duration::from_secs(1)), at(0)).expect("signed");
        assert_eq!(claims.expiry, Some(3_163_758_978_215_487.0));
        assert!(tokens.sign(r#"{"exp":"soon"}"#, None, at(0)).is_err());
        assert!(tokens.sign("[]", None, at(0)).is_err());
    }

    #[test]
    fn early_tokens_are_not_bad() {
        let tokens = tokens();
        let (token, _) = tokens.sign(r#"{"nbf":4000000000}"#, None, at(0)).expect("signed");
        let raw = RawValue::from_string(encode::string(&token)).expect("a JSON string");
        let rejected = tokens.verify(Some(&raw), at(5)).expect_err("early");
        assert!(!rejected.is_bad);
        assert!(rejected.error.contains(r#""date":"2096-10-02T07:06:40.000Z""#), "{}", rejected.error);
    }

    #[test]
    fn bad_tokens_have_the_messages_of_the_protocol() {
        let tokens = tokens();
        let (good, _) = tokens.sign("{}", None, at(0)).expect("signed");
        let none = format!("{}.e30.x", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#));
        let rs = format!("{}.e30.x", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#));
        let (other, _) = tokens.sign(r#"{"username":"eve"}"#, None, at(0)).expect("signed");
        let forged = format!(
            "{}.{}",
            &other[..other.rfind('.').expect("a dot")],
            &good[good.rfind('.').expect("a dot") + 1..]
        );
        let unsigned = good.rsplit_once('.').map(|(rest, _)| format!("{rest}.")).expect("three parts");
        for (token, message) in [
            ("abc", "jwt malformed"),
            ("!.e30.x", "invalid token"),
            (&none, "invalid algorithm"),
            (&rs, "invalid algorithm"),
            (&unsigned, "jwt signature is required"),
            (&forged, "invalid signature"),
        ] {
            let error = verify(&tokens, token, 1).expect_err(token);
            assert!(error.contains(message), "{token}: {error}");
        }
        tokens.rotate("another");
        assert!(verify(&tokens, &good, 1).expect_err("old key").contains("invalid signature"));
    }
}
