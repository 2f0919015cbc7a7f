//! The certificate of a listener that makes its own: a new one in time, for connections to come.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use gapless_quic::endpoint::Server;
use gapless_quic::tls::{ClientAuth, Identity};

use crate::args::Listen;
use crate::failure::Failure;
use crate::stream::tls;

/// How long to wait before it is tried again.
const LATER: Duration = Duration::from_secs(60 * 60);

/// A new certificate, and what serves with it.
type Renewed = Result<(Option<Server>, Identity), Failure>;

/// Renews a certificate.
pub(super) struct Renewal {
    args: Listen,
    clients: ClientAuth,
    /// When it is to be renewed next, if ever.
    at: Option<SystemTime>,
    renewing: Option<Receiver<Renewed>>,
}

impl Renewal {
    /// Of this identity, if it is one that is made here.
    pub(super) fn new(args: &Listen, clients: ClientAuth, identity: &Identity) -> Self {
        let at = args.cert.is_none().then(|| identity.renewal());
        Self { args: args.clone(), clients, at, renewing: None }
    }

    /// A new certificate, if there is one; begins to make it when it is time.
    ///
    /// # Errors
    /// It cannot be made; it is tried again later.
    pub(super) fn poll(&mut self) -> Result<Option<(Option<Server>, Identity)>, Failure> {
        if self.at.is_some_and(|at| SystemTime::now() >= at) {
            self.renewing = self.begin();
            // It is tried again if there was no thread.
            self.at = self.renewing.is_none().then(|| SystemTime::now() + LATER);
        }
        let renewed = self.renewing.as_ref().and_then(|renewing| renewing.try_recv().ok());
        let Some(renewed) = renewed else { return Ok(None) };
        self.renewing = None;
        let at = renewed.as_ref().map(|(_, identity)| identity.renewal());
        self.at = Some(at.unwrap_or_else(|_| SystemTime::now() + LATER));
        renewed.map(Some)
    }

    /// Makes it on a thread: the folder may be locked by somebody else, or its disk hang.
    fn begin(&self) -> Option<Receiver<Renewed>> {
        let (args, clients) = (self.args.clone(), self.clients.clone());
        let (done, result) = sync_channel(1);
        let renew = move || {
            let renewed = tls::identity(&args).and_then(|identity| {
                let config = tls::listening(&args, &identity, &clients)?;
                Ok((config.server, identity))
            });
            // The program may have come to its end.
            let _ = done.send(renewed);
        };
        thread::Builder::new().spawn(renew).ok().map(|_| result)
    }
}
