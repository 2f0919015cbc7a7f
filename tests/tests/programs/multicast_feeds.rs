//! Multicast from end to end, in a network namespace of its own: two feeds, each on two lines with a
//! group of its own, all four on one port.

use std::net::Ipv4Addr;
use std::path::Path;

use gapless_tests::in_namespace;
use gapless_tests::program::{Program, is_joined, wait_until};

const PORT: u16 = 30_500;

struct Feed {
    session: &'static str,
    groups: [Ipv4Addr; 2],
    requests: &'static str,
    /// The beginning of each message.
    tag: &'static str,
}

const FEEDS: [Feed; 2] = [
    Feed {
        session: "NORTH",
        groups: [Ipv4Addr::new(239, 7, 1, 1), Ipv4Addr::new(239, 7, 1, 2)],
        requests: "127.0.0.1:30501",
        tag: "north",
    },
    Feed {
        session: "SOUTH",
        groups: [Ipv4Addr::new(239, 7, 2, 1), Ipv4Addr::new(239, 7, 2, 2)],
        requests: "127.0.0.1:30502",
        tag: "south",
    },
];

impl Feed {
    fn lines(&self) -> [String; 2] {
        self.groups.map(|group| format!("{group}:{PORT}@127.0.0.1"))
    }

    /// 20,000 messages, each u16 length + text.
    fn write_input(&self, path: &Path) {
        let mut bytes = Vec::new();
        for number in 1..=20_000 {
            let message = format!("{} {number}", self.tag);
            bytes.extend((message.len() as u16).to_be_bytes());
            bytes.extend(message.as_bytes());
        }
        std::fs::write(path, bytes).unwrap();
    }

    fn receive(&self, output: &Path) -> Program {
        let [a, b] = self.lines();
        Program::start(&[
            "receive",
            "--line",
            &a,
            "--line",
            &b,
            "--requests",
            self.requests,
            "--output",
            output.to_str().unwrap(),
            "--max-time",
            "60",
            "--json",
        ])
    }

    fn publish(&self, input: &Path) -> Program {
        let [a, b] = self.lines();
        Program::start(&[
            "publish",
            "--input",
            input.to_str().unwrap(),
            "--session",
            self.session,
            "--to",
            &a,
            "--to",
            &b,
            "--requests",
            self.requests,
            "--loss",
            "5%",
            "--reorder",
            "2%",
            "--duplicate",
            "2%",
            "--rate",
            "20000",
            "--linger",
            "1",
            "--json",
        ])
    }
}

#[test]
fn two_feeds_on_one_port_arrive_complete_and_apart() {
    in_namespace!();
    let folder = tempfile::tempdir().unwrap();
    let path = |feed: &Feed, what: &str| folder.path().join(format!("{}.{what}", feed.session));
    let receives = FEEDS.map(|feed| {
        feed.write_input(&path(&feed, "input"));
        feed.receive(&path(&feed, "output"))
    });
    let groups = || FEEDS.iter().flat_map(|feed| feed.groups);
    wait_until("joined", || groups().all(is_joined));
    let publishes = FEEDS.map(|feed| feed.publish(&path(&feed, "input")));

    for (feed, (receive, publish)) in FEEDS.iter().zip(receives.into_iter().zip(publishes)) {
        let (received, published) = (receive.wait(), publish.wait());
        assert_eq!(received.code, Some(0), "{}", received.errors);
        assert_eq!(published.code, Some(0), "{}", published.errors);
        let output = std::fs::read(path(feed, "output")).unwrap();
        assert!(output == std::fs::read(path(feed, "input")).unwrap(), "{} differs", feed.session);

        let received: serde_json::Value = serde_json::from_str(&received.output).unwrap();
        let published: serde_json::Value = serde_json::from_str(&published.output).unwrap();
        assert_eq!(received["session"], feed.session);
        for line in 0..2 {
            let (here, there) = (&received["lines"][line], &published["lines"][line]);
            let (packets, sent) = (here["packets"].as_u64().unwrap(), there["sent"].as_u64());
            // Ends of session are still sent when the receiver has gone. More would be of the other
            // feed's line.
            assert!(packets > 0 && packets <= sent.unwrap(), "{here} of {there}");
            assert!(here["messages_first"].as_u64().unwrap() > 0, "{here}");
        }
    }
}
