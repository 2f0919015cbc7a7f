//! The parts of a certificate that matter here: its dates, its names, and whether it is one of
//! those that are made here.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// From when to when a certificate is valid, both inclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// The first second.
    pub not_before: SystemTime,
    /// The last second.
    pub not_after: SystemTime,
}

/// The beginning of the common name of certificates that are made here, which distinguishes them.
pub(super) const SELF_SIGNED: &str = "gapless self-signed";

/// The fields of a certificate.
pub(super) struct Leaf {
    pub(super) validity: Validity,
    /// DNS names in lower case and IP addresses, from the subject's alternative names.
    pub(super) names: BTreeSet<String>,
    /// Whether it calls itself [`SELF_SIGNED`].
    pub(super) is_ours: bool,
}

/// Reads a certificate; says what is wrong with it.
pub(super) fn read(certificate: &CertificateDer<'_>) -> Result<Leaf, String> {
    let (rest, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| format!("it is not X.509 ({error})"))?;
    if !rest.is_empty() {
        return Err("bytes follow it".to_owned());
    }
    let validity = Validity {
        not_before: system_time(parsed.validity().not_before)?,
        not_after: system_time(parsed.validity().not_after)?,
    };
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| format!("its names cannot be read ({error})"))?
        .map(|names| names.value.general_names.iter().filter_map(name).collect())
        .unwrap_or_default();
    let called = |who: &x509_parser::x509::X509Name<'_>| {
        who.iter_common_name()
            .any(|name| name.as_str().is_ok_and(|name| name.starts_with(SELF_SIGNED)))
    };
    Ok(Leaf { validity, names, is_ours: called(parsed.subject()) && called(parsed.issuer()) })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match *name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn system_time(time: ASN1Time) -> Result<SystemTime, String> {
    let distance = Duration::from_secs(time.timestamp().unsigned_abs());
    let time = if time.timestamp() < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.ok_or_else(|| "its dates are beyond this system's".to_owned())
}
