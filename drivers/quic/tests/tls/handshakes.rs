//! Every trust takes whom it should and refuses whom it must.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use gapless_quic::tls::{
    Cause, ClientAuth, ClientTrust, Identity, Noticed, TlsError, Trust, client_config,
    server_config,
};
use tempfile::TempDir;

use crate::pair::{End, Pair, Setting};
use crate::{DAY, NAMES, identity};

/// A folder with an authority's certificate, `ca.pem`, and identities that it has signed.
struct Authority {
    folder: TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        Self::called("an authority")
    }

    fn called(name: &str) -> Self {
        let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
        ca.distinguished_name.push(rcgen::DnType::CommonName, name);
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: rcgen::Issuer::new(ca, key) }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn signs(&self, name: &str) -> Identity {
        let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = leaf.signed_by(&key, &self.issuer).unwrap();
        let [chain, private] = ["chain.pem", "key.pem"].map(|file| self.folder.path().join(file));
        std::fs::write(&chain, certificate.pem()).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        Identity::from_files(&chain, &private).unwrap()
    }
}

/// An identity's certificate as a PEM file of its own.
fn certificate_file(folder: &TempDir, identity: &Identity) -> PathBuf {
    let file = folder.path().join("certificate.pem");
    std::fs::write(&file, identity.chain_pem()).unwrap();
    file
}

fn refused_by_client(pair: &Pair) -> Option<Cause> {
    let [client, server] = [&pair.client, &pair.server].map(End::failure);
    assert_eq!(client.map(|failure| failure.noticed), Some(Noticed::Here));
    assert_eq!(server.map(|failure| failure.noticed), Some(Noticed::Peer));
    assert_eq!(client.map(|failure| failure.cause), server.map(|failure| failure.cause));
    client.map(|failure| failure.cause)
}

fn refused_by_server(pair: &Pair) -> Option<Cause> {
    let [client, server] = [&pair.client, &pair.server].map(End::failure);
    assert_eq!(client.map(|failure| failure.noticed), Some(Noticed::Peer));
    assert_eq!(server.map(|failure| failure.noticed), Some(Noticed::Here));
    assert_eq!(client.map(|failure| failure.cause), server.map(|failure| failure.cause));
    server.map(|failure| failure.cause)
}

#[test]
fn a_pinned_server_is_believed_and_its_fingerprint_and_protocol_are_reported() {
    let server = identity();
    let pair = Setting::new(server.clone()).meet();
    assert!(pair.is_up());
    assert_eq!(pair.client.peer(), Some(server.fingerprint()));
    assert_eq!(pair.server.peer(), None);
    assert_eq!(pair.client.protocol().as_deref(), Some(&b"gapless/1"[..]));
    assert_eq!(pair.server.protocol().as_deref(), Some(&b"gapless/1"[..]));
}

#[test]
fn a_pinned_server_is_believed_under_any_name_and_after_its_last_day() {
    let server = Identity::self_signed(&NAMES, SystemTime::now() - 100 * DAY).unwrap();
    assert!(Setting { name: "other.example", ..Setting::new(server) }.meet().is_up());
}

#[test]
fn a_server_that_is_not_the_pinned_one_is_refused_and_its_fingerprint_is_reported() {
    let server = identity();
    let presented = server.fingerprint();
    let trust = Trust::Pinned(identity().fingerprint());
    let pair = Setting { trust, ..Setting::new(server) }.meet();
    assert_eq!(refused_by_client(&pair), Some(Cause::NotPinned { presented }));
}

#[test]
fn a_server_that_a_file_s_authority_has_signed_is_believed() {
    let authority = Authority::new();
    let trust = Trust::File(authority.file());
    assert!(Setting { trust, ..Setting::new(authority.signs("localhost")) }.meet().is_up());
}

#[test]
fn a_server_that_another_authority_has_signed_is_refused() {
    let other = Authority::called("another authority");
    let trust = Trust::File(other.file());
    let server = Authority::new().signs("localhost");
    let pair = Setting { trust, ..Setting::new(server) }.meet();
    assert_eq!(refused_by_client(&pair), Some(Cause::Untrusted));
}

#[test]
fn a_server_that_a_namesake_of_the_authority_has_signed_is_refused_for_its_signature() {
    let [one, other] = [Authority::called("one name"), Authority::called("one name")];
    let trust = Trust::File(one.file());
    let pair = Setting { trust, ..Setting::new(other.signs("localhost")) }.meet();
    assert_eq!(refused_by_client(&pair), Some(Cause::BadSignature));
}

#[test]
fn a_self_signed_server_is_not_believed_by_an_older_certificate_of_its_own() {
    let folder = TempDir::new().unwrap();
    let trust = Trust::File(certificate_file(&folder, &identity()));
    let pair = Setting { trust, ..Setting::new(identity()) }.meet();
    assert_eq!(refused_by_client(&pair), Some(Cause::Untrusted));
}

#[test]
fn a_server_of_another_name_is_refused() {
    let authority = Authority::new();
    let trust = Trust::File(authority.file());
    let pair = Setting { trust, ..Setting::new(authority.signs("other.example")) }.meet();
    assert_eq!(refused_by_client(&pair), Some(Cause::WrongName));
}

#[test]
fn a_self_signed_server_is_believed_by_its_certificate_in_a_file_under_each_of_its_names() {
    let (folder, server) = (TempDir::new().unwrap(), identity());
    for name in NAMES {
        let trust = Trust::File(certificate_file(&folder, &server));
        assert!(Setting { trust, name, ..Setting::new(server.clone()) }.meet().is_up(), "{name}");
    }
}

#[test]
fn a_self_signed_server_in_a_file_is_refused_under_another_name() {
    let (folder, server) = (TempDir::new().unwrap(), identity());
    let trust = Trust::File(certificate_file(&folder, &server));
    let pair = Setting { trust, name: "127.0.0.2", ..Setting::new(server) }.meet();
    assert_eq!(refused_by_client(&pair), Some(Cause::WrongName));
}

#[test]
fn a_server_s_certificate_that_is_not_of_today_is_refused_unless_pinned() {
    let now = SystemTime::now();
    let folder = TempDir::new().unwrap();
    for (made, cause) in [(now - 20 * DAY, Cause::Expired), (now + DAY, Cause::NotYetValid)] {
        let server = Identity::self_signed(&NAMES, made).unwrap();
        let trust = Trust::File(certificate_file(&folder, &server));
        let pair = Setting { trust, ..Setting::new(server) }.meet();
        assert_eq!(refused_by_client(&pair), Some(cause));
    }
}

/// Where a test finds its files when it runs once more, in a process of its own.
const FOLDER: &str = "GAPLESS_TEST_FOLDER";

/// Runs a test once more, in a process whose system has the authorities of `roots` in `folder`.
fn run_again(test: &str, folder: &Path, roots: &str) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test])
        .env(FOLDER, folder)
        .env("SSL_CERT_FILE", folder.join(roots))
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_server_that_an_authority_of_the_system_has_signed_is_believed_and_another_is_refused() {
    if let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) {
        let [chain, key] = ["chain.pem", "key.pem"].map(|file| folder.join(file));
        let server = Identity::from_files(&chain, &key).unwrap();
        assert!(Setting { trust: Trust::System, ..Setting::new(server) }.meet().is_up());
        let pair = Setting { trust: Trust::System, ..Setting::new(identity()) }.meet();
        assert_eq!(refused_by_client(&pair), Some(Cause::Untrusted));
        return;
    }
    let authority = Authority::new();
    authority.signs("localhost");
    run_again(
        "handshakes::\
         a_server_that_an_authority_of_the_system_has_signed_is_believed_and_another_is_refused",
        authority.folder.path(),
        "ca.pem",
    );
}

#[test]
fn a_system_without_authorities_is_reported_as_such() {
    if env::var_os(FOLDER).is_some() {
        let error = client_config(&Trust::System, &[b"gapless/1"], None).err().unwrap();
        assert!(matches!(error, TlsError::NoSystemRoots { .. }), "{error}");
        assert!(error.to_string().contains("none.pem"), "{error}");
        return;
    }
    let folder = TempDir::new().unwrap();
    run_again(
        "handshakes::a_system_without_authorities_is_reported_as_such",
        folder.path(),
        "none.pem",
    );
}

#[test]
fn an_insecure_client_believes_anybody() {
    let server = Identity::self_signed(&["other.example"], SystemTime::now() - 100 * DAY).unwrap();
    assert!(Setting { trust: Trust::Insecure, ..Setting::new(server) }.meet().is_up());
}

#[test]
fn a_protocol_that_is_not_served_is_refused() {
    let pair = Setting { offered: b"other/1", ..Setting::new(identity()) }.meet();
    assert_eq!(refused_by_server(&pair), Some(Cause::NoCommonProtocol));
    assert!(!pair.client.connected);
}

#[test]
fn protocols_need_a_name_of_1_to_255_bytes() {
    let long = [0; 256];
    for (protocols, length) in [(vec![&b""[..]], 0), (vec![b"ok", &long[..]], 256)] {
        let refused = server_config(&identity(), &protocols, &ClientAuth::None).err();
        assert!(matches!(refused, Some(TlsError::Protocol { length: sent }) if sent == length));
        let refused = client_config(&Trust::Insecure, &protocols, None).err();
        assert!(matches!(refused, Some(TlsError::Protocol { length: sent }) if sent == length));
    }
    let none: [&[u8]; 0] = [];
    let refused = server_config(&identity(), &none, &ClientAuth::None).err();
    assert!(matches!(refused, Some(TlsError::NoProtocols)));
}

#[test]
fn a_pinned_client_is_believed_and_its_fingerprint_is_reported() {
    let client = identity();
    let clients = ClientAuth::Required(ClientTrust::Pinned(vec![
        identity().fingerprint(),
        client.fingerprint(),
    ]));
    let pair = Setting { clients, client: Some(client.clone()), ..Setting::new(identity()) }.meet();
    assert!(pair.is_up());
    assert_eq!(pair.server.peer(), Some(client.fingerprint()));
}

#[test]
fn a_client_that_is_not_pinned_is_refused_even_if_certificates_are_optional() {
    let client = identity();
    let pins = ClientTrust::Pinned(vec![identity().fingerprint()]);
    for clients in [ClientAuth::Optional(pins.clone()), ClientAuth::Required(pins)] {
        let client = Some(client.clone());
        let presented = client.as_ref().unwrap().fingerprint();
        let pair = Setting { clients, client, ..Setting::new(identity()) }.meet();
        assert_eq!(refused_by_server(&pair), Some(Cause::NotPinned { presented }));
    }
}

#[test]
fn a_client_without_a_certificate_is_taken_where_it_is_optional_and_refused_where_not() {
    let authority = Authority::new();
    let by_file = ClientTrust::File(authority.file());
    let by_pin = ClientTrust::Pinned(vec![identity().fingerprint()]);
    for trust in [by_file, by_pin] {
        let clients = ClientAuth::Optional(trust.clone());
        let pair = Setting { clients, ..Setting::new(identity()) }.meet();
        assert!(pair.is_up());
        assert_eq!(pair.server.peer(), None);

        let clients = ClientAuth::Required(trust);
        let pair = Setting { clients, ..Setting::new(identity()) }.meet();
        assert_eq!(refused_by_server(&pair), Some(Cause::NoCertificate));
    }
}

#[test]
fn a_client_that_a_file_s_authority_has_signed_is_believed_and_another_is_refused() {
    let authority = Authority::new();
    let clients = ClientAuth::Required(ClientTrust::File(authority.file()));
    let client = Some(authority.signs("client.example"));
    let setting = Setting { clients, client, ..Setting::new(identity()) };
    assert!(setting.meet().is_up());

    let pair = Setting { client: Some(identity()), ..setting }.meet();
    assert_eq!(refused_by_server(&pair), Some(Cause::Untrusted));
}

#[test]
fn an_empty_list_of_pins_is_refused() {
    let clients = ClientAuth::Optional(ClientTrust::Pinned(vec![]));
    let refused = server_config(&identity(), &[b"gapless/1"], &clients).err();
    assert!(matches!(refused, Some(TlsError::NoPins)));
}

#[test]
fn a_file_of_authorities_without_any_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "no certificate").unwrap();
    let refused = client_config(&Trust::File(file), &[b"gapless/1"], None).err();
    assert!(matches!(refused, Some(TlsError::NoCertificate { .. })));
}

#[test]
fn a_client_of_a_server_that_was_restarted_from_its_folder_learns_it_at_its_next_packet() {
    let folder = TempDir::new().unwrap();
    let kept = || Identity::kept_in(folder.path(), &NAMES, SystemTime::now()).unwrap();
    let setting = Setting::new(kept());
    let mut pair = setting.meet();
    assert!(pair.is_up());

    pair.server = End::server(&Setting::new(kept()));
    pair.ping();
    pair.run();
    assert_eq!(pair.client.end, Some(quinn_proto::ConnectionError::Reset));
}

#[test]
fn a_client_of_a_server_with_other_keys_does_not_learn_of_its_restart() {
    let mut pair = Setting::new(identity()).meet();
    pair.server = End::server(&Setting::new(identity()));
    pair.ping();
    pair.run();
    assert_eq!(pair.client.end, None);
}
