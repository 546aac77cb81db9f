//! Certificates and private keys in PEM files. What cannot be read is said with the command that mends it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pkcs8::EncryptedPrivateKeyInfo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::files::Files;

/// Largest file in bytes.
const FILE_MAX: u64 = 256 * 1024;
/// What the old form of encrypted keys has in its head.
const TRADITIONAL: &str = "Proc-Type: 4,ENCRYPTED";

/// Why a file is of no use, and how to mend that.
#[derive(Debug)]
pub(super) struct Unusable {
    /// Ends a sentence that begins with the file.
    pub(super) why: String,
    pub(super) help: String,
}

fn unusable<T>(why: impl Into<String>, help: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable { why: why.into(), help: help.into() })
}

/// All certificates of a file, in its order; at least one.
pub(super) fn certificates(files: &Files, file: &Path) -> Result<Vec<Bytes>, Unusable> {
    let bytes = read(files, file)?;
    let shown = file.display();
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        match certificate {
            Ok(certificate) => all.push(Bytes::copy_from_slice(&certificate)),
            Err(error) => {
                return unusable(format!("is not PEM: {error}"), "copy it again from where it was issued");
            }
        }
    }
    match all.is_empty() {
        false => Ok(all),
        true if is_archive(file) => unusable(
            "is a PKCS#12 archive, not PEM",
            format!(
                "take it apart: openssl pkcs12 -in {shown} -clcerts -nokeys -out cert.pem; \
                 openssl pkcs12 -in {shown} -nocerts -out key.pem"
            ),
        ),
        true if bytes.first() == Some(&0x30) => unusable(
            "is DER, not PEM",
            format!("convert it: openssl x509 -inform der -in {shown} -out cert.pem"),
        ),
        true => unusable(
            "holds no certificate",
            "it is a PEM file with the host's certificate first, then those of its issuers: \
             -----BEGIN CERTIFICATE-----",
        ),
    }
}

/// The private key of a file, decrypted if need be; DER.
pub(super) fn key(files: &Files, file: &Path, passphrase: Option<&str>) -> Result<Bytes, Unusable> {
    let bytes = read(files, file)?;
    let shown = file.display();
    let text = String::from_utf8_lossy(&bytes);
    if let Some(encrypted) = section(&text, "ENCRYPTED PRIVATE KEY") {
        let Some(passphrase) = passphrase else {
            return unusable(
                "is encrypted, and there is no passphrase",
                "write the passphrase into a file of its own and name that with `tls.passphrase_file`, \
                 or give it in the environment as SC_TLS_PASSPHRASE",
            );
        };
        let Some(encrypted) = encrypted else {
            return unusable("is not PEM: its base64 is damaged", "copy it again");
        };
        return decrypted(&encrypted, passphrase, file);
    }
    if text.contains(TRADITIONAL) {
        return unusable(
            "is encrypted in OpenSSL's traditional form, which is weak",
            format!("convert it: {}", conversion(file)),
        );
    }
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(Bytes::copy_from_slice(key.secret_der())),
        Err(_) if is_archive(file) => unusable(
            "is a PKCS#12 archive, not PEM",
            format!("take its key out: openssl pkcs12 -in {shown} -nocerts -out key.pem"),
        ),
        Err(_) if bytes.first() == Some(&0x30) => unusable(
            "is DER, not PEM",
            format!("convert it: openssl pkey -inform der -in {shown} -out key.pem"),
        ),
        Err(_) => unusable("holds no private key", "it is a PEM file: -----BEGIN PRIVATE KEY-----"),
    }
}

/// A secret of one line.
pub(super) fn passphrase(files: &Files, file: &Path) -> Result<String, Unusable> {
    let bytes = read(files, file)?;
    let Ok(text) = String::from_utf8(bytes) else {
        return unusable("is not text", "it is the passphrase alone");
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return unusable("is empty", "it is the passphrase alone");
    }
    Ok(text.to_owned())
}

/// The command that makes a key readable here; it asks for the passphrases.
fn conversion(file: &Path) -> String {
    format!("openssl pkcs8 -topk8 -v2 aes-256-cbc -in {} -out key.pkcs8.pem", file.display())
}

fn decrypted(encrypted: &[u8], passphrase: &str, file: &Path) -> Result<Bytes, Unusable> {
    use pkcs8::pkcs5::Error::{AlgorithmParametersInvalid, NoPbes1CryptSupport, UnsupportedAlgorithm};
    let unsupported = |error: String| {
        unusable(
            format!("is encrypted in a way that is not supported: {error}"),
            format!("convert it: {}", conversion(file)),
        )
    };
    let encrypted = match EncryptedPrivateKeyInfo::try_from(encrypted) {
        Ok(encrypted) => encrypted,
        Err(error) => return unsupported(format!("{error}, or it is damaged")),
    };
    match encrypted.decrypt(passphrase) {
        Ok(key) if PrivateKeyDer::try_from(key.as_bytes()).is_ok() => {
            Ok(Bytes::copy_from_slice(key.as_bytes()))
        }
        Err(pkcs8::Error::EncryptedPrivateKey(
            error @ (AlgorithmParametersInvalid { .. } | NoPbes1CryptSupport | UnsupportedAlgorithm { .. }),
        )) => unsupported(error.to_string()),
        // A wrong passphrase is noticed by what it gives.
        Ok(_) | Err(_) => unusable(
            "does not open with this passphrase",
            format!("correct the passphrase; to try it: openssl pkey -noout -in {}", file.display()),
        ),
    }
}

/// What is between the lines that begin and end a section: none where there is no such section, and none within it
/// where that is no base64.
fn section(text: &str, label: &str) -> Option<Option<Vec<u8>>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    Some(STANDARD.decode(body).ok())
}

fn is_archive(file: &Path) -> bool {
    let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    matches!(&*extension, "p12" | "pfx")
}

fn read(files: &Files, file: &Path) -> Result<Vec<u8>, Unusable> {
    let unreadable = |error: std::io::Error| Unusable {
        why: format!("cannot be read: {error}"),
        help: "correct the path, or let this user read the file".to_owned(),
    };
    match files.read(file, FILE_MAX).map_err(unreadable)? {
        Some(bytes) => Ok(bytes),
        None => unusable("is larger than 256 KiB", "it holds one certificate with its chain, or one key"),
    }
}
