//! `gapless publish`: a file as a feed, on bad lines if wanted, with answers for whoever misses
//! something.

mod notices;
mod publication;
mod published;

use gapless_core::transmitter;

use crate::args::{Format, Publish};
use crate::failure::{Failure, Outcome};
use crate::input;
use crate::input::flow::{Recording, Survey, elsewhere};
use crate::journal::Journal;
use crate::stop::Stop;

pub(crate) use publication::{Network, Pacing, Publication};
pub(crate) use published::Published;

/// Publishes as the command line says.
///
/// # Errors
/// A file or a socket failed, or the command line makes no sense.
pub(crate) fn run(args: &Publish, stop: &Stop) -> Result<Outcome, Failure> {
    args.check()?;
    let mut publication = match args.format() {
        Format::Pcap => publish_capture(args, stop)?,
        format => publish_messages(args, format, stop)?,
    };
    publication.report_broken()?;
    if publication.is_interrupted() {
        publication.flush()?;
    } else {
        publication.end(args.linger)?;
    }
    publication.close();
    publication.progress.clear();
    let outcome = publication.journal.outcome(publication.outcome());
    let result: String =
        publication.published().iter().map(|published| published.text(args.json)).collect();
    publication.output.conclude(&result, outcome)
}

/// Where the feed goes.
fn network(args: &Publish) -> Result<Network, Failure> {
    Ok(Network {
        journal: Journal::prepare(&args.journaling)?,
        id: 0,
        to: args.to.clone(),
        requests: args.requests,
        ttl: args.ttl,
        receive_buffer: args.receive_buffer,
        mtu: args.mtu as usize,
        keep: usize::try_from(args.keep).unwrap_or(usize::MAX),
        answer_rate: args.answer_rate,
        odds: args.odds(),
        answer_loss: args.answer_loss.get(),
        seed: args.seed,
    })
}

fn publish_messages<'a>(
    args: &Publish,
    format: Format,
    stop: &'a Stop,
) -> Result<Publication<'a>, Failure> {
    let open = || match format {
        Format::Lines => input::lines(&args.input),
        _ => input::binaryfile(&args.input),
    };
    let mut messages = open()?;
    let Some(session) = args.session else {
        return Err(Failure::usage("a session needs a name").advise("add --session NAME"));
    };
    let own = transmitter::Config {
        first_sequence: args.first_sequence.unwrap_or(1),
        ..transmitter::Config::new(session)
    };
    let mut publication = Publication::new(network(args)?, Some(own), 1, stop)?;
    publication.print_every(args.stats, args.json);
    publication.report_port();
    let mut pacing = Pacing::new(args.rate);
    publication.messages(&mut *messages, &mut pacing)?;
    for _ in 1..args.repeat {
        let before = publication.messages;
        publication.messages(&mut *open()?, &mut pacing)?;
        if publication.is_interrupted() || publication.messages == before {
            break;
        }
    }
    Ok(publication)
}

fn publish_capture<'a>(args: &Publish, stop: &'a Stop) -> Result<Publication<'a>, Failure> {
    let recording = Recording::new(&args.input, stop)?;
    let survey = Survey::new(&recording, stop)?;
    let warning = survey.skipped.matters().then(|| format!("warning: skipped {}", survey.skipped));
    let (to, flow) = survey.choose(&recording.name, args.flow)?;
    let mut publication = Publication::new(network(args)?, None, flow.sessions.len(), stop)?;
    publication.print_every(args.stats, args.json);
    if let Some(warning) = warning {
        publication.progress.report(warning);
    }
    if args.session.is_some() {
        publication.progress.report("note: --session is ignored, a capture keeps its own sessions");
    }
    elsewhere(&recording, to, &flow, stop, |packet| Ok(publication.driver.store(packet)?))?;
    publication.report_port();
    publication.capture(&recording, to, args.rate)?;
    Ok(publication)
}
