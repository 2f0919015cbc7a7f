//! A re-request server as simple as they come: answers with as many messages as fit one packet, or
//! stays silent.

use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;

use bytes::Bytes;
use gapless_core::wire::mold::Request;
use gapless_core::{Instant, Session};

use super::program::{Program, packet};
use super::world::{Node, Outbox, State};

/// The plan of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerPlan {
    /// The most messages in an answer.
    pub answer_limit: u64,
    /// The most bytes in an answer.
    pub mtu: usize,
    /// How many messages behind the live edge it keeps.
    pub keeps: u64,
    /// When it does not run.
    pub down: Vec<Range<Instant>>,
    /// Messages that it never has.
    pub lacks: Vec<RangeInclusive<u64>>,
    /// The address that its answers come from, where it is another than the requests go to.
    pub answers_from: Option<SocketAddr>,
}

impl Default for ServerPlan {
    /// It keeps everything and always runs.
    fn default() -> Self {
        Self {
            answer_limit: u64::from(u16::MAX),
            mtu: 1400,
            keeps: u64::MAX,
            down: Vec::new(),
            lacks: Vec::new(),
            answers_from: None,
        }
    }
}

/// A re-request server.
#[derive(Debug)]
pub struct Server {
    program: Rc<Program>,
    plan: ServerPlan,
    /// Messages sent before are not in its history.
    forgot: Instant,
    /// Requests that arrived while it ran.
    pub requests: u64,
    /// Requests that it answered.
    pub answers: u64,
}

impl Server {
    /// A server of what a program has sent by the time of a request.
    #[must_use]
    pub const fn new(program: Rc<Program>, plan: ServerPlan) -> Self {
        Self { program, plan, forgot: Instant::ZERO, requests: 0, answers: 0 }
    }

    /// How many messages from `first` on it has, at most `count`.
    fn has(&self, now: Instant, session: Session, first: u64, count: u64) -> u64 {
        let edge = self.program.edge(session, now);
        let forgotten = self.program.edge(session, self.forgot);
        let floor = edge.saturating_sub(self.plan.keeps).max(forgotten);
        let lacks = |number: u64| self.plan.lacks.iter().any(|range| range.contains(&number));
        if first < floor || lacks(first) {
            return 0;
        }
        let until = first.saturating_add(count).min(edge);
        let lacked = self.plan.lacks.iter().map(|range| *range.start());
        let until = lacked.filter(|&start| start > first).fold(until, u64::min);
        until.saturating_sub(first)
    }
}

impl Node for Server {
    fn arrive(
        &mut self,
        now: Instant,
        at: SocketAddr,
        from: SocketAddr,
        bytes: &Bytes,
        out: &mut Outbox,
    ) {
        if self.plan.down.iter().any(|times| times.contains(&now)) {
            return;
        }
        let request = Request::new_checked(bytes).expect("a listener sends only requests");
        self.requests += 1;
        let wanted = u64::from(request.count).min(self.plan.answer_limit);
        let count = self.has(now, request.session, request.sequence, wanted);
        if count == 0 {
            return;
        }
        self.answers += 1;
        let answer = packet(request.session, request.sequence, count, self.plan.mtu);
        out.send(self.plan.answers_from.unwrap_or(at), from, answer);
    }

    fn wake(&mut self, _: Instant, _: &mut Outbox) {}

    fn next_wake(&self) -> Option<Instant> {
        None
    }

    fn restart(&mut self, now: Instant, state: State) {
        if state == State::Lost {
            self.forgot = now;
        }
    }
}
