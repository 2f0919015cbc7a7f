//! Reading certificates and private keys from PEM, with errors that name the file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// The largest file of certificates and keys that is read, in bytes.
const LARGEST: u64 = 16 << 20;

/// All of a file, which may be a pipe: a shell's `<(command)` is one.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    read_all(file).map_err(|source| TlsError::Io { action: "read", file: file.into(), source })
}

/// The same, with the system's own error.
pub(super) fn read_all(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it has more than 16 MiB, as no file of certificates or keys has",
        )),
        false => Ok(bytes),
    }
}

/// All certificates in a file's text, in its order; at least one.
pub(super) fn certificates(
    file: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| damaged(file, error))?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { file: file.into() });
    }
    Ok(found)
}

/// The first private key in a file's text.
pub(super) fn private_key(file: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    if is_encrypted(text) {
        return Err(TlsError::EncryptedKey { file: file.into() });
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        Error::NoItemsFound => TlsError::NoKey { file: file.into() },
        other => damaged(file, other),
    })
}

/// PKCS #8 says so in the section's name, the older forms in a header inside of it.
fn is_encrypted(text: &[u8]) -> bool {
    let has = |mark: &[u8]| text.windows(mark.len()).any(|window| window == mark);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

fn damaged(file: &Path, error: Error) -> TlsError {
    let what = match error {
        Error::MissingSectionEnd { end_marker } => {
            let section = String::from_utf8_lossy(&end_marker);
            format!("the line \"-----END {section}-----\" is missing")
        }
        Error::IllegalSectionStart { .. } => {
            "a line that begins with \"-----BEGIN\" does not end with \"-----\"".to_owned()
        }
        other => other.to_string(),
    };
    TlsError::Damaged { file: file.into(), what }
}
