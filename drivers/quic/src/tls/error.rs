//! Errors of files, names and configurations, before any connection.

use std::io;
use std::path::PathBuf;

/// Why an identity, a trust or a configuration cannot be had.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file or folder cannot be read, made or written.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        /// The step that failed.
        action: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file has no certificate in it.
    #[error("{} holds no certificate (in PEM: \"-----BEGIN CERTIFICATE-----\")", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// A file has no private key in it.
    #[error("{} holds no private key (in PEM: \"-----BEGIN PRIVATE KEY-----\")", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// A private key is locked with a passphrase.
    #[error(
        "the private key in {} is encrypted: decrypt it first \
         (openssl pkey -in encrypted.pem -out key.pem)",
        file.display()
    )]
    EncryptedKey {
        /// The file.
        file: PathBuf,
    },
    /// A file is damaged, or is not PEM.
    #[error("{} is damaged: {what}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The reason.
        what: String,
    },
    /// A certificate is not one that can be used.
    #[error("the certificate in {} cannot be used: {what}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// The reason.
        what: String,
    },
    /// A private key is not one that can be used.
    #[error("the private key in {} cannot be used: {source}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// The error of rustls.
        source: rustls::Error,
    },
    /// The private key is another certificate's.
    #[error(
        "the private key in {} does not belong to the first certificate in {} \
         (a chain begins with the endpoint's own certificate)",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A file in a folder for kept identities is there, but is not what was left in it.
    #[error(
        "{source}; a file that is kept is never overwritten when it cannot be understood: \
         move it away to have a new one made"
    )]
    Kept {
        /// The fault of the file.
        source: Box<TlsError>,
    },
    /// Neither a DNS name nor an IP address.
    #[error("{name:?} is neither a DNS name nor an IP address")]
    Name {
        /// The value that was given.
        name: String,
    },
    /// A self-signed certificate needs a name.
    #[error("a self-signed certificate needs at least one DNS name or IP address")]
    NoNames,
    /// The time is one that certificates cannot express.
    #[error("the clock shows a time that no certificate can have")]
    Clock,
    /// A self-signed certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Making(#[source] rcgen::Error),
    /// The system gave no random bytes.
    #[error("the system has no randomness to make keys from")]
    Random,
    /// The system has no certificates of authorities that can be used.
    #[error("the system has no usable certificates of authorities{}", because(failures))]
    NoSystemRoots {
        /// The errors of loading them, one text each.
        failures: Vec<String>,
    },
    /// No fingerprint was given where clients are known by their fingerprints.
    #[error("no fingerprint of a client's certificate is given: nobody could connect")]
    NoPins,
    /// No application protocol was given: QUIC demands one (RFC 9001 8.1).
    #[error("no application protocol (ALPN) is given")]
    NoProtocols,
    /// An application protocol's name has 1 to 255 bytes (RFC 7301 3.1).
    #[error("the name of an application protocol (ALPN) has 1 to 255 bytes, not {length}")]
    Protocol {
        /// How many bytes the name has.
        length: usize,
    },
    /// rustls refused a configuration.
    #[error("TLS cannot be configured so: {0}")]
    Configuration(String),
}

/// The error, as the end of a sentence.
fn because(failures: &[String]) -> String {
    if failures.is_empty() { String::new() } else { format!(": {}", failures.join("; ")) }
}
