//! A feed with its lines, servers and one receiver, put together from a plan.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;

use gapless_core::receiver::{Config, LineId, ServerId};
use gapless_core::{Duration, Instant, Machine, Session};

use super::check::Checker;
use super::feed::{Feed, Line};
use super::listener::{Listener, Way};
use super::path::Path;
use super::program::{Program, SessionPlan};
use super::random::Random;
use super::server::{Server, ServerPlan};
use super::trace::Fact;
use super::world::{NodeId, Outbox, World};

/// How long a run goes on after the last message was sent before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// A session with this name.
///
/// # Panics
/// When it has more than ten bytes.
#[must_use]
pub fn session(name: &str) -> Session {
    Session::from_name(name.as_bytes()).expect("at most ten bytes")
}

/// Where the packets of a line go.
#[must_use]
pub fn line_address(line: u8) -> SocketAddr {
    (Ipv4Addr::new(224, 0, 0, line + 1), 9000).into()
}

/// Where a server is asked.
#[must_use]
pub fn server_address(server: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 1, server + 1), 8000).into()
}

/// Where the feed sends from.
#[must_use]
pub fn feed_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 7000).into()
}

/// Where the listener asks from.
#[must_use]
pub fn listener_address() -> SocketAddr {
    (Ipv4Addr::new(127, 0, 2, 1), 6000).into()
}

/// The plan of a simulation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setup {
    /// The program of the feed.
    pub sessions: Vec<SessionPlan>,
    /// The lines: each one's path, and when it sends.
    pub lines: Vec<(Path, Range<Instant>)>,
    /// The servers: the path to each and back from it, and what it does.
    pub servers: Vec<(Path, Path, ServerPlan)>,
    /// The receiver's configuration; lines and servers are added to it.
    pub config: Config,
    /// How the receiver is given datagrams.
    pub way: Way,
    /// When the receiver starts.
    pub joins: Instant,
}

impl Setup {
    /// One session, no lines, no servers.
    pub fn new(random: &mut Random) -> Self {
        let config = Config { seed: random.any(), ..Config::default() };
        Self {
            sessions: vec![SessionPlan::new(random, session("SIMULATED"))],
            lines: Vec::new(),
            servers: Vec::new(),
            config,
            way: random.one_of(&[Way::Owned, Way::Pinning, Way::Borrowed]),
            joins: Instant::ZERO,
        }
    }

    /// With another line, which always sends.
    #[must_use]
    pub fn line(mut self, path: Path) -> Self {
        self.lines.push((path, Instant::ZERO..Instant::MAX));
        self
    }

    /// With another server.
    #[must_use]
    pub fn server(mut self, path: Path, plan: ServerPlan) -> Self {
        self.servers.push((path.clone(), path, plan));
        self
    }

    /// Builds the world.
    pub fn stage(self, random: &mut Random) -> Stage {
        let program = Rc::new(Program::new(random, &self.sessions));
        let mut world = World::new(random.fork());
        let ids = (0..).map(LineId).zip(&self.lines);
        let lines: Vec<_> = ids.clone().map(|(line, _)| (line_address(line.0), line)).collect();
        let sent =
            ids.map(|(line, (_, sends))| Line { to: line_address(line.0), sends: sends.clone() });
        let feed = Feed::new(Rc::clone(&program), feed_address(), sent.collect());
        let feed = world.add(feed, &[]);

        let mut config = self.config;
        config.lines.extend(lines.iter().map(|&(_, line)| line));
        let mut servers = Vec::new();
        for (id, (_, _, plan)) in (0..).zip(&self.servers) {
            let server = Server::new(Rc::clone(&program), plan.clone());
            servers.push(world.add(server, &[server_address(id)]));
            config.servers.push((ServerId(id), server_address(id)));
        }

        world.run(self.joins, |_| false);
        let listener =
            Listener::new(self.joins, config, self.way, listener_address(), lines.clone());
        let mut addresses: Vec<_> = lines.iter().map(|&(address, _)| address).collect();
        addresses.push(listener_address());
        let listener = world.add(listener, &addresses);
        for ((path, _), (address, _)) in self.lines.into_iter().zip(lines) {
            world.set_path(feed, address, listener, path);
        }
        for ((there, back, _), (&server, id)) in
            self.servers.into_iter().zip(servers.iter().zip(0..))
        {
            world.set_path(listener, server_address(id), server, there);
            world.set_path(server, listener_address(), listener, back);
        }
        Stage { world, program, feed, listener, servers }
    }
}

/// A world with one receiver in it.
#[derive(Debug)]
pub struct Stage {
    /// The world.
    pub world: World,
    /// The program of the feed.
    pub program: Rc<Program>,
    /// The feed.
    pub feed: NodeId,
    /// The receiver.
    pub listener: NodeId,
    /// The servers.
    pub servers: Vec<NodeId>,
}

impl Stage {
    /// The receiver with its checks.
    #[must_use]
    pub fn listener(&self) -> &Listener {
        self.world.node(self.listener)
    }

    /// Tells the receiver's checkers something that no machine says.
    pub fn record(&mut self, fact: Fact) {
        let record =
            |listener: &mut Listener, now, _: &mut Outbox| listener.trace.record(now, fact);
        self.world.call(self.listener, record);
    }

    /// Mends all paths; nothing goes wrong any more.
    pub fn mend(&mut self) {
        self.world.mend_paths();
        self.record(Fact::Mended);
    }

    /// Lets another checker watch the receiver.
    pub fn watch(&mut self, checker: impl Checker + 'static) {
        let watch = |listener: &mut Listener, _, _: &mut Outbox| listener.trace.watch(checker);
        self.world.call(self.listener, watch);
    }

    /// Runs until every session of the program is reported as ended.
    ///
    /// # Panics
    /// When that takes too long, or a check fails.
    pub fn run_to_the_end(&mut self) {
        let sessions: Vec<_> = self.program.sessions().map(|(session, _)| session).collect();
        self.run_until_ended(&sessions);
    }

    /// Runs until these sessions are reported as ended.
    ///
    /// # Panics
    /// When that takes too long, or a check fails.
    pub fn run_until_ended(&mut self, sessions: &[Session]) {
        let until = self.program.last_packet().max(self.world.now()) + PATIENCE;
        let id = self.listener;
        let ended = self.world.run(until, |world| {
            let listener: &Listener = world.node(id);
            sessions.iter().all(|&session| listener.ledger().ended(session))
        });
        self.record(Fact::Over);
        let listener = self.listener();
        assert!(
            ended,
            "not ended at {:?}: {:?}\n{:?}",
            self.world.now(),
            listener.ledger().accounts,
            listener.receiver().stats()
        );
    }

    /// Checks that every session was delivered to its end and nothing was lost.
    ///
    /// # Panics
    /// When not.
    pub fn assert_complete(&self) {
        for (session, end) in self.program.sessions() {
            self.assert_complete_session(session, end);
        }
    }

    /// Checks that a session was delivered to its end and nothing was lost.
    ///
    /// # Panics
    /// When not.
    pub fn assert_complete_session(&self, session: Session, end: u64) {
        let account = &self.listener().ledger().accounts[&session];
        assert_eq!(account.next, end, "{session} ends elsewhere");
        assert_eq!(account.lost, [], "{session} has losses");
        assert_eq!(account.delivered, end - account.first, "{session} is not whole");
    }
}
