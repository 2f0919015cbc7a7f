//! Identity and trust, as the command line says it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use gapless_quic::tagged::PROTOCOL;
use gapless_quic::tls::{
    ClientAuth, ClientTrust, Identity, Keys, Trust, client_config, endpoint_config, server_config,
};
use gapless_quic::{ClientConfig, endpoint};

use crate::args::{Listen, Send};
use crate::failure::Failure;
use crate::io::patience::say;

/// The name that every self-signed certificate is good for.
const LOCALHOST: &str = "localhost";

/// The identity of a listener.
///
/// # Errors
/// Its files cannot be read or written, or make no sense.
pub(super) fn identity(args: &Listen) -> Result<Identity, Failure> {
    if let (Some(cert), Some(key)) = (&args.cert, &args.key) {
        return Ok(Identity::from_files(cert, key)?);
    }
    let folder = match &args.identity {
        Some(folder) => folder.clone(),
        None => data_folder().ok_or_else(|| {
            Failure::usage("there is no home folder to keep the certificate in")
                .advise("name a folder with --identity DIR")
        })?,
    };
    let names: Vec<&str> =
        std::iter::once(LOCALHOST).chain(args.name.iter().map(String::as_str)).collect();
    Ok(Identity::kept_in(&folder, &names, SystemTime::now())?)
}

/// Warns of what peers will refuse, and of a private key that others can read.
pub(super) fn warn(identity: &Identity) {
    if let Some(warning) = identity.warning(SystemTime::now()) {
        say(format_args!("warning: {warning}"));
    }
    for exposed in identity.exposed() {
        say(format_args!("warning: {exposed}"));
    }
}

/// Where a user's certificate is kept.
fn data_folder() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let data = std::env::var_os("XDG_DATA_HOME").and_then(|path| absolute(path.into()));
    let data = data.or_else(|| Some(absolute(std::env::home_dir()?)?.join(".local/share")))?;
    Some(data.join("gapless").join("identity"))
}

/// Which clients a listener takes. A file of authorities is read here, and only here.
///
/// # Errors
/// The file of the clients' authorities cannot be read.
pub(super) fn clients(args: &Listen) -> Result<ClientAuth, Failure> {
    Ok(match (&args.client_ca, &args.client_pin[..]) {
        (Some(file), _) => ClientAuth::Required(ClientTrust::read(file)?),
        (None, []) => ClientAuth::None,
        (None, pins) => ClientAuth::Required(ClientTrust::Pinned(pins.to_vec())),
    })
}

/// The configuration of a listener's endpoint.
///
/// # Errors
/// The clients' authorities make no sense.
pub(super) fn listening(
    args: &Listen,
    identity: &Identity,
    clients: &ClientAuth,
) -> Result<endpoint::Config, Failure> {
    // A client of a port of the system's choice cannot come back after a restart.
    let keys = match args.listen.port() {
        0 => Keys::random()?,
        _ => identity.keys(&args.listen.to_string()),
    };
    let server = server_config(identity, &[PROTOCOL], clients)?;
    let mut config = with(endpoint_config(&keys, Some(server)), args.idle.idle_timeout);
    config.limits.max_connections = args.max_connections as usize;
    config.limits.max_memory = args.max_memory;
    Ok(config)
}

/// The configuration of a sender's endpoint, and of its connections.
///
/// # Errors
/// A file cannot be read or makes no sense, or the system has no authorities.
pub(super) fn sending(args: &Send) -> Result<(endpoint::Config, ClientConfig), Failure> {
    let trust = match (&args.ca, args.pin, args.insecure) {
        (Some(file), ..) => Trust::File(file.clone()),
        (None, Some(pin), _) => Trust::Pinned(pin),
        (None, None, true) => {
            say("warning: --insecure: whoever is on the path can read and change everything");
            Trust::Insecure
        }
        (None, None, false) => Trust::System,
    };
    let identity = match (&args.client_cert, &args.client_key) {
        (Some(cert), Some(key)) => Some(Identity::from_files(cert, key)?),
        _ => None,
    };
    identity.iter().for_each(warn);
    let crypto = client_config(&trust, &[PROTOCOL], identity.as_ref())?;
    let mut config = with(endpoint_config(&Keys::random()?, None), args.idle.idle_timeout);
    config.limits.max_memory = args.max_memory;
    // Its own deadline is for all attempts together, and may be longer.
    config.transport.handshake_timeout = Duration::ZERO;
    Ok((config, ClientConfig::new(crypto)))
}

/// An endpoint's configuration with what the command line says.
fn with(mut config: endpoint::Config, idle: Duration) -> endpoint::Config {
    config.transport.idle_timeout = idle;
    // Often enough that one may get lost.
    config.transport.keep_alive = idle / 3;
    config
}
