//! `[tls]`: what is fine, and what newcomers get wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pkcs8::PrivateKeyInfo;
use pkcs8::pkcs5::pbes2;
use rcgen::{CertificateParams, KeyPair};
use sc_core::tls::TlsVersion;
use time::{Duration, OffsetDateTime};

use super::{Given, file};

const BOTH: &str = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";

struct Made {
    certificate: String,
    key: KeyPair,
}

/// A certificate whose life begins and ends so many days from now.
fn made(name: &str, from: i64, until: i64) -> Made {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = OffsetDateTime::now_utc() + Duration::days(from);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(until);
    let key = KeyPair::generate().unwrap();
    Made { certificate: params.self_signed(&key).unwrap().pem(), key }
}

fn fine() -> Made {
    made("example.com", -1, 90)
}

fn given(text: &str, made: &Made) -> Given {
    let key = made.key.serialize_pem();
    file(text).with("cert.pem", made.certificate.as_bytes()).with("key.pem", key.as_bytes())
}

fn encrypted(key: &KeyPair, passphrase: &str) -> String {
    let der = key.serialize_der();
    let how = pbes2::Parameters::pbkdf2_sha256_aes256cbc(2048, &[1; 8], &[2; 16]).unwrap();
    let sealed = PrivateKeyInfo::try_from(&*der).unwrap().encrypt_with_params(how, passphrase).unwrap();
    let text = STANDARD.encode(sealed.as_bytes());
    format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{text}\n-----END ENCRYPTED PRIVATE KEY-----\n")
}

#[test]
fn certificates_are_read_with_their_names() {
    let settings = given(BOTH, &fine()).fine();
    let tls = settings.tls.unwrap();
    assert_eq!(tls.credentials.identities.len(), 1);
    assert_eq!((tls.credentials.clients, tls.credentials.oldest), (None, TlsVersion::V12));
    assert!(tls.described[0].starts_with("example.com until 20"), "{:?}", tls.described);
    assert_eq!(settings.balancer.tls.unwrap().handshake_timeout, std::time::Duration::from_secs(10));
    assert_eq!(file("").fine().tls.map(|tls| tls.described), None);

    let other = made("*.other.org", -1, 90);
    let more = "min_version = \"1.3\"\nredirect_http = 80\nclient_ca = \"cert.pem\"\nclient_auth = \"optional\"\n\
                [[tls.certificates]]\ncertificate = \"b.pem\"\nkey = \"b.pem\"\n";
    // Both in one file.
    let b = format!("{}{}", other.key.serialize_pem(), other.certificate);
    let tls = given(&format!("{BOTH}{more}"), &fine()).with("b.pem", b.as_bytes()).fine().tls.unwrap();
    assert!(tls.described[1].starts_with("*.other.org until"), "{:?}", tls.described);
    assert_eq!((tls.redirect_http, tls.credentials.oldest), (Some(80), TlsVersion::V13));
    assert!(!tls.credentials.clients.unwrap().required);
}

#[test]
fn encrypted_keys_open_with_a_file_or_the_environment() {
    let fine = fine();
    let sealed = encrypted(&fine.key, "open sesame");
    let sealed = |text: &str| given(text, &fine).with("key.pem", sealed.as_bytes());
    let with_file = format!("{BOTH}passphrase_file = \"pass\"\n");
    sealed(&with_file).with("pass", b"open sesame\n").fine();
    let settings = sealed(BOTH).variable("SC_TLS_PASSPHRASE", "open sesame").fine();
    assert!(!settings.given.contains_key("tls.passphrase"));

    sealed(BOTH).refused(&[
        "`tls.key`",
        "key.pem is encrypted, and there is no passphrase",
        "SC_TLS_PASSPHRASE",
    ]);
    for wrong in [&b"open"[..], b"open sesame \n"] {
        let wrong = sealed(&with_file).with("pass", wrong);
        wrong.refused(&["key.pem does not open with this passphrase"]);
    }
    sealed(BOTH).variable("SC_TLS_PASSPHRASE", "x").refused(&["does not open with this passphrase"]);
    sealed(&with_file).refused(&["`tls.passphrase_file`", "pass cannot be read"]);
    sealed(&with_file).with("pass", b"\n").refused(&["pass is empty"]);
    sealed(&format!("{BOTH}passphrase = \"open sesame\"\n"))
        .refused(&["a passphrase does not belong here", "passphrase_file"]);
}

#[test]
fn old_forms_of_keys_are_refused_with_what_converts_them() {
    let traditional = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    given(BOTH, &fine()).with("key.pem", traditional.as_bytes()).refused(&[
        "traditional form",
        "openssl pkcs8 -topk8 -v2 aes-256-cbc -in ",
        "key.pem -out key.pkcs8.pem",
    ]);
    let der = fine().key.serialize_der();
    given(BOTH, &fine()).with("key.pem", &der).refused(&["DER, not PEM", "openssl pkey -inform der -in"]);
    let damaged = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    given(BOTH, &fine())
        .with("key.pem", damaged.as_bytes())
        .variable("SC_TLS_PASSPHRASE", "x")
        .refused(&["encrypted in a way that is not supported", "openssl pkcs8 -topk8"]);
}

#[test]
fn what_no_client_could_accept_is_refused() {
    given(BOTH, &made("a.org", -90, -1)).refused(&["`tls.certificate`", "expired at 20", "renewed"]);
    given(BOTH, &made("a.org", 1, 90)).refused(&["not valid before 20", "clock"]);
    let other = fine().key.serialize_pem();
    given(BOTH, &fine()).with("key.pem", other.as_bytes()).refused(&[
        "`tls.key`",
        "the key belongs to another certificate",
        "openssl x509 -noout -pubkey",
    ]);
    given(BOTH, &fine())
        .with("cert.pem", b"")
        .refused(&["cert.pem holds no certificate", "BEGIN CERTIFICATE"]);
    given(BOTH, &fine()).with("key.pem", b"").refused(&["key.pem holds no private key"]);
    given("[tls]\ncertificate = \"no.pem\"\nkey = \"key.pem\"\n", &fine())
        .refused(&["no.pem cannot be read: No such file"]);
    given("[tls]\ncertificate = \"a.p12\"\nkey = \"a.p12\"\n", &fine())
        .with("a.p12", b"\x30\x82")
        .refused(&["a PKCS#12 archive", "openssl pkcs12"]);
    let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    given(BOTH, &fine())
        .with("cert.pem", garbled.as_bytes())
        .refused(&["certificate 1 in the file is not one"]);
}

#[test]
fn who_only_looks_for_the_host_needs_no_certificate() {
    let expired = given(BOTH, &made("a.org", -90, -1));
    assert!(Given { mode: super::super::Mode::WithoutFiles, ..expired }.fine().tls.is_none());
}

#[test]
fn half_a_configuration_is_refused() {
    given("[tls]\ncertificate = \"cert.pem\"\n", &fine()).refused(&["no `tls.key`", "line 2"]);
    given("[tls]\nkey = \"key.pem\"\n", &fine()).refused(&["`tls.key` is given, and no `tls.certificate`"]);
    given("[tls]\nredirect_http = 80\n", &fine()).refused(&["`tls.redirect_http` is given"]);
    given(&format!("{BOTH}client_auth = \"required\"\n"), &fine()).refused(&["no `tls.client_ca`"]);
    given(&format!("{BOTH}client_ca = \"key.pem\"\n"), &fine())
        .refused(&["`tls.client_ca`", "holds no certificate"]);
    given(&format!("{BOTH}redirect_http = 8000\n"), &fine()).refused(&["the port that speaks TLS itself"]);
    given(&format!("{BOTH}redirect_http = 70000\n"), &fine()).refused(&["must be a port"]);
    given(&format!("{BOTH}min_version = \"1.1\"\n"), &fine()).refused(&["`tls.min_version` cannot be"]);
    given(&format!("{BOTH}handshake_timeout = \"1ms\"\n"), &fine()).refused(&["`tls.handshake_timeout`"]);
    given(&format!("{BOTH}[[tls.certificates]]\ncertificate = \"cert.pem\"\n"), &fine())
        .refused(&["an entry of `tls.certificates` needs"]);
    given(&format!("{BOTH}[[tls.certificates]]\ncertificat = \"cert.pem\"\n"), &fine())
        .refused(&["`tls.certificates.certificat`", "did you mean `certificate`?"]);
}

#[test]
fn what_will_be_trouble_is_a_warning() {
    let warns = |given: Given, said: &str| {
        let warnings = given.fine().warnings;
        assert!(warnings.iter().any(|warning| warning.contains(said)), "{said}: {warnings:?}");
    };
    warns(given(BOTH, &made("a.org", -80, 3)), "expires at 20");
    let one = fine();
    let mut stranger = CertificateParams::new(vec!["b.org".to_owned()]).unwrap();
    stranger.distinguished_name.push(rcgen::DnType::CommonName, "a stranger");
    let stranger = stranger.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let chain = format!("{}{stranger}", one.certificate);
    warns(
        given(BOTH, &one).with("cert.pem", chain.as_bytes()),
        "certificate 2 did not issue the one before it",
    );
    let folder = given(BOTH, &one);
    let key = folder.folder.path().join("key.pem");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    warns(folder, "chmod o-r");
}
