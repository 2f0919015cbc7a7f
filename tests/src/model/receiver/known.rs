//! Cases that are not drawn: those that the oracle once judged wrongly, each as the shortest that shows it, and one
//! that is too long.

use gapless_core::receiver::{Config, LineId, ServerId, Start};

use super::case::{Case, Data, From, Op, ROOMY, Shape, Wait, World, Wrap, address};
use super::feed::IDS;
use super::trace::Way;

impl Case {
    /// A live start that is believed by a packet between those that came before it. Then gaps open until no more
    /// is held, just when the line has passed the gap of the start.
    #[must_use]
    pub fn passed_before_the_start() -> Self {
        let data = |lost, back| {
            let (session, line, count, wrap) = (0, 0, 1, Wrap::Exact);
            Op::Data(Data { session, line, back, count, lost, wrap })
        };
        let begun = [data(0, 0), data(3, 0), data(0, 3)];
        let then = [Op::Wait(Wait::Millis(1)), Op::Comb { line: 0, teeth: 14, hole: 1 }];
        let ops = begun.into_iter().chain(then).collect();
        let config = Config {
            session: Some(IDS[0]),
            start: Start::Live,
            lines: vec![LineId(0)],
            reorder_packets: 16,
            max_held_bytes: 1 << 17,
            max_held_packets: 16,
            believe_after: 3,
            ..Config::default()
        };
        let (world, way) = (World::Impatient, Way::Calls);
        Self { world, config, base: 1, history: 0, large: false, way, ops }
    }

    /// A line that reorders nothing for so long that a gap is asked for at once, until a packet is late.
    #[must_use]
    pub fn orderly() -> Self {
        let data = |lost, back| {
            let (session, line, count, wrap) = (0, 0, 1, Wrap::Exact);
            Op::Data(Data { session, line, back, count, lost, wrap })
        };
        let answer = Op::Answer { nth: 0, shape: Shape::Right, from: From::Requested };
        let begun = Op::Orderly { line: 0, packets: 66_000 };
        let asked = [data(3, 0), answer, data(1, 0), data(0, 2)];
        let ops = core::iter::once(begun).chain(asked).chain([data(1, 0), Op::Timeout]).collect();
        let config = Config {
            session: Some(IDS[0]),
            start: Start::At(1),
            lines: vec![LineId(0)],
            servers: vec![(ServerId(0), address(0))],
            max_held_bytes: ROOMY,
            ..Config::default()
        };
        let (world, way) = (World::Patient, Way::Calls);
        Self { world, config, base: 1, history: 0, large: false, way, ops }
    }
}
