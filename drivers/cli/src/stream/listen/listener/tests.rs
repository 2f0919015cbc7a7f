//! A listener and a sender in one process, so that what is rare can be made to happen.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use gapless_core::demux::{self, Pattern, Registrant};
use gapless_quic::tagged::Streams;
use gapless_quic::tls::{self, ClientAuth, Identity, Keys, Trust};
use gapless_quic::{Config, Tagged, endpoint};
use quinn_proto::ClientConfig;

use super::super::admission::Limits;
use super::super::ended::End;
use super::super::incoming::Moved;
use super::super::queue::{Client, Network};
use super::super::store::Folder;
use super::super::target::{Output, Target};
use super::{ACCEPTOR, Listener, Settings};
use crate::failure::Failure;
use crate::io::file::Gathered;
use crate::io::sink::Sink;
use crate::io::source::Source;
use crate::stream::event_loop::EventLoop;
use crate::stream::send::answer::Answer;
use crate::stream::send::sender::{self, Sender};

const PROTOCOLS: [&[u8]; 1] = [gapless_quic::tagged::PROTOCOL];
/// More than anything here takes.
const TURNS: usize = 1_000;
const TIMEOUT: Duration = Duration::from_secs(30);

struct Both {
    place: tempfile::TempDir,
    theirs: (EventLoop, Tagged<Listener>),
    ours: (EventLoop, Tagged<Sender>),
}

fn turns(endpoint: endpoint::Config) -> EventLoop {
    EventLoop::new(Config::new(([127, 0, 0, 1], 0).into(), endpoint)).unwrap()
}

impl Both {
    /// A listener that puts streams into files, and somebody who is about to send an empty one.
    fn new() -> Self {
        Self::sending("/dev/null")
    }

    /// The same with somebody who is about to send what is there.
    fn sending(source: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let identity = Identity::self_signed(&["localhost"], SystemTime::now()).unwrap();
        let server = tls::server_config(&identity, &PROTOCOLS, &ClientAuth::None).unwrap();
        let mut theirs = turns(tls::endpoint_config(&identity.keys("test"), Some(server)));
        let listener = Listener::new(Settings {
            output: Output::Folder(Folder::open(place.path(), 100).unwrap()),
            limits: Limits { count: None, parallel: 2, stream_timeout: TIMEOUT },
            max_bytes: u64::MAX,
            exec_timeout: None,
            signals: theirs.signals.clone(),
        });
        let mut listener = Tagged::new(demux::Config::default(), Instant::now(), listener).unwrap();
        listener.with(theirs.endpoint(), Instant::now(), |streams, _| {
            let all = Pattern::Prefix(b"");
            streams.register(ACCEPTOR, all, Registrant::Application).unwrap();
        });
        let mut ours = turns(tls::endpoint_config(&Keys::random().unwrap(), None));
        let (source, _) = Source::open(Path::new(source), 1, ours.signals.clone()).unwrap();
        let answer = Path::new("/dev/null");
        let answer = Answer::create(answer, 1, ours.signals.clone()).unwrap();
        let mut sender = Sender::new(sender::Settings {
            tag: b"tag".to_vec(),
            source,
            source_name: String::new(),
            answer: Some(answer),
            answer_name: String::new(),
            progress: None,
        });
        let trust = Trust::Pinned(identity.fingerprint());
        let client = ClientConfig::new(tls::client_config(&trust, &PROTOCOLS, None).unwrap());
        let connection =
            ours.endpoint().connect(Instant::now(), client, theirs.address(), "localhost");
        sender.attempts.push(connection.unwrap());
        let sender = Tagged::new(demux::Config::default(), Instant::now(), sender).unwrap();
        Self { place, theirs: (theirs, listener), ours: (ours, sender) }
    }

    /// Does something with the listener.
    fn at_listener<T>(&mut self, work: impl FnOnce(&mut Streams<'_>, &mut Listener) -> T) -> T {
        let (turns, tagged) = &mut self.theirs;
        tagged.with(turns.endpoint(), Instant::now(), work)
    }

    #[track_caller]
    fn turn_until(&mut self, until: impl Fn(&mut Self) -> bool) {
        for _ in 0..TURNS {
            for _ in 0..2 {
                let (turns, sender) = &mut self.ours;
                let keys = turns.turn(sender).unwrap();
                sender.with(turns.endpoint(), Instant::now(), |streams, sender| {
                    if !keys.is_empty() {
                        sender.advance(streams);
                    }
                });
            }
            let (turns, listener) = &mut self.theirs;
            turns.turn(listener).unwrap();
            self.at_listener(|streams, listener| listener.write_out(streams));
            if until(self) {
                return;
            }
        }
        panic!("it takes too long");
    }

    fn result(&mut self) -> Option<Result<(), Failure>> {
        self.ours.1.acceptors().result.take()
    }

    fn is_empty(&self) -> bool {
        self.place.path().read_dir().unwrap().next().is_none()
    }
}

#[test]
fn who_comes_when_somebody_has_ended_the_program_is_reported_so() {
    let mut both = Both::new();
    both.at_listener(|streams, listener| listener.interrupt(streams));
    both.turn_until(|both| both.ours.1.acceptors().result.is_some());
    let failure = both.result().unwrap().unwrap_err();
    assert!(failure.what().contains("somebody ended the program"), "{failure}");
    assert!(both.is_empty());
}

#[test]
fn no_stream_begins_while_nobody_hears_how_others_ended() {
    let mut both = Both::new();
    both.at_listener(|_, listener| listener.admission.report_queue_full = true);
    both.turn_until(|both| both.theirs.1.acceptors().open() == 1);
    assert!(both.is_empty());
    both.at_listener(|_, listener| listener.admission.report_queue_full = false);
    both.turn_until(|both| both.theirs.1.acceptors().pending.ended.len() == 1);
    assert!(!both.is_empty());
}

#[test]
fn a_stream_that_gives_way_to_another_client_is_refused_as_if_it_had_never_come() {
    let mut both = Both::new();
    both.at_listener(|_, listener| listener.admission.report_queue_full = true);
    both.turn_until(|both| both.theirs.1.acceptors().open() == 1);
    both.at_listener(|streams, listener| listener.displace(streams.endpoint, 1));
    both.turn_until(|both| both.ours.1.acceptors().result.is_some());
    let failure = both.result().unwrap().unwrap_err();
    assert!(failure.what().contains("too many streams of this client wait there"), "{failure}");
    both.at_listener(|_, listener| {
        let admission = &listener.admission;
        assert_eq!((listener.open(), admission.admitted()), (0, 0));
        assert_eq!(admission.active_and_waiting(), (0, 0));
    });
    assert!(both.is_empty());
}

#[test]
fn who_has_too_many_turns_gives_one_to_who_has_none_however_much_comes() {
    let mut both = Both::sending("/dev/zero");
    both.turn_until(|both| both.theirs.1.acceptors().admission.active_and_waiting().0 == 1);
    let late = Instant::now() + 10 * TIMEOUT;
    let (turns, tagged) = &mut both.theirs;
    tagged.with(turns.endpoint(), late, |streams, listener| {
        let incoming = listener.incoming.values_mut().next().unwrap();
        incoming.progress = Moved::from(late);
        let own = incoming.client;
        // One more turn of the same client, and somebody who waits.
        let beside = listener.admission.admit(Client { connection: 8, ..own }, true);
        assert_eq!(listener.admission.next(late), Some(beside));
        listener.check_limits(streams);
        assert!(listener.pending.ended.is_empty());
        let other = Client { network: Network::of([10, 0, 0, 9].into()), connection: 9 };
        listener.admission.admit(other, true);
        listener.check_at = None;
        listener.check_limits(streams);
        let ended = listener.pending.ended.pop_front().unwrap();
        assert!(ended.line().contains("its turn took 10 times"), "{}", ended.line());
    });
}

#[test]
fn what_broke_a_stream_off_first_is_what_is_reported() {
    let mut both = Both::sending("/dev/zero");
    both.turn_until(|both| both.theirs.1.acceptors().admission.active_and_waiting().0 == 1);
    both.at_listener(|streams, listener| {
        let (stream, incoming) = listener.incoming.iter_mut().next().unwrap();
        let stream = *stream;
        // All of it is written when the next word comes.
        let written = Sink::File(Gathered::new(tempfile::tempfile().unwrap()));
        incoming.target = Target::Output(written, Some(End::Idle));
        listener.end(streams.endpoint, stream, End::Lost("its peer left".into()));
        let ended = listener.pending.ended.pop_front().unwrap();
        assert!(ended.json().contains("\"end\":\"idle\""), "{}", ended.json());
    });
}
