//! The work of `gapless stream`, with the crate `quinn` on tokio: listens for one stream whose payload goes
//! to standard output, and sends a file.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use gapless_quic::tls::{self, ClientAuth, Identity, Trust};
use tokio::runtime::{Builder, Runtime};

const PROTOCOL: &[&[u8]] = &[b"gapless/1"];
const TAG: &[u8] = b"\x05bench";
/// Bytes of the file that are read at once.
const BLOCK: usize = 256 << 10;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

pub(crate) fn listen(identity: &Path) {
    let identity =
        Identity::kept_in(identity, &["localhost"], SystemTime::now()).expect("an identity");
    let crypto = tls::server_config(&identity, PROTOCOL, &ClientAuth::None).expect("TLS");
    let config = quinn::ServerConfig::with_crypto(crypto);
    runtime().block_on(async {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let endpoint = quinn::Endpoint::server(config, here).expect("a socket");
        eprintln!("{}", endpoint.local_addr().expect("an address"));
        let connection = endpoint.accept().await.expect("a client").await.expect("a connection");
        let (mut answer, mut stream) = connection.accept_bi().await.expect("a stream");
        let mut head = [0; TAG.len()];
        stream.read_exact(&mut head).await.expect("a preamble");
        assert_eq!(head, TAG);
        let mut out = std::io::stdout().lock();
        while let Some(chunk) = stream.read_chunk(usize::MAX, true).await.expect("more") {
            out.write_all(&chunk.bytes).expect("room");
        }
        answer.finish().expect("an end");
        connection.closed().await;
        endpoint.wait_idle().await;
    });
}

pub(crate) fn send(identity: &Path, to: SocketAddr, file: &Path) {
    let identity =
        Identity::kept_in(identity, &["localhost"], SystemTime::now()).expect("an identity");
    let trust = Trust::Pinned(identity.fingerprint());
    let crypto = tls::client_config(&trust, PROTOCOL, None).expect("TLS");
    let config = quinn::ClientConfig::new(crypto);
    let mut file = std::fs::File::open(file).expect("the file");
    runtime().block_on(async {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut endpoint = quinn::Endpoint::client(here).expect("a socket");
        endpoint.set_default_client_config(config);
        let connection =
            endpoint.connect(to, "localhost").expect("a name").await.expect("a server");
        let (mut stream, mut answer) = connection.open_bi().await.expect("a stream");
        stream.write_all(TAG).await.expect("a preamble");
        loop {
            let mut block = vec![0; BLOCK];
            let len = file.read(&mut block).expect("more of the file");
            if len == 0 {
                break;
            }
            block.truncate(len);
            stream.write_chunk(Bytes::from(block)).await.expect("credit");
        }
        stream.finish().expect("an end");
        assert_eq!(answer.read_chunk(usize::MAX, true).await.expect("an answer"), None);
        connection.close(0_u32.into(), b"");
        endpoint.wait_idle().await;
    });
}
