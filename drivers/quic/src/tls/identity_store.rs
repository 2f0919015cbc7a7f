//! The folder of a self-signed identity: made once, found again, renewed in time, and never left
//! half written.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::DnsName;
use time::OffsetDateTime;

use super::keys::Secret;
use super::x509::{SELF_SIGNED, Validity};
use super::{Fingerprint, Identity, TlsError, pem};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// For how long a self-signed certificate is valid: 14 days with its first and its last second, the
/// most that browsers take (`serverCertificateHashes` of WebTransport).
pub const LIFETIME: Duration = Duration::from_secs(14 * DAY.as_secs() - 1);

/// How long before its end a kept certificate is renewed: 3 days.
pub const RENEW_BEFORE: Duration = Duration::from_secs(3 * DAY.as_secs());

/// How much of its lifetime a new certificate has behind it, for peers whose clocks are slow: 1 hour.
pub const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// Certificate and private key.
const IDENTITY: &str = "identity.pem";

/// The secret that [`super::Keys`] are derived from.
const SECRET: &str = "quic.secret";

/// The file whose lock is held while one of the others is written.
const LOCK: &str = "lock";

impl Identity {
    /// A self-signed identity that is made once and kept in `folder`, which is made if it is not
    /// there. ECDSA on P-256, valid for [`LIFETIME`](super::LIFETIME), as browsers demand of
    /// certificates that they are to know by their hash.
    ///
    /// It is renewed, with a new private key, when it is valid for less than
    /// [`RENEW_BEFORE`](super::RENEW_BEFORE) from `now`, when it is not valid yet, or when `names`
    /// are not the names that it has. **With that its fingerprint changes.** Nothing renews it by
    /// itself: a process that runs for long calls this again at [`renewal`](Self::renewal) and puts
    /// the new configuration in ([`quinn_proto::Endpoint::set_server_config`]).
    ///
    /// The folder holds `identity.pem` (certificate and private key in one file, so that both
    /// change at once) and `quic.secret` (what the [`keys`](Self::keys) follow from; random, and never
    /// renewed, so that clients of an earlier run are told that it is over). Both are readable by their owner
    /// only, and each is replaced as a whole: a crash leaves the old or the new one. Processes that start at
    /// the same time take turns by a lock on the file `lock`, and end with one identity. Nothing is written
    /// while nothing has to be renewed: the folder may be read-only then.
    ///
    /// # Errors
    ///
    /// [`TlsError::Kept`] when one of the files is damaged, is no regular file, or is a certificate that
    /// was not made here: such a file is never overwritten. [`TlsError::Name`], [`TlsError::NoNames`] for
    /// names that no certificate can have; [`TlsError::Io`] for the folder.
    pub fn kept_in<N: AsRef<str>>(
        folder: &Path,
        names: &[N],
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let identity = find_or_make(folder, &read_names(names)?, now)?;
        let files = [folder.join(IDENTITY), folder.join(SECRET)];
        Ok(identity.exposed_at(files.iter().map(PathBuf::as_path).chain([folder])))
    }

    /// A self-signed identity for one run, as [`kept_in`](Self::kept_in) makes them.
    ///
    /// # Errors
    ///
    /// As there, but for the files.
    pub fn self_signed<N: AsRef<str>>(names: &[N], now: SystemTime) -> Result<Self, TlsError> {
        let text = make(&read_names(names)?, now)?;
        Self::from_text(Path::new("a new certificate"), text.as_bytes(), Secret::random()?)
    }

    /// From when on [`kept_in`](Self::kept_in) would renew this certificate.
    pub fn renewal(&self) -> SystemTime {
        let Validity { not_before, not_after } = self.validity();
        not_after.checked_sub(RENEW_BEFORE).unwrap_or(not_before)
    }
}

/// Names as a certificate has them: DNS names in lower case, which may begin with `*.`, and IP
/// addresses, in a fixed order, each once.
fn read_names<N: AsRef<str>>(names: &[N]) -> Result<BTreeSet<String>, TlsError> {
    let read = |name: &N| {
        let name = name.as_ref();
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(address.to_string());
        }
        // The dot of the root is for resolvers; certificates have none.
        DnsName::try_from(name.strip_prefix("*.").unwrap_or(name))
            .ok()
            .filter(|_| !name.ends_with('.'))
            .map(|_| name.to_ascii_lowercase())
            .ok_or_else(|| TlsError::Name { name: name.to_owned() })
    };
    let names: BTreeSet<String> = names.iter().map(read).collect::<Result<_, _>>()?;
    if names.is_empty() { Err(TlsError::NoNames) } else { Ok(names) }
}

fn find_or_make(
    folder: &Path,
    names: &BTreeSet<String>,
    now: SystemTime,
) -> Result<Identity, TlsError> {
    // Files only ever appear complete, so what is there can be read without a lock.
    if let Some(secret) = find_secret(folder)?
        && let Some(identity) = find_identity(folder, secret, names, now)?
    {
        return Ok(identity);
    }

    create_folder(folder)?;
    let path = folder.join(LOCK);
    let failed = |action| at(action, &path);
    is_there(&path)?;
    let file = writable().create(true).truncate(false).open(&path).map_err(failed("open"))?;
    let mut lock = fd_lock::RwLock::new(file);
    let _turn = lock.write().map_err(failed("lock"))?;

    // Somebody else may have had the turn before.
    let secret = match find_secret(folder)? {
        Some(secret) => secret,
        None => {
            let secret = Secret::random()?;
            replace(folder, SECRET, &secret.to_text())?;
            secret
        }
    };
    if let Some(identity) = find_identity(folder, secret, names, now)? {
        return Ok(identity);
    }
    let text = make(names, now)?;
    let identity = Identity::from_text(&folder.join(IDENTITY), text.as_bytes(), secret)?;
    replace(folder, IDENTITY, &text)?;
    Ok(identity)
}

/// The secret that is kept, if one is.
fn find_secret(folder: &Path) -> Result<Option<Secret>, TlsError> {
    let file = folder.join(SECRET);
    let Some(bytes) = read_if_there(&file)? else { return Ok(None) };
    let secret = Secret::from_text(&bytes);
    secret.map(Some).map_err(|what| kept(TlsError::Damaged { file, what }))
}

/// The identity that is kept, if there is one and it need not be renewed.
fn find_identity(
    folder: &Path,
    secret: Secret,
    names: &BTreeSet<String>,
    now: SystemTime,
) -> Result<Option<Identity>, TlsError> {
    let file = folder.join(IDENTITY);
    let Some(text) = read_if_there(&file)? else { return Ok(None) };
    let identity = Identity::from_text(&file, &text, secret).map_err(kept)?;
    if !identity.leaf().is_ours {
        let what = "it was not made here".to_owned();
        return Err(kept(TlsError::Certificate { file, what }));
    }
    let in_time = identity.validity().not_before <= now && now < identity.renewal();
    Ok((in_time && identity.leaf().names == *names).then_some(identity))
}

fn kept(source: TlsError) -> TlsError {
    TlsError::Kept { source: Box::new(source) }
}

/// A new self-signed certificate and its private key, as PEM.
fn make(names: &BTreeSet<String>, now: SystemTime) -> Result<String, TlsError> {
    let since_epoch = now.duration_since(UNIX_EPOCH).map_err(|_| TlsError::Clock)?;
    let date = |seconds: u64| {
        let seconds = i64::try_from(seconds).map_err(|_| TlsError::Clock)?;
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| TlsError::Clock)
    };
    let first = since_epoch.as_secs().saturating_sub(BACKDATED.as_secs());

    let names: Vec<String> = names.iter().cloned().collect();
    let mut certificate = CertificateParams::new(names).map_err(TlsError::Making)?;
    certificate.not_before = date(first)?;
    certificate.not_after = date(first.saturating_add(LIFETIME.as_secs()))?;
    certificate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // An endpoint may be a server to some and a client to others.
    certificate.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(TlsError::Making)?;
    // Each has a name of its own: a client that believes an older one is to find this one untrusted,
    // not wrongly signed by a namesake.
    let mark = Fingerprint::of_bytes(key.public_key_raw()).to_string();
    certificate.distinguished_name = DistinguishedName::new();
    let name = format!("{SELF_SIGNED} {}", &mark[..16]);
    certificate.distinguished_name.push(DnType::CommonName, name);

    let signed = certificate.self_signed(&key).map_err(TlsError::Making)?;
    Ok(signed.pem() + &key.serialize_pem())
}

/// A file's bytes, or nothing if there is no such file.
fn read_if_there(file: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    if !is_there(file)? {
        return Ok(None);
    }
    pem::read_all(file).map(Some).map_err(at("read", file))
}

/// Whether there is such a file. Nothing else is opened: a pipe would be waited for.
fn is_there(file: &Path) -> Result<bool, TlsError> {
    match file.metadata() {
        Ok(there) if there.is_file() => Ok(true),
        Ok(_) => {
            let what = "it is no regular file".to_owned();
            Err(kept(TlsError::Damaged { file: file.into(), what }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at("read", file)(error)),
    }
}

fn create_folder(folder: &Path) -> Result<(), TlsError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(at("make the folder", folder))
}

/// Puts a file in its place as a whole. Only who holds the lock does so.
fn replace(folder: &Path, name: &str, text: &str) -> Result<(), TlsError> {
    let new = folder.join(format!("{name}.new"));
    // A crash may have left one, made with other rights.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(at("remove", &new)(error));
        }
        _ => {}
    }
    let write = || {
        let mut file = writable().create_new(true).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    let file = folder.join(name);
    write().map_err(at("write", &file))?;
    fs::rename(&new, &file).map_err(at("write", &file))?;
    // A file is there after a power failure only if its folder's entry is.
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(at("sync", folder))?;
    }
    Ok(())
}

/// How files are opened for writing: for their owner only.
fn writable() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes an error of what the system says about a file.
fn at(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> TlsError {
    let file = file.to_owned();
    move |source| TlsError::Io { action, file, source }
}
