//! `[tls]`: certificates, keys, and what clients must prove. All is read and checked here, at the start and again at
//! each reload, by the same code that balancers use.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use sc_balancer::{IdentityError, IdentityInfo};
use sc_core::limits::PACKET_MAX;
use sc_core::tls::{ClientCheck, Credentials, Identity, TicketKey, TlsVersion};

use super::pem::{self, Unusable};
use super::problem::{Origin, Problem};
use super::raw::{Layers, Node};
use super::{TlsSettings, keys};

/// What the message to a balancer holds beside the certificates.
const OTHER: usize = 8 * 1024;
/// A certificate that ends sooner is worth a warning.
pub(crate) const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// The key whose value must not be in a file that is copied and checked in.
const PASSPHRASE: &str = "tls.passphrase";
/// Options that are of no use without a certificate.
const OPTIONS: [&str; 8] = [
    "tls.key",
    PASSPHRASE,
    "tls.passphrase_file",
    "tls.client_ca",
    "tls.client_auth",
    "tls.min_version",
    "tls.handshake_timeout",
    "tls.redirect_http",
];

/// A file, and where it is named: the key's path, and its place.
struct Named {
    file: PathBuf,
    key: String,
    origin: Option<Origin>,
}

/// The files of one certificate.
struct Identified {
    certificate: Named,
    key: Named,
    passphrase: Option<Named>,
}

/// TLS, if it is configured.
pub(super) fn resolve(layers: &mut Layers, folder: &Path) -> Option<TlsSettings> {
    let passphrase = passphrase(layers);
    let mut all = Vec::new();
    all.extend(first(layers, folder));
    all.extend(others(layers, folder));
    let clients = clients(layers, folder);
    let versions = [("1.2", TlsVersion::V12), ("1.3", TlsVersion::V13)];
    let oldest = layers.choice("tls.min_version", &versions).unwrap_or(TlsVersion::V12);
    let handshake_timeout = layers.duration("tls.handshake_timeout").unwrap_or(Duration::from_secs(10));
    let redirect_http = layers.number("tls.redirect_http");
    let redirect_http = redirect_http.map(|port| u16::try_from(port).map_err(|_| port)).transpose();
    if redirect_http.is_err() {
        let message = "`tls.redirect_http` must be a port: 0 to 65535";
        layers.problems.push(Problem::new(message, message, layers.origin("tls.redirect_http")));
    }
    if all.is_empty() {
        if let Some(key) = OPTIONS.into_iter().find(|key| layers.get(key).is_some())
            && layers.get("tls.certificate").is_none()
            && layers.get("tls.certificates").is_none()
        {
            let message = format!("`{key}` is given, and no `tls.certificate`");
            let problem = Problem::new(&message, "of no use", layers.origin(key));
            layers.problems.push(problem.help("name the certificate: certificate = \"cert.pem\""));
        }
        return None;
    }
    let (mut identities, mut described, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for named in &all {
        if let Some((identity, shown, end)) = read(layers, named, passphrase.as_deref()) {
            identities.push(identity);
            described.push(shown);
            ends.push(end);
        }
    }
    let credentials = Credentials { identities, clients, oldest, tickets: Vec::new() };
    check(layers, &credentials);
    let redirect_http = redirect_http.ok().flatten();
    let ends = ends.into_iter().min().unwrap_or_else(SystemTime::now);
    Some(TlsSettings { credentials, described, ends, redirect_http, handshake_timeout })
}

/// From the environment; a file is named instead.
fn passphrase(layers: &mut Layers) -> Option<String> {
    let origin = layers.origin(PASSPHRASE)?.clone();
    if !matches!(origin, Origin::Variable(_)) {
        let message = "a passphrase does not belong here";
        let problem = Problem::new(message, "readable for whoever reads this", Some(&origin));
        let help = "write it into a file of its own and name that: passphrase_file = \"FILE\"; \
                    or give it in the environment as SC_TLS_PASSPHRASE";
        layers.problems.push(problem.help(help));
        return None;
    }
    layers.text(PASSPHRASE)
}

/// `tls.certificate` and what belongs to it.
fn first(layers: &mut Layers, folder: &Path) -> Option<Identified> {
    let certificate = named(layers, "tls.certificate", folder)?;
    let passphrase = named(layers, "tls.passphrase_file", folder);
    let Some(key) = named(layers, "tls.key", folder) else {
        let message = "`tls.certificate` is given, and no `tls.key`";
        let problem = Problem::new(message, "whose key?", certificate.origin.as_ref());
        layers.problems.push(problem.help("name the file of its private key: key = \"key.pem\""));
        return None;
    };
    Some(Identified { certificate, key, passphrase })
}

fn named(layers: &mut Layers, key: &str, folder: &Path) -> Option<Named> {
    let file = layers.path(key, folder)?;
    Some(Named { file, key: key.to_owned(), origin: layers.origin(key).cloned() })
}

/// `[[tls.certificates]]`: more, for other hosts or of other kinds.
fn others(layers: &mut Layers, folder: &Path) -> Vec<Identified> {
    let mut all = Vec::new();
    for (entries, origin) in layers.tables("tls.certificates").unwrap_or_default() {
        let (mut certificate, mut key, mut passphrase) = (None, None, None);
        for (name, value) in &entries {
            let found = match (name.as_str(), &value.node) {
                ("certificate", Node::Text(file)) => (&mut certificate, file),
                ("key", Node::Text(file)) => (&mut key, file),
                ("passphrase_file", Node::Text(file)) => (&mut passphrase, file),
                _ => {
                    let message = format!("`tls.certificates.{name}` is no file of a certificate");
                    let near = keys::nearest(name, keys::CERTIFICATE_KEYS.iter().copied());
                    let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                    let help = format!(
                        "{near}valid here, each a file's name: {}",
                        keys::CERTIFICATE_KEYS.join(", ")
                    );
                    layers.problems.push(Problem::new(&message, "not here", Some(&value.origin)).help(help));
                    continue;
                }
            };
            let (slot, file) = found;
            let key = format!("tls.certificates.{name}");
            *slot = Some(Named { file: folder.join(file), key, origin: Some(value.origin.clone()) });
        }
        match (certificate, key) {
            (Some(certificate), Some(key)) => all.push(Identified { certificate, key, passphrase }),
            _ => {
                let message = "an entry of `tls.certificates` needs `certificate` and `key`";
                let problem = Problem::new(message, "incomplete", Some(&origin));
                layers.problems.push(problem.help("for example: certificate = \"a.pem\", key = \"a.key\""));
            }
        }
    }
    all
}

/// `tls.client_ca` and `tls.client_auth`.
fn clients(layers: &mut Layers, folder: &Path) -> Option<ClientCheck> {
    let required = layers.choice("tls.client_auth", &[("required", true), ("optional", false)]);
    let Some(roots) = named(layers, "tls.client_ca", folder) else {
        if required.is_some() {
            let message = "`tls.client_auth` is given, and no `tls.client_ca`";
            let problem = Problem::new(message, "by whom issued?", layers.origin("tls.client_auth"));
            let help =
                "name the certificates of those who issue clients' certificates: client_ca = \"clients.pem\"";
            layers.problems.push(problem.help(help));
        }
        return None;
    };
    match pem::certificates(&layers.files, &roots.file) {
        Ok(all) => Some(ClientCheck { roots: all, required: required.unwrap_or(true) }),
        Err(why) => {
            refuse(layers, &roots, why);
            None
        }
    }
}

/// A certificate with its key, what it is for people, and its end.
fn read(
    layers: &mut Layers,
    named: &Identified,
    passphrase: Option<&str>,
) -> Option<(Identity, String, SystemTime)> {
    let Identified { certificate, key, passphrase: own } = named;
    let all = [Some(certificate), Some(key), own.as_ref()];
    let all: Vec<_> = all.into_iter().flatten().map(|named| &*named.file).collect();
    let files = layers.files.of_set(&all);
    let chain =
        pem::certificates(&files, &certificate.file).map_err(|why| refuse(layers, certificate, why)).ok();
    let own = match own {
        Some(own) => Some(pem::passphrase(&files, &own.file).map_err(|why| refuse(layers, own, why)).ok()?),
        None => None,
    };
    let read = pem::key(&files, &key.file, own.as_deref().or(passphrase));
    let read = read.map_err(|why| refuse(layers, key, why)).ok();
    let identity = Identity { chain: chain?, key: read? };
    warn_of_readers(layers, &key.file);
    match sc_balancer::inspect(&identity, SystemTime::now()) {
        Ok(info) => {
            let shown = described(layers, certificate, &info);
            Some((identity, shown, info.until))
        }
        Err(error) => {
            let (at, help) = match &error {
                IdentityError::Mismatched => (
                    key,
                    format!(
                        "these must print the same: openssl x509 -noout -pubkey -in {}; openssl pkey -pubout -in {}",
                        certificate.file.display(),
                        key.file.display()
                    ),
                ),
                IdentityError::Key(_) => (
                    key,
                    "RSA keys from 2048 bits on, ECDSA keys of P-256 or P-384, and Ed25519 keys can"
                        .to_owned(),
                ),
                IdentityError::Expired(_) => (certificate, "have it renewed".to_owned()),
                IdentityError::Early(_) => (certificate, "check this machine's clock".to_owned()),
                IdentityError::Garbled(..) => {
                    (certificate, "copy it again from where it was issued".to_owned())
                }
            };
            refuse(layers, at, Unusable { why: format!("is of no use: {error}"), help });
            None
        }
    }
}

/// What a certificate is, for people; what is odd about it is a warning.
fn described(layers: &mut Layers, certificate: &Named, info: &IdentityInfo) -> String {
    let file = certificate.file.display();
    let IdentityInfo { names, until, until_text, broken_at } = info;
    if names.is_empty() {
        layers.warnings.push(format!("the certificate {file} is for no host: clients will refuse it"));
    }
    if let Some(at) = broken_at {
        layers.warnings.push(format!(
            "in {file}, certificate {at} did not issue the one before it: the host's comes first, each next one issued it"
        ));
    }
    if until.duration_since(SystemTime::now()).unwrap_or_default() < SOON {
        layers.warnings.push(format!("the certificate {file} expires at {until_text}"));
    }
    let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
    format!("{names} until {until_text}")
}

fn warn_of_readers(layers: &mut Layers, file: &Path) {
    const OTHERS: u32 = 0o004;
    if std::fs::metadata(file).is_ok_and(|data| data.permissions().mode() & OTHERS != 0) {
        layers.warnings.push(format!(
            "every user of this machine may read the private key {0}: chmod o-r {0}",
            file.display()
        ));
    }
}

/// What is wrong with all of them together.
fn check(layers: &mut Layers, credentials: &Credentials) {
    let origin = ["tls.certificates", "tls.certificate"].into_iter().find_map(|key| layers.origin(key));
    let mut message = BytesMut::new();
    if sc_wire::frame::put(&mut message, credentials, PACKET_MAX - OTHER).is_err() {
        let text = format!("all certificates with their keys are over {} KiB", (PACKET_MAX - OTHER) / 1024);
        let problem = Problem::new(&text, "too many", origin).of_what_it_names();
        layers
            .problems
            .push(problem.help("leave out what clients have anyway: the roots at the ends of chains"));
        return;
    }
    if !layers.problems.is_empty() {
        return;
    }
    let whole = Credentials { tickets: vec![TicketKey([0; 32])], ..credentials.clone() };
    if let Err(error) = sc_balancer::check(&whole) {
        let key = if credentials.clients.is_some() { "tls.client_ca" } else { "tls.certificate" };
        let problem = Problem::new(&error.to_string(), "of no use", layers.origin(key));
        layers.problems.push(problem.of_what_it_names());
    }
}

fn refuse(layers: &mut Layers, named: &Named, Unusable { why, help }: Unusable) {
    let message = format!("`{}`: {} {why}", named.key, named.file.display());
    let problem = Problem::new(&message, why, named.origin.as_ref());
    layers.problems.push(problem.of_what_it_names().help(help));
}
