//! An identity that is kept in a folder: made once, found again, renewed in time.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, SystemTime};

use gapless_quic::tls::{BACKDATED, Identity, Keys, LIFETIME, RENEW_BEFORE, TlsError};
use tempfile::TempDir;

use crate::{DAY, NAMES, assert_all_differ, shown};

const SECOND: Duration = Duration::from_secs(1);

fn kept(folder: &Path, now: SystemTime) -> Identity {
    Identity::kept_in(folder, &NAMES, now).unwrap()
}

fn keys(identity: &Identity) -> Keys {
    identity.keys("an endpoint")
}

#[test]
fn a_kept_identity_is_the_same_after_a_restart_with_all_its_keys() {
    let folder = TempDir::new().unwrap();
    let now = SystemTime::now();
    let (first, second) = (kept(folder.path(), now), kept(folder.path(), now + DAY));
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_eq!(first.private_key().secret_der(), second.private_key().secret_der());
    assert_eq!(shown(&keys(&first)), shown(&keys(&second)));
}

#[test]
fn two_folders_have_nothing_in_common() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let now = SystemTime::now();
    let (one, two) = (kept(one.path(), now), kept(two.path(), now));
    assert_ne!(one.fingerprint(), two.fingerprint());
    assert_all_differ(&keys(&one), &keys(&two));
}

#[test]
fn a_folder_is_made_with_those_above_it() {
    let folder = TempDir::new().unwrap();
    let deep = folder.path().join("one/two");
    kept(&deep, SystemTime::now());
    assert!(deep.join("identity.pem").is_file());
}

#[test]
fn a_kept_certificate_is_what_browsers_take_by_its_hash() {
    use x509_parser::prelude::{FromDer, X509Certificate};

    let folder = TempDir::new().unwrap();
    let identity = kept(folder.path(), SystemTime::now());
    let validity = identity.validity();
    let span = validity.not_after.duration_since(validity.not_before).unwrap();
    // Both its first and its last second count.
    assert!(span + SECOND <= 14 * DAY, "{span:?}");
    assert_eq!(span, LIFETIME);

    let (_, parsed) = X509Certificate::from_der(&identity.chain()[0]).unwrap();
    assert_eq!(parsed.version(), x509_parser::x509::X509Version::V3);
    let key = parsed.public_key();
    assert_eq!(key.algorithm.algorithm.to_string(), "1.2.840.10045.2.1"); // ecPublicKey
    let curve = key.algorithm.parameters.as_ref().unwrap().as_oid().unwrap();
    assert_eq!(curve.to_string(), "1.2.840.10045.3.1.7"); // prime256v1
}

#[test]
fn a_new_certificate_is_valid_for_peers_whose_clocks_are_slow() {
    let now = SystemTime::now();
    let folder = TempDir::new().unwrap();
    assert_eq!(kept(folder.path(), now).warning(now - BACKDATED + SECOND), None);
}

#[test]
fn a_certificate_is_renewed_three_days_before_its_end_and_the_keys_are_not() {
    let folder = TempDir::new().unwrap();
    let first = kept(folder.path(), SystemTime::now());
    let due = first.validity().not_after - RENEW_BEFORE;
    assert_eq!(due, first.renewal());

    assert_eq!(kept(folder.path(), due - SECOND).fingerprint(), first.fingerprint());
    let renewed = kept(folder.path(), due);
    assert_ne!(renewed.fingerprint(), first.fingerprint());
    assert_ne!(renewed.private_key().secret_der(), first.private_key().secret_der());
    assert!(renewed.renewal() > due);
    assert_eq!(shown(&keys(&renewed)), shown(&keys(&first)));
    assert_eq!(kept(folder.path(), due).fingerprint(), renewed.fingerprint());
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_renewed() {
    let folder = TempDir::new().unwrap();
    let now = SystemTime::now();
    let ahead = kept(folder.path(), now + 30 * DAY);
    let today = kept(folder.path(), now);
    assert_ne!(today.fingerprint(), ahead.fingerprint());
    assert_eq!(today.warning(now), None);
}

#[test]
fn a_certificate_is_renewed_for_other_names_but_not_for_the_same_ones_in_another_order() {
    let folder = TempDir::new().unwrap();
    let now = SystemTime::now();
    let with = |names: &[&str]| Identity::kept_in(folder.path(), names, now).unwrap().fingerprint();
    let first = with(&["localhost", "127.0.0.1", "::1"]);
    assert_eq!(first, with(&["0:0::1", "LOCALHOST", "127.0.0.1", "localhost"]));
    assert_ne!(first, with(&["localhost"]));
}

#[test]
fn processes_that_start_at_once_end_with_one_identity() {
    let folder = TempDir::new().unwrap();
    let now = SystemTime::now();
    // To make it, and to renew it.
    for now in [now, now + 12 * DAY] {
        let together = Barrier::new(8);
        let identities: Vec<Identity> = std::thread::scope(|scope| {
            let start = || {
                together.wait();
                kept(folder.path(), now)
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let on_disk = kept(folder.path(), now);
        for identity in &identities {
            assert_eq!(identity.fingerprint(), on_disk.fingerprint());
            assert_eq!(shown(&keys(identity)), shown(&keys(&on_disk)));
        }
    }
}

#[test]
fn a_kept_file_that_was_cut_is_refused_and_left_as_it_is() {
    let now = SystemTime::now();
    let folder = TempDir::new().unwrap();
    kept(folder.path(), now);
    for name in ["identity.pem", "quic.secret"] {
        let file = folder.path().join(name);
        let whole = fs::read(&file).unwrap();
        // The last byte ends the last line, which PEM can do without.
        for end in (0..whole.len() - 1).step_by(7) {
            fs::write(&file, &whole[..end]).unwrap();
            let error = Identity::kept_in(folder.path(), &NAMES, now).unwrap_err();
            assert!(matches!(error, TlsError::Kept { .. }), "{name} cut at {end}: {error}");
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(fs::read(&file).unwrap(), whole[..end]);
        }
        fs::write(&file, whole).unwrap();
    }
    kept(folder.path(), now);
}

#[test]
fn garbage_in_a_kept_file_is_refused_and_left_as_it_is() {
    let now = SystemTime::now();
    for name in ["identity.pem", "quic.secret"] {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join(name);
        fs::write(&file, b"\xff\0 garbage").unwrap();
        let error = Identity::kept_in(folder.path(), &NAMES, now).unwrap_err();
        assert!(matches!(error, TlsError::Kept { .. }), "{error}");
        assert_eq!(fs::read(&file).unwrap(), b"\xff\0 garbage");
    }
}

#[test]
fn somebody_else_s_certificate_in_the_folder_is_never_renewed() {
    let folder = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let text = made.cert.pem() + &made.signing_key.serialize_pem();
    let file = folder.path().join("identity.pem");
    fs::write(&file, &text).unwrap();
    let error = Identity::kept_in(folder.path(), &["localhost"], SystemTime::now()).unwrap_err();
    assert!(matches!(error, TlsError::Kept { .. }), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn nothing_is_written_while_nothing_has_to_be_renewed() {
    let folder = TempDir::new().unwrap();
    let now = SystemTime::now();
    kept(folder.path(), now);
    fs::remove_file(folder.path().join("lock")).unwrap();
    kept(folder.path(), now);
    assert!(!folder.path().join("lock").exists());
}

#[test]
fn a_folder_without_its_secret_gets_another_one_and_keeps_its_certificate() {
    let folder = TempDir::new().unwrap();
    let now = SystemTime::now();
    let first = kept(folder.path(), now);
    fs::remove_file(folder.path().join("quic.secret")).unwrap();
    let second = kept(folder.path(), now);
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_all_differ(&keys(&first), &keys(&second));
}

#[test]
fn what_a_crash_has_left_half_written_is_in_nobody_s_way() {
    let folder = TempDir::new().unwrap();
    for name in ["identity.pem.new", "quic.secret.new"] {
        fs::write(folder.path().join(name), "half").unwrap();
    }
    let now = SystemTime::now();
    let first = kept(folder.path(), now);
    assert_eq!(kept(folder.path(), now).fingerprint(), first.fingerprint());
    assert!(!folder.path().join("identity.pem.new").exists());
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_what_is_kept() {
    use std::os::unix::fs::PermissionsExt;

    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("inner");
    // Left by a crash, with rights for everybody.
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("identity.pem.new"), "half").unwrap();
    fs::set_permissions(inner.join("identity.pem.new"), PermissionsExt::from_mode(0o666)).unwrap();
    kept(&inner, SystemTime::now());
    for name in ["identity.pem", "quic.secret"] {
        let mode = fs::metadata(inner.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn files_that_others_can_read_or_change_are_reported() {
    use std::os::unix::fs::PermissionsExt;

    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("inner");
    let now = SystemTime::now();
    assert_eq!(kept(&inner, now).exposed(), []);
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    // A group may read it, as groups of services do.
    chmod(&inner.join("identity.pem"), 0o640);
    assert_eq!(kept(&inner, now).exposed(), []);
    chmod(&inner.join("identity.pem"), 0o644);
    chmod(&inner, 0o777);
    let text: Vec<String> = kept(&inner, now).exposed().iter().map(ToString::to_string).collect();
    let [file, place] = &text[..] else { panic!("{text:?}") };
    assert!(file.contains("identity.pem (its mode is 0644)"), "{file}");
    assert!(place.contains("inner (its mode is 0777)"), "{place}");
    // The same of a key that is a file of its own.
    let key = inner.join("identity.pem");
    let exposed_of_files = || Identity::from_files(&key, &key).unwrap().exposed().len();
    assert_eq!(exposed_of_files(), 2);
    // In a sticky folder, as /tmp is, nobody replaces what is another's.
    chmod(&inner, 0o1777);
    assert_eq!(exposed_of_files(), 1);
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_waited_for_and_not_read_without_end() {
    let now = SystemTime::now();
    for name in ["identity.pem", "quic.secret", "lock"] {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
        assert!(made.success());
        let error = Identity::kept_in(folder.path(), &NAMES, now).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("it is no regular file"), "{error}");
    }
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("identity.pem");
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    let error = Identity::kept_in(folder.path(), &NAMES, now).unwrap_err().to_string();
    assert!(error.contains("it is no regular file"), "{error}");
    let zero = Path::new("/dev/zero");
    let error = Identity::from_files(zero, zero).unwrap_err().to_string();
    assert!(error.contains("it has more than 16 MiB"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Identity::kept_in(&file.join("under"), &NAMES, SystemTime::now()).unwrap_err();
    assert!(matches!(&error, TlsError::Io { .. }), "{error}");
    assert!(error.to_string().contains("under"), "{error}");
}

#[test]
fn nothing_of_a_private_key_is_in_what_is_printed_for_debugging() {
    let folder = TempDir::new().unwrap();
    let identity = kept(folder.path(), SystemTime::now());
    let printed = format!("{identity:?} {:?}", keys(&identity));
    assert!(printed.contains(&identity.fingerprint().to_string()));
    assert!(!printed.contains(&keys(&identity).connection_id.to_string()));
    assert!(printed.len() < 300, "{printed}");
}
