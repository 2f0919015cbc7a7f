//! tshark's dissector of MoldUDP64 reads what we publish: the same messages, and nothing wrong.

use std::io::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gapless_core::wire::mold::{Header, Kind};
use gapless_tests::program::Program;
use gapless_tests::{data, shared, skip};

/// Packets that begin with an IPv4 header (LINKTYPE_IPV4).
const IPV4: u32 = 228;
const PORT: u16 = 31_001;

/// Writes a capture of UDP datagrams, microseconds apart.
fn write_capture(path: &Path, datagrams: &[Vec<u8>]) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut header = 0xA1B2_C3D4_u32.to_le_bytes().to_vec();
    header.extend([2, 0, 4, 0]);
    header.extend([0; 8]);
    header.extend(65_535_u32.to_le_bytes());
    header.extend(IPV4.to_le_bytes());
    file.write_all(&header).unwrap();
    for (micros, payload) in (0_u32..).zip(datagrams) {
        let udp_len = u16::try_from(8 + payload.len()).unwrap();
        let mut packet = vec![0x45, 0];
        packet.extend((20 + udp_len).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        packet.extend(40_000_u16.to_be_bytes());
        packet.extend(PORT.to_be_bytes());
        packet.extend(udp_len.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        let len = u32::try_from(packet.len()).unwrap();
        for field in [micros / 1_000_000, micros % 1_000_000, len, len] {
            file.write_all(&field.to_le_bytes()).unwrap();
        }
        file.write_all(&packet).unwrap();
    }
    file.flush().unwrap();
}

/// The output of tshark for a capture: these fields of each packet that the filter lets through.
fn tshark(capture: &Path, filter: &str, fields: &[&str]) -> String {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(capture).args(["-d", &format!("udp.port=={PORT},moldudp64")]);
    tshark.args(["-Y", filter, "-T", "fields", "-E", "occurrence=a"]);
    fields.iter().for_each(|field| {
        tshark.args(["-e", field]);
    });
    let output = tshark.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn tshark_reads_every_message_that_we_publish_and_finds_nothing_wrong() {
    let input = shared!("data/itch50-sample.bin");
    if Command::new("tshark").arg("--version").output().is_err() {
        skip!("no tshark");
    }
    let bytes = std::fs::read(&input).unwrap();
    let expected = data::binaryfile(&bytes);

    let line = UdpSocket::bind("127.0.0.1:0").unwrap();
    line.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let to = line.local_addr().unwrap().to_string();
    let publish = Program::start(&[
        "publish",
        "--input",
        input.to_str().unwrap(),
        "--session",
        "TSHARK",
        "--to",
        &to,
        "--requests",
        "127.0.0.1:0",
        "--rate",
        "20000",
        "--linger",
        "1",
        "--json",
    ]);
    let mut datagrams = Vec::new();
    loop {
        let mut buffer = [0; 2048];
        let len = line.recv(&mut buffer).unwrap();
        datagrams.push(buffer[..len].to_vec());
        if Header::read(&buffer).unwrap().kind() == Kind::EndOfSession {
            break;
        }
    }
    assert_eq!(publish.wait().code, Some(0));

    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("published.pcap");
    write_capture(&capture, &datagrams);
    let sessions = tshark(&capture, "moldudp64", &["moldudp64.session"]);
    assert_eq!(sessions.lines().count(), datagrams.len(), "not all are MoldUDP64");
    assert!(sessions.lines().all(|session| session.trim_end() == "TSHARK"));

    let numbers = tshark(&capture, "moldudp64.msgseq", &["moldudp64.msgseq"]);
    let numbers = numbers.lines().flat_map(|line| line.split(','));
    assert!(numbers.map(|number| number.parse::<u64>().unwrap()).eq(1..=expected.len() as u64));
    let payloads = tshark(&capture, "moldudp64.msgdata", &["moldudp64.msgdata"]);
    let payloads = payloads.lines().flat_map(|line| line.split(','));
    let hex = |message: &&[u8]| message.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(payloads.map(str::to_owned).eq(expected.iter().map(hex).collect::<Vec<String>>()));

    let wrong = "_ws.malformed or moldudp64.msglen.invalid or moldudp64.count.invalid \
                 or moldudp64.end_of_session_extra";
    assert_eq!(tshark(&capture, wrong, &["frame.number"]), "");
}
