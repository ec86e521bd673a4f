//! The senders that wait for the disk, by the slot that their samples carry through the ring.
//! In: a slot per request at the border. Out: each is answered once, by the committer.
//! Invariants: a slot is given to one request at a time; whoever is never answered sees its channel close.

use std::{sync::Mutex, time::Instant};

use tokio::sync::oneshot;

/// What the disk has of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Reports of which something was new.
    pub accepted: u64,
    /// Reports that were known before.
    pub duplicates: u64,
}

#[derive(Debug)]
struct Sender {
    answer: oneshot::Sender<Committed>,
    since: Instant,
    offset: Option<(String, String)>,
}

#[derive(Debug)]
enum Slot {
    Free,
    Waiting(Sender),
    /// The sender was let go, its samples are still on their way.
    Abandoned,
}

#[derive(Debug, Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

/// The senders that wait.
#[derive(Debug, Default)]
pub struct Waiting {
    slots: Mutex<Slots>,
}

impl Waiting {
    /// The slot of a request that nobody waits for.
    pub const NOBODY: u32 = u32::MAX;

    /// A slot, and what will resolve when its samples are durable, `offset` in the same commit as their last.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    #[must_use]
    pub fn enter(&self, offset: Option<(String, String)>) -> (u32, oneshot::Receiver<Committed>) {
        let (answer, durable) = oneshot::channel();
        let waiting = Slot::Waiting(Sender {
            answer,
            since: Instant::now(),
            offset,
        });
        let mut slots = self.slots.lock().expect("no holder panics");
        let slot = match slots.free.pop() {
            Some(slot) => {
                slots.slots[slot as usize] = waiting;
                slot
            }
            None => {
                slots.slots.push(waiting);
                (slots.slots.len() - 1) as u32
            }
        };
        (slot, durable)
    }

    /// Gives a slot back without an answer: nothing was taken.
    pub fn leave(&self, slot: u32) {
        let _since = self.take(slot);
    }

    /// Answers the sender in `slot`; returns since when it waited, or `None` when nobody did.
    pub fn answer(&self, slot: u32, committed: Committed) -> Option<Instant> {
        let sender = self.take(slot)?;
        // A sender that went away meanwhile does not want its answer; what it sent stays durable.
        let _gone = sender.answer.send(committed);
        Some(sender.since)
    }

    /// How far its source was read when the request in `slot` is durable, for the commit that ends it.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn offset(&self, slot: u32) -> Option<(String, String)> {
        let mut slots = self.slots.lock().expect("no holder panics");
        match slots.slots.get_mut(slot as usize)? {
            Slot::Waiting(sender) => sender.offset.take(),
            Slot::Free | Slot::Abandoned => None,
        }
    }

    fn take(&self, slot: u32) -> Option<Sender> {
        if slot == Self::NOBODY {
            return None;
        }
        let mut slots = self.slots.lock().expect("no holder panics");
        let taken = std::mem::replace(slots.slots.get_mut(slot as usize)?, Slot::Free);
        if matches!(taken, Slot::Free) {
            return None;
        }
        slots.free.push(slot);
        match taken {
            Slot::Waiting(sender) => Some(sender),
            Slot::Free | Slot::Abandoned => None,
        }
    }

    /// Lets everybody go unanswered: the disk does not take what they sent now.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn abandon(&self) {
        let mut slots = self.slots.lock().expect("no holder panics");
        for slot in &mut slots.slots {
            if matches!(slot, Slot::Waiting(_)) {
                *slot = Slot::Abandoned;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_reused_and_answered_once() {
        let waiting = Waiting::default();
        let (a, mut first) = waiting.enter(None);
        let (b, _second) = waiting.enter(None);
        assert_ne!(a, b);
        let committed = Committed {
            accepted: 3,
            duplicates: 1,
        };
        assert!(waiting.answer(a, committed).is_some());
        assert!(waiting.answer(a, committed).is_none());
        assert_eq!(first.try_recv(), Ok(committed));
        assert_eq!(waiting.enter(None).0, a);
        assert!(waiting.answer(Waiting::NOBODY, committed).is_none());
    }

    #[test]
    fn the_abandoned_see_their_channel_close_and_their_slot_comes_back() {
        let waiting = Waiting::default();
        let (slot, mut durable) = waiting.enter(None);
        waiting.abandon();
        assert!(durable.try_recv().is_err());
        assert_ne!(
            waiting.enter(None).0,
            slot,
            "its samples are still on their way"
        );
        assert!(waiting.answer(slot, Committed::default()).is_none());
        assert_eq!(waiting.enter(None).0, slot);
    }
}
