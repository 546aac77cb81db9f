//! The certificate of `sc-host dev --https`: for this machine's own names, one for all apps of a user, so that a
//! browser that was told to trust it needs telling once.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{CertificateParams, DnType, KeyPair};
use sc_core::tls::Identity;
use time::{Duration, OffsetDateTime};

use crate::config::Flag;
use crate::error::HostError;
use crate::master::put;

/// How long one holds: browsers take none for longer than some two years.
const LIFE: Duration = Duration::days(365);
/// One that holds for less is made anew.
const LEAST: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);
/// Whom it is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The options that have the app served with it. It is made if need be.
pub(crate) fn flags() -> Result<(Vec<Flag>, PathBuf), HostError> {
    let folder = folder().map_err(failed)?;
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    if !is_good(&certificate, &key) {
        make(&folder, &certificate, &key).map_err(failed)?;
    }
    let flag = |key, file: &Path| (key, "--https", file.display().to_string());
    Ok((vec![flag("tls.certificate", &certificate), flag("tls.key", &key)], certificate))
}

fn failed(source: io::Error) -> HostError {
    HostError::Os { what: "making a certificate for development", source }
}

/// Where it lies: data of the user's, in none of the apps.
fn folder() -> io::Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    let none = || io::Error::new(io::ErrorKind::NotFound, "neither XDG_DATA_HOME nor HOME names a folder");
    Ok(data.ok_or_else(none)?.join("sc-host/certificate"))
}

fn is_good(certificate: &Path, key: &Path) -> bool {
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let (Ok(certificate), Ok(key)) =
        (CertificateDer::from_pem_file(certificate), PrivateKeyDer::from_pem_file(key))
    else {
        return false;
    };
    let identity =
        Identity { chain: vec![certificate.to_vec().into()], key: key.secret_der().to_vec().into() };
    sc_balancer::inspect(&identity, SystemTime::now() + LEAST).is_ok()
}

fn make(folder: &Path, certificate: &Path, key: &Path) -> io::Result<()> {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::new(NAMES.map(str::to_owned)).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, "sc-host development");
    params.not_before = now - Duration::DAY;
    params.not_after = now + LIFE;
    let pair = KeyPair::generate().map_err(io::Error::other)?;
    let made = params.self_signed(&pair).map_err(io::Error::other)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    put(key, pair.serialize_pem().as_bytes())?;
    put(certificate, made.pem().as_bytes())
}
