//! A receiver in the simulated network: one test per plan, each run with many seeds (`GAPLESS_SEEDS`
//! says how many), which choose sizes, timing and what goes wrong.

use std::ops::RangeInclusive;

use gapless_core::receiver::{AcceptAnswers, Delivery, Event, Quota, QuotaUnit, Start};
use gapless_core::{Duration, Instant, Machine};
use gapless_tests::sim::check::Progress;
use gapless_tests::sim::{
    Chance, Ending, Listener, Path, Random, ServerPlan, SessionPlan, Setup, Stage, State, Whole,
    plans, seeds, server_address, session,
};

/// A setup whose servers may leave a request unanswered by chance, again and again.
fn patient(random: &mut Random) -> Setup {
    let mut setup = Setup::new(random);
    setup.config.max_attempts = 64;
    setup.config.give_up = Some(Duration::from_secs(30));
    setup
}

fn lossy(random: &mut Random) -> Path {
    Path::lossy(random, Chance::percent(20))
}

fn runs_complete(setup: Setup, random: &mut Random) -> Stage {
    let mut stage = setup.stage(random);
    stage.run_to_the_end();
    stage.assert_complete();
    stage
}

/// Numbers of the first session that never arrived by any way.
fn never_heard(stage: &Stage) -> Vec<u64> {
    let (session, end) = stage.program.sessions().next().unwrap();
    (1..end).filter(|&number| !stage.listener().ledger().heard(session, number)).collect()
}

fn lost(stage: &Stage) -> Vec<u64> {
    let (session, _) = stage.program.sessions().next().unwrap();
    let lost = &stage.listener().ledger().accounts[&session].lost;
    lost.iter().flat_map(|&(first, last)| first..=last).collect()
}

#[test]
fn one_lossy_line_and_a_server_make_a_complete_feed() {
    plans(|random| {
        let setup = patient(random).line(lossy(random));
        Whole::new(setup.server(lossy(random), ServerPlan::default()), random)
    });
}

#[test]
fn default_settings_lose_nothing_when_a_fifth_of_the_packets_and_of_the_answers_is_lost() {
    plans(|random| {
        let loss = Chance::percent(20);
        let line = Path { loss, ..Path::default() };
        let mut setup = Setup::new(random).line(line.clone());
        setup.servers.push((Path::default(), line, ServerPlan::default()));
        Whole::new(setup, random)
    });
}

#[test]
fn two_lossy_lines_and_a_server_make_a_complete_feed() {
    plans(|random| {
        let setup = patient(random).line(lossy(random)).line(lossy(random));
        Whole::new(setup.server(lossy(random), ServerPlan::default()), random)
    });
}

#[test]
fn without_a_server_exactly_what_no_line_brought_is_lost() {
    seeds(|random| {
        let mut setup = Setup::new(random).line(lossy(random)).line(lossy(random));
        setup.config.session = Some(setup.sessions[0].session);
        setup.config.give_up =
            Some(random.span(Duration::from_millis(100)..=Duration::from_secs(1)));
        let mut stage = setup.stage(random);
        stage.run_to_the_end();
        assert_eq!(lost(&stage), never_heard(&stage));
    });
}

#[test]
fn a_sound_line_needs_no_request() {
    seeds(|random| {
        let path = Path { reorder: Chance::NEVER, ..Path::sound(random) };
        let mut setup = Setup::new(random).line(path);
        setup.config.session = Some(setup.sessions[0].session);
        let setup = setup.server(Path::default(), ServerPlan::default());
        let stage = runs_complete(setup, random);
        assert_eq!(stage.listener().receiver().stats().requests, 0);
    });
}

#[test]
fn a_dead_server_beside_one_that_answers_costs_nothing_but_time() {
    plans(|random| {
        let dead = ServerPlan { down: vec![Instant::ZERO..Instant::MAX], ..ServerPlan::default() };
        let mut servers = [(Path::default(), dead), (Path::sound(random), ServerPlan::default())];
        if random.happens(Chance::percent(50)) {
            servers.reverse();
        }
        let setup = Setup::new(random).line(lossy(random));
        let setup = servers.into_iter().fold(setup, |setup, (path, plan)| setup.server(path, plan));
        Whole::new(setup, random)
    });
}

#[test]
fn line_b_may_start_late_and_end_early() {
    plans(|random| {
        let mut setup = patient(random).line(lossy(random));
        let from = Instant::ZERO + random.span(Duration::ZERO..=Duration::from_secs(2));
        let until = from + random.span(Duration::ZERO..=Duration::from_secs(2));
        setup.lines.push((lossy(random), from..until));
        Whole::new(setup.server(lossy(random), ServerPlan::default()), random)
    });
}

#[test]
fn a_server_that_restarts_is_asked_again() {
    plans(|random| {
        let mut plan = ServerPlan::default();
        let mut at = Instant::ZERO;
        for _ in 0..3 {
            let from = at + random.span(Duration::from_millis(50)..=Duration::from_millis(500));
            at = from + random.span(Duration::from_millis(50)..=Duration::from_secs(2));
            plan.down.push(from..at);
        }
        let setup = patient(random).line(lossy(random)).server(Path::sound(random), plan);
        Whole::new(setup, random)
    });
}

#[test]
fn what_a_partition_took_is_repaired_after_it() {
    plans(|random| {
        let from = Instant::ZERO + random.span(Duration::ZERO..=Duration::from_secs(1));
        let until = from + random.span(Duration::from_millis(10)..=Duration::from_secs(4));
        let path = lossy(random).down_during(from..until);
        let server = Path::sound(random).down_during(from..until);
        let setup = patient(random).line(path.clone()).line(path);
        Whole::new(setup.server(server, ServerPlan::default()), random)
    });
}

#[test]
fn with_the_least_memory_nothing_is_lost_for_want_of_it() {
    plans(|random| {
        let mut setup = patient(random).line(lossy(random));
        setup.config.max_held_bytes = 131_072;
        setup.config.max_held_packets = 16;
        setup.config.max_gaps = 16;
        setup.sessions[0].messages = 2000;
        // A server that leaves two requests in a row unanswered counts as nobody to ask.
        let path = Path::sound(random);
        Whole::new(setup.server(path, ServerPlan::default()), random)
    });
}

#[test]
fn what_went_by_before_the_start_is_repaired_while_live_data_waits() {
    plans(|random| {
        let mut setup = patient(random).line(lossy(random));
        setup.sessions[0].messages = 30_000;
        setup.sessions[0].per_packet = 20;
        setup.sessions[0].interval = Duration::from_millis(1);
        setup.joins = Instant::from_millis(random.within(200..=1500));
        Whole::new(setup.server(Path::default(), ServerPlan::default()), random)
    });
}

/// Whether a number is one that the server lacks, or may be asked for together with such a one: a
/// server stays silent when it lacks the first.
fn is_lacked(server: &ServerPlan, number: u64) -> bool {
    const LARGEST_ANSWER: u64 = 100;
    let near = |range: &RangeInclusive<u64>| {
        (*range.start()..=range.end() + LARGEST_ANSWER).contains(&number)
    };
    server.lacks.iter().any(near)
}

#[test]
fn what_no_server_has_is_lost_and_nothing_else() {
    seeds(|random| {
        let mut setup = Setup::new(random).line(lossy(random));
        setup.config.give_up = Some(Duration::from_secs(30));
        setup.sessions[0].messages = random.within(500..=4000);
        let lacks = (0..5).map(|_| random.within(1..=4000)).map(|first| first..=first + 40);
        let server = ServerPlan { lacks: lacks.collect(), ..ServerPlan::default() };
        let mut stage = setup.server(Path::sound(random), server.clone()).stage(random);
        stage.run_to_the_end();
        let lost = lost(&stage);
        assert_eq!(lost, never_heard(&stage));
        assert!(lost.iter().all(|&number| is_lacked(&server, number)), "{lost:?} with {server:?}");
    });
}

#[test]
fn a_server_that_lacks_the_head_is_asked_for_the_rest() {
    seeds(|random| {
        let server = ServerPlan { lacks: vec![1..=500], ..ServerPlan::default() };
        let mut setup = Setup::new(random).line(lossy(random));
        setup.config.give_up = Some(Duration::from_secs(30));
        let plan = &mut setup.sessions[0];
        (plan.messages, plan.per_packet, plan.pauses) = (4000, 1, Chance::NEVER);
        plan.interval = Duration::from_millis(2);
        setup.joins = Instant::from_millis(random.within(600..=1000));
        let mut stage = setup.server(Path::sound(random), server.clone()).stage(random);
        stage.run_to_the_end();
        let lost = lost(&stage);
        assert_eq!(lost, never_heard(&stage));
        assert!(lost.iter().all(|&number| is_lacked(&server, number)), "{lost:?}");
    });
}

#[test]
fn answers_from_another_address_serve_where_any_are_accepted() {
    plans(|random| {
        let elsewhere = Some(server_address(200));
        let server = ServerPlan { answers_from: elsewhere, ..ServerPlan::default() };
        let mut setup = patient(random).line(lossy(random));
        setup.config.accept_answers = AcceptAnswers::Any;
        Whole::new(setup.server(Path::sound(random), server), random)
    });
}

#[test]
fn small_answers_are_asked_on_from() {
    plans(|random| {
        let server = ServerPlan { answer_limit: random.within(1..=10), ..ServerPlan::default() };
        let setup = patient(random).line(lossy(random)).server(Path::sound(random), server);
        Whole::new(setup, random)
    });
}

#[test]
fn on_arrival_every_message_is_delivered_once() {
    plans(|random| {
        let mut setup = patient(random).line(lossy(random)).line(lossy(random));
        setup.config.delivery = Delivery::Arrival;
        Whole::new(setup.server(lossy(random), ServerPlan::default()), random)
    });
}

#[test]
fn sessions_that_follow_one_another_are_each_complete() {
    plans(|random| {
        let mut setup = patient(random).line(lossy(random));
        let mut begins = Instant::from_millis(10);
        let mut day = |name: &str| {
            let mut plan = SessionPlan::new(random, session(name));
            (plan.begins, plan.pauses) = (begins, Chance::NEVER);
            plan.messages = random.within(1..=1000);
            // Every interval at its longest, and time for everyone to hear of the end.
            let packets = u32::try_from(plan.messages).unwrap();
            begins = begins + plan.interval * packets + Duration::from_secs(10);
            plan
        };
        setup.sessions = ["MONDAY", "TUESDAY", "WEDNESDAY"].map(&mut day).to_vec();
        setup.config.follow = true;
        Whole::new(setup.server(lossy(random), ServerPlan::default()), random)
    });
}

#[test]
fn a_session_that_nobody_ended_is_superseded_by_the_next() {
    plans(|random| {
        let mut setup = Setup::new(random).line(Path::sound(random));
        setup.sessions.push(SessionPlan::new(random, session("SECOND")));
        for plan in &mut setup.sessions {
            (plan.pauses, plan.per_packet) = (Chance::NEVER, 1);
            plan.messages = random.within(100..=1000);
        }
        setup.sessions[0].ending = Ending::Silent;
        setup.sessions[1].begins = Instant::from_millis(random.within(2_500..=6_000));
        setup.config.follow = true;
        Whole::new(setup.server(Path::sound(random), ServerPlan::default()), random)
    });
}

#[test]
fn a_live_start_delivers_everything_from_where_it_started() {
    seeds(|random| {
        let mut setup = patient(random).line(lossy(random)).line(lossy(random));
        setup.sessions[0].messages = random.within(2000..=4000);
        setup.sessions[0].per_packet = 1;
        setup.sessions[0].interval = Duration::from_micros(random.within(200..=2000));
        setup.config.start = Start::Live;
        setup.joins = Instant::from_millis(random.within(0..=50));
        let stage = runs_complete(setup.server(lossy(random), ServerPlan::default()), random);
        let (session, end) = stage.program.sessions().next().unwrap();
        assert!(stage.listener().ledger().accounts[&session].first < end);
    });
}

#[test]
fn a_receiver_goes_on_from_its_checkpoint() {
    seeds(|random| {
        let setup = patient(random).line(lossy(random));
        let setup = setup.server(lossy(random), ServerPlan::default());
        let mut stage = setup.stage(random);
        let listener = stage.listener;
        for _ in 0..3 {
            let time = Instant::ZERO + random.span(Duration::ZERO..=Duration::from_secs(3));
            stage.world.at(time, move |world| {
                world.restart(listener, State::Kept);
            });
        }
        stage.run_to_the_end();
        stage.assert_complete();
    });
}

#[test]
fn quotas_are_kept_over_restarts_and_everything_arrives_in_the_end() {
    seeds(|random| {
        let setup = patient(random).line(lossy(random));
        let mut setup = setup.server(lossy(random), ServerPlan::default());
        setup.config.give_up = Some(Duration::from_secs(600));
        let quota = |unit, most, window| Quota { unit, most, window };
        let window = random.span(Duration::from_millis(10)..=Duration::from_secs(2));
        setup.config.quotas = vec![
            quota(QuotaUnit::Requests, random.within(10..=100), window),
            quota(QuotaUnit::Messages, random.within(500..=2_000), window * 2),
        ];
        let mut stage = setup.stage(random);
        let listener = stage.listener;
        for _ in 0..5 {
            let time = Instant::ZERO + random.span(Duration::ZERO..=Duration::from_secs(3));
            stage.world.at(time, move |world| {
                world.restart(listener, State::Kept);
            });
        }
        stage.run_to_the_end();
        stage.assert_complete();
    });
}

#[test]
fn what_is_advanced_past_is_neither_delivered_nor_lost() {
    seeds(|random| {
        let mut setup = Setup::new(random).line(lossy(random));
        setup.config.give_up = Some(Duration::from_secs(600));
        let mut stage = setup.stage(random);
        let (session, end) = stage.program.sessions().next().unwrap();
        let listener = stage.listener;
        let time = stage.program.last_packet() + Duration::from_secs(10);
        stage.world.at(time, move |world| {
            world.call::<Listener>(listener, |listener, now, out| {
                if !listener.ledger().ended(session) {
                    listener.event(now, Event::Advance { next: end }, out);
                }
            });
        });
        stage.run_to_the_end();
        assert_eq!(lost(&stage), []);
    });
}

#[test]
fn when_loss_stops_every_gap_closes_within_two_backoffs_and_a_round_trip() {
    seeds(|random| {
        let server = lossy(random);
        let round_trip = (server.delay + server.jitter + server.reorder_by) * 2;
        let mut setup = patient(random).line(lossy(random)).server(server, ServerPlan::default());
        setup.sessions[0].messages = 4000;
        setup.sessions[0].pauses = Chance::NEVER;
        let patience = setup.config.max_backoff * 2 + setup.config.max_reorder_delay + round_trip;
        let mut stage = setup.stage(random);
        stage.watch(Progress::within(patience));
        let stops = Instant::from_millis(random.within(300..=1000));
        stage.world.run(stops, |_| false);
        stage.mend();
        stage.run_to_the_end();
        stage.assert_complete();
    });
}

#[test]
fn the_same_seed_gives_the_same_commands() {
    seeds(|random| {
        let digest = |mut random: Random| {
            let random = &mut random;
            let setup = patient(random).line(lossy(random)).line(lossy(random));
            let stage = runs_complete(setup.server(lossy(random), ServerPlan::default()), random);
            stage.listener().trace.digest()
        };
        let same = random.fork();
        assert_eq!(digest(same.clone()), digest(same));
    });
}
