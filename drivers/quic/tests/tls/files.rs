//! Identities from PEM files, and what is said of files that hold none.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use gapless_quic::tls::{Fingerprint, FingerprintError, Identity, TlsError, Warning};
use tempfile::TempDir;

use crate::{DAY, NAMES, assert_all_differ, identity, shown};

/// A certificate and its key, as two files.
struct Files {
    _folder: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(certificate: &str, key: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let files = Self {
            certificate: folder.path().join("certificate.pem"),
            key: folder.path().join("key.pem"),
            _folder: folder,
        };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        files
    }

    fn read(&self) -> Result<Identity, TlsError> {
        Identity::from_files(&self.certificate, &self.key)
    }
}

/// A pair of PEM texts that belong together: certificate, key.
fn pem_pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn a_certificate_and_its_key_are_an_identity() {
    let (certificate, key) = pem_pair();
    let files = Files::new(&certificate, &key);
    let identity = files.read().unwrap();
    assert_eq!(identity.fingerprint(), Fingerprint::of(&identity.chain()[0]));
    assert_eq!(identity.warning(SystemTime::now()), None);
}

#[test]
fn a_chain_is_written_as_it_was_read() {
    let (certificate, key) = pem_pair();
    let (issuer, _) = pem_pair();
    let identity = Files::new(&format!("{certificate}{issuer}"), &key).read().unwrap();
    let again = Files::new(&identity.chain_pem(), &key).read().unwrap();
    assert_eq!(again.chain().len(), 2);
    assert_eq!(again.chain(), identity.chain());
}

#[test]
fn both_may_be_in_one_file_with_text_around_them() {
    let (certificate, key) = pem_pair();
    let text = format!("a note\n{key}another\n{certificate}");
    assert!(Files::new(&text, &text).read().is_ok());
}

#[test]
fn an_identity_from_files_keeps_its_keys_as_long_as_its_private_key() {
    let (certificate, key) = pem_pair();
    let [one, again] = [(); 2].map(|()| Files::new(&certificate, &key).read().unwrap());
    assert_eq!(shown(&one.keys("an endpoint")), shown(&again.keys("an endpoint")));
    let (certificate, key) = pem_pair();
    let other = Files::new(&certificate, &key).read().unwrap();
    assert_all_differ(&one.keys("an endpoint"), &other.keys("an endpoint"));
}

#[test]
fn two_endpoints_of_one_identity_have_nothing_in_common() {
    let identity = identity();
    assert_all_differ(&identity.keys("one"), &identity.keys("two"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (certificate, key) = pem_pair();
    let files = Files::new(&certificate, &key);
    let error = Identity::from_files(&files.certificate, &files.key.with_extension("not")).err();
    let text = error.unwrap().to_string();
    assert!(text.contains("cannot read") && text.contains("key.not"), "{text}");
}

#[test]
fn a_file_without_a_certificate_is_distinguished_from_one_without_a_key() {
    let (certificate, key) = pem_pair();
    let error = Files::new(&key, &key).read().unwrap_err();
    assert!(matches!(error, TlsError::NoCertificate { .. }), "{error}");
    let error = Files::new(&certificate, &certificate).read().unwrap_err();
    assert!(matches!(error, TlsError::NoKey { .. }), "{error}");
}

#[test]
fn an_encrypted_key_is_reported_as_such_in_both_forms() {
    let (certificate, key) = pem_pair();
    let eight = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let old = key.replace("PRIVATE KEY", "RSA PRIVATE KEY").replace(
        "BEGIN RSA PRIVATE KEY-----\n",
        "BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n",
    );
    for key in [eight, old] {
        let error = Files::new(&certificate, &key).read().unwrap_err();
        assert!(matches!(error, TlsError::EncryptedKey { .. }), "{error}");
    }
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let (certificate, _) = pem_pair();
    let (_, key) = pem_pair();
    let error = Files::new(&certificate, &key).read().unwrap_err();
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
}

#[test]
fn a_chain_that_does_not_begin_with_the_own_certificate_is_refused() {
    let (certificate, key) = pem_pair();
    let (other, _) = pem_pair();
    let error = Files::new(&(other + &certificate), &key).read().unwrap_err();
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
}

#[test]
fn a_certificate_that_was_cut_is_damaged() {
    let (certificate, key) = pem_pair();
    let error = Files::new(&certificate[..certificate.len() / 2], &key).read().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, TlsError::Damaged { .. }), "{text}");
    assert!(text.contains("-----END CERTIFICATE-----"), "{text}");
}

#[test]
fn what_is_no_certificate_inside_of_its_pem_cannot_be_used() {
    let (_, key) = pem_pair();
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = Files::new(certificate, &key).read().unwrap_err();
    assert!(matches!(error, TlsError::Certificate { .. }), "{error}");
}

#[test]
fn what_is_no_key_inside_of_its_pem_cannot_be_used() {
    let (certificate, _) = pem_pair();
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let error = Files::new(&certificate, key).read().unwrap_err();
    assert!(matches!(error, TlsError::Key { .. }), "{error}");
}

#[test]
fn a_certificate_is_warned_of_before_its_first_and_after_its_last_second() {
    let identity = identity();
    let validity = identity.validity();
    let second = Duration::from_secs(1);
    assert_eq!(identity.warning(validity.not_before), None);
    assert_eq!(identity.warning(validity.not_after), None);
    assert_eq!(
        identity.warning(validity.not_before - second),
        Some(Warning::NotYetValid { until: second })
    );
    assert_eq!(
        identity.warning(validity.not_after + 3 * DAY),
        Some(Warning::Expired { since: 3 * DAY })
    );
    let text = identity.warning(validity.not_after + 3 * DAY).unwrap().to_string();
    assert_eq!(text, "the certificate expired 3 days ago");
}

#[test]
fn names_that_no_certificate_can_have_are_refused() {
    let now = SystemTime::now();
    for name in ["", "a b", "-", "host:80", "*", "localhost.", "ex*mple.org"] {
        let error = Identity::self_signed(&[name], now).unwrap_err();
        assert!(matches!(error, TlsError::Name { .. }), "{name:?}: {error}");
    }
    let none: [&str; 0] = [];
    assert!(matches!(Identity::self_signed(&none, now), Err(TlsError::NoNames)));
    assert!(Identity::self_signed(&["*.example.org", "::1", "127.0.0.1"], now).is_ok());
    assert!(Identity::self_signed(&NAMES, SystemTime::UNIX_EPOCH).is_ok());
}

#[test]
fn times_that_no_certificate_can_have_are_refused() {
    let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let late = SystemTime::UNIX_EPOCH + 366 * 10_000 * DAY;
    for now in [early, late] {
        assert!(matches!(Identity::self_signed(&NAMES, now), Err(TlsError::Clock)));
    }
}

#[test]
fn a_fingerprint_is_read_as_it_is_written_and_as_openssl_writes_it() {
    let fingerprint = identity().fingerprint();
    let plain = fingerprint.to_string();
    assert_eq!(plain.len(), 64);
    assert_eq!(plain, plain.to_lowercase());
    let pairs: Vec<&str> = (0..32).map(|at| &plain[2 * at..2 * at + 2]).collect();
    let colons = pairs.join(":").to_uppercase();
    for written in [plain, colons] {
        assert_eq!(written.parse(), Ok(fingerprint), "{written}");
    }
}

#[test]
fn what_is_no_fingerprint_is_refused_for_what_is_wrong_with_it() {
    let plain = Fingerprint([0xab; 32]).to_string();
    let parse = |text: &str| text.parse::<Fingerprint>().unwrap_err();
    assert_eq!(parse(""), FingerprintError::Length { digits: 0 });
    assert_eq!(parse(&plain[1..]), FingerprintError::Length { digits: 63 });
    assert_eq!(parse(&format!("{plain}0")), FingerprintError::Length { digits: 65 });
    assert_eq!(parse(&plain.replacen('b', "g", 1)), FingerprintError::Digit { found: 'g' });
    assert_eq!(parse(&plain.replacen('b', "é", 1)), FingerprintError::Digit { found: 'é' });
    assert_eq!(parse(&plain.replacen("ab", "ab:", 1)), FingerprintError::Colons);
    assert_eq!(parse(&plain.replace('b', ":b")), FingerprintError::Colons);
}
