//! The interfaces that groups are joined and sent on. They may go away while a driver runs, and come back
//! under another index, without the groups: then they are attached to again. Looked at once a second, which
//! asks the system a few questions for each group, and no more.

use std::io;
use std::time::Duration;

use crate::socket::index_of;
use crate::{Address, Interface};

/// How often interfaces are looked at.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(1);

/// A change of the interface of a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum InterfaceEvent {
    /// It is gone, or the group cannot be attached to it any more: nothing comes and goes until it is back.
    Gone,
    /// It is back, or another one that answers to its description, and the group is attached to that.
    Back,
}

/// A group that is attached to an interface.
#[derive(Debug)]
pub(crate) struct Attachment {
    interface: Interface,
    /// The index of the interface: it says whether that is still the same.
    index: u32,
    is_gone: bool,
    /// The change that is not reported yet.
    event: Option<InterfaceEvent>,
}

impl Attachment {
    /// That of a group that was attached a moment ago; `None` for unicast.
    pub(crate) fn new(address: &Address) -> Option<Self> {
        let interface = address.interface()?.clone();
        // Index 0 is no interface's: if it went away meanwhile, that is seen at the first check.
        let index = index_of(&interface).unwrap_or(0);
        Some(Self { interface, index, is_gone: false, event: None })
    }

    /// Looks whether the interface is still there. Where another is in its place, `attach` is given the old
    /// index and the new one. What it does not manage is tried again at the next check.
    pub(crate) fn check(&mut self, attach: impl FnOnce(u32, u32) -> io::Result<()>) {
        let here = match index_of(&self.interface) {
            // Renamed, or its address was taken from it, which groups do not mind.
            Err(_) if !self.is_gone && self.index > 0 => index_of(&Interface::Index(self.index)),
            found => found,
        };
        let here = match here {
            Ok(index) if index == self.index && !self.is_gone => return,
            Ok(index) => attach(self.index, index).map(|()| index),
            Err(error) => Err(error),
        };
        match here {
            Ok(index) => {
                self.index = index;
                self.is_gone = false;
                self.event = Some(InterfaceEvent::Back);
            }
            Err(_) if !self.is_gone => {
                self.is_gone = true;
                self.event = Some(InterfaceEvent::Gone);
            }
            Err(_) => {}
        }
    }

    /// The change since this was called last.
    pub(crate) const fn take_event(&mut self) -> Option<InterfaceEvent> {
        self.event.take()
    }
}
