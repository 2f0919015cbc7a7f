//! The cost of repair under loss and delay, as a table that is kept: a change of the repair policy
//! shows as a diff of it.
//!
//! The figures are of virtual time and one seed, so they are the same on every machine and in every
//! build. To accept a deliberate change, and to look at it:
//!
//! ```text
//! INSTA_UPDATE=always cargo test -p gapless-tests --test kept netsim
//! git diff tests/tests/kept/snapshots
//! ```

use gapless_core::Duration;
use gapless_core::receiver::Config;
use gapless_tests::sim::{Backfill, Backfilled, Cell, Chance, Lengths, Measured};

/// Datagrams lost of a thousand, and how many messages it takes to see enough lost.
const LOSSES: [(u32, u64); 6] =
    [(0, 20_000), (1, 200_000), (10, 50_000), (50, 50_000), (200, 50_000), (500, 50_000)];

/// From a request to its answer.
const ROUND_TRIPS: [Duration; 4] = [
    Duration::from_micros(100),
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
];

/// The heading of a table.
const LEGEND: &str = "\
A feed of 50,000 messages (20,000 where none is lost, 200,000 where 0.1 % are) at some 50,000 a
second, in packets of 1 to 19 messages, 0 to 400 us apart; one server, whose answers are packets of
at most 1400 bytes; the default configuration. Virtual time.

loss       datagrams lost, one by one, on every path: each line, and to and from the server
trip       from a request to its answer; line A takes half of it, line B 0.5 ms more
lost       messages that no line brought
missed     messages that a gap was told of
repaired   of those that came: from when the gap was told until an answer or a line brought it
delivered  of those that came: from when the gap was told until it was delivered, in order
requests   sent, those repeated included
asked      messages asked for, each as often as it was asked for, for each message lost
held       the most messages at once that had arrived and waited for earlier ones
given up   messages told as lost
";

const HEADINGS: &str = "
  loss   trip    lost  missed          repaired, ms         delivered, ms
     %     ms                       p50        p99        p50        p99  requests asked   held given up

";

/// The table for so many lines.
fn table(lines: u8) -> String {
    let mut table = format!("{LEGEND}{HEADINGS}");
    for (loss, messages) in LOSSES {
        for round_trip in ROUND_TRIPS {
            let loss = Chance::per_mille(loss);
            let cell = Cell { lines, loss, round_trip, messages, measured_from: 1 };
            table.push_str(&row(cell, &cell.run(Config::default())));
        }
        table.push('\n');
    }
    table
}

/// One row. Nothing but integers is computed: a fraction is a whole number of its last digit.
fn row(cell: Cell, measured: &Measured) -> String {
    let Measured { lost, missed, repaired, delivered, requests, requested, held, given_up } =
        measured;
    let loss = decimal(u64::from(cell.loss.per_million()) / 1000, 1);
    let trip = decimal(micros(cell.round_trip) / 100, 1);
    let percentile = |sorted: &[Duration], percent| {
        Measured::percentile(sorted, percent).map_or("-".into(), |span| decimal(micros(span), 3))
    };
    let [repaired, delivered] = [repaired, delivered]
        .map(|sorted| format!("{:>10} {:>10}", percentile(sorted, 50), percentile(sorted, 99)));
    let asked = (requested * 100).checked_div(*lost);
    let asked = asked.map_or("-".into(), |hundredths| decimal(hundredths, 2));
    let cost = format!("{requests:>9} {asked:>5} {held:>6} {given_up:>8}");
    format!("{loss:>6} {trip:>6} {lost:>7} {missed:>7} {repaired} {delivered} {cost}\n")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("less than 584,000 years")
}

/// A number whose last so many digits are behind the point.
fn decimal(number: u64, digits: u32) -> String {
    let one = 10_u64.pow(digits);
    let width = digits as usize;
    format!("{}.{:0width$}", number / one, number % one)
}

#[test]
fn what_repair_costs_with_one_line() {
    insta::assert_snapshot!("one_line", table(1));
}

#[test]
fn what_repair_costs_with_two_lines() {
    insta::assert_snapshot!("two_lines", table(2));
}

const ORDERLY_LEGEND: &str = "\
A feed of 1,000,000 messages in some 100,000 packets within 20 s, of which nothing is reordered and 0.1 % lost, on
every path; otherwise as in the other tables. The first 700,000 messages are more than 65,536 packets and 10 s: of
those that come behind them.

missed     messages that a gap was told of
repaired   from when the gap was told until an answer or a line brought it, in round trips of a request

 lines   trip  missed    repaired, trips
           ms                p50      p99

";

#[test]
fn what_repair_costs_where_nothing_is_reordered() {
    let mut table = ORDERLY_LEGEND.to_owned();
    for lines in [1, 2] {
        for round_trip in ROUND_TRIPS {
            let (loss, messages) = (Chance::per_mille(1), 1_000_000);
            let cell = Cell { lines, loss, round_trip, messages, measured_from: 700_001 };
            let Measured { missed, repaired, .. } = cell.run(Config::default());
            let hundredths = |percent| {
                let span = Measured::percentile(&repaired, percent).expect("something was lost");
                micros(span) * 100 / micros(round_trip)
            };
            let [half, most] = [50, 99].map(|percent| decimal(hundredths(percent), 2));
            let trip = decimal(micros(round_trip) / 100, 1);
            table.push_str(&format!("{lines:>6} {trip:>6} {missed:>7} {half:>10} {most:>8}\n"));
            assert!(lines > 1 || hundredths(50) <= 150, "{half} round trips");
        }
    }
    insta::assert_snapshot!("orderly", table);
}

/// The rows of one line that loses a twentieth, for every round trip.
fn rows(config: &Config) -> String {
    let row = |round_trip| {
        let (loss, messages) = (Chance::percent(5), 20_000);
        let cell = Cell { lines: 1, loss, round_trip, messages, measured_from: 1 };
        row(cell, &cell.run(config.clone()))
    };
    ROUND_TRIPS.into_iter().map(row).collect()
}

#[test]
fn a_change_of_one_constant_of_the_repair_policy_shows() {
    type Change = fn(&mut Config);
    let changes: [(&str, Change); 7] = [
        ("reorder_packets", |config| config.reorder_packets += 1),
        ("reorder_delay", |config| config.reorder_delay = Duration::from_micros(400)),
        ("max_request", |config| config.max_request = 16),
        ("max_in_flight", |config| config.max_in_flight = 4),
        ("initial_request_timeout", |config| config.initial_request_timeout *= 4),
        ("min_request_timeout", |config| config.min_request_timeout /= 2),
        ("max_backoff", |config| config.max_backoff = Duration::from_millis(20)),
    ];
    let kept = rows(&Config::default());
    assert_eq!(rows(&Config::default()), kept);
    for (name, change) in changes {
        let mut config = Config::default();
        change(&mut config);
        assert_ne!(rows(&config), kept, "another {name} does not show");
    }
}

const BACKFILL_LEGEND: &str = "\
A receiver begins at message 1 of a feed that is 50,000 messages ahead; one server, whose answers are packets of at
most 1400 bytes; nothing is lost; the default configuration. Virtual time.

messages   their lengths, in bytes; alternating: 1,000 long ones, then 1,000 short ones, and so on
requests   sent
needed     requests that would do if each answer were full
more       requests for each needed one
asked      messages asked for, for each missing one
took       until everything was delivered, in round trips

messages        trip  requests   needed   more  asked   took
                  ms                                   trips

";

/// The rows: the messages, the most requests a hundred needed ones.
const BACKFILLS: [(&str, Lengths, u64); 7] = [
    ("36", Lengths::Equal(36), 110),
    ("100", Lengths::Equal(100), 110),
    ("650", Lengths::Equal(650), 110),
    ("1300", Lengths::Equal(1300), 110),
    ("ITCH", Lengths::Itch, 110),
    ("10 to 500", Lengths::Uniform(10, 500), 130),
    ("500, 36, ...", Lengths::Alternating(500, 36, 1000), 130),
];

#[test]
fn a_backfill_asks_hardly_more_often_than_whole_answers_take() {
    let mut table = BACKFILL_LEGEND.to_owned();
    for (name, lengths, most) in BACKFILLS {
        for round_trip in ROUND_TRIPS {
            let backfill = Backfill { lengths, round_trip, messages: 50_000 };
            let Backfilled { requests, needed, requested, took } = backfill.run(Config::default());
            let trip = decimal(micros(round_trip) / 100, 1);
            let more = decimal(requests * 100 / needed, 2);
            let asked = decimal(requested * 100 / backfill.messages, 2);
            let trips = micros(took) / micros(round_trip);
            let row = format!("{name:<14} {trip:>5} {requests:>9} {needed:>8}");
            table.push_str(&format!("{row} {more:>6} {asked:>6} {trips:>6}\n"));
            assert!(requests * 100 <= needed * most, "{row}");
        }
    }
    insta::assert_snapshot!("backfill", table);
}
