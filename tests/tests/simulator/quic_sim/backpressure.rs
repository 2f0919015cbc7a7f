//! A stream that is not read: its sender stops at the window, and nobody else does.

use gapless_core::Duration;
use gapless_tests::sim::{Chance, seeds};

use super::testbed::{Plan, Testbed};
use super::traffic::Manners;

#[test]
fn a_paused_stream_stops_its_sender_at_the_window_and_no_other_stream() {
    seeds(|random| {
        let mut plan = Plan::new(random);
        plan.loss = Some(Chance::percent(2));
        plan.asking = Manners { streams: 2..=2, bytes: 200_000..=250_000, ..plan.asking };
        plan.serving.streams = 0..=0;
        let window = plan.server.transport.stream_window.min(20_000);
        let transport = &mut plan.server.transport;
        transport.stream_window = window;
        transport.connection_window = 1 << 20;
        plan.client.transport.max_send_buffer = 64 << 10;
        (transport.max_bidirectional, transport.max_unidirectional) = (100, 100);
        let send_buffer = plan.client.transport.max_send_buffer;
        let mut testbed = plan.build(random);
        let server = testbed.server;
        testbed
            .run("streams are opened", |testbed| testbed.host(server).checker.counts.opened == 4);
        // The rest of it must not fit into what waits on the way: the one that was opened last.
        let read = |testbed: &Testbed, stream| {
            testbed.book.entry(testbed.host(server).checker.flow(stream, false)).read
        };
        let all = testbed.host(server).checker.receiving();
        let paused =
            all.into_iter().min_by_key(|&stream| read(&testbed, stream)).expect("one that is open");
        testbed.act(server, |_: &mut super::traffic::Traffic, desk| desk.pause(paused));
        testbed.run("the others are read to the end", |testbed| {
            testbed.host(server).checker.receiving() == [paused]
        });
        let flow = testbed.host(server).checker.flow(paused, false);
        testbed.pass(Duration::from_secs(5));
        let entry = testbed.book.entry(flow);
        assert!(entry.ends.is_empty() && entry.reported.is_none());
        assert!(entry.written <= entry.read + u64::from(window) + send_buffer, "{entry:?}");
        testbed.pass(Duration::from_secs(5));
        assert_eq!(testbed.book.entry(flow).written, entry.written, "the sender went on");
        testbed.act(server, |_: &mut super::traffic::Traffic, desk| desk.resume(paused));
        testbed.run_to_the_end();
        testbed.book.assert_all_arrived();
        testbed.close();
    });
}
