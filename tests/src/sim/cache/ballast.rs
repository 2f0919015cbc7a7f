//! Another track in the same cache, whose groups take the memory that the feed's would like to have.

use gapless_core::cache::Cache;
use gapless_core::cache::{Answer, CallError, Event, GroupId, Limits, TrackId};
use gapless_core::journal::Driven;
use gapless_core::{Duration, Instant};

/// The groups that are written beside the feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ballast {
    /// A group every so often, until `ends`.
    pub every: Duration,
    /// Frames in a group.
    pub frames: u32,
    /// Bytes of a frame.
    pub size: usize,
    /// When the last group is written.
    pub ends: Instant,
    /// Whether a group is left unfinished, and dropped when the next comes.
    pub drops: bool,
}

/// A publisher of ballast.
#[derive(Debug)]
pub(super) struct Ballasting {
    plan: Ballast,
    track: TrackId,
    open: Option<GroupId>,
    pub(super) next: Option<Instant>,
}

impl Ballasting {
    pub(super) fn new(now: Instant, plan: Ballast, cache: &mut impl Driven<Cache>) -> Self {
        let limits = Limits::default();
        let created =
            cache.call(now, Event::CreateTrack { name: b"ballast", publisher: 1, limits });
        let Ok(Answer::Track(track)) = created else { panic!("{created:?}") };
        Self { plan, track, open: None, next: Some(now + plan.every) }
    }

    /// Writes what is due by now; what the cache refused.
    pub(super) fn write(
        &mut self,
        now: Instant,
        call: &mut dyn FnMut(Event<'_>) -> Result<Answer, CallError>,
    ) -> Vec<CallError> {
        let mut refused = Vec::new();
        if self.next.is_none_or(|next| next > now) {
            return refused;
        }
        let following = now + self.plan.every;
        self.next = Some(following).filter(|&next| next <= self.plan.ends);
        let frame = vec![0xBA; self.plan.size];
        let mut call = |event: Event<'_>| call(event).inspect_err(|&refusal| refused.push(refusal));
        if let Some(group) = self.open.take() {
            let _ = call(Event::DropGroup { group });
        }
        if let Ok(Answer::Group(group)) = call(Event::AppendGroup { track: self.track }) {
            for _ in 0..self.plan.frames {
                if call(Event::Append { group, frame: &frame }).is_err() {
                    break;
                }
            }
            if self.plan.drops {
                self.open = Some(group);
            } else {
                let _ = call(Event::FinishGroup { group });
            }
        }
        refused
    }
}
