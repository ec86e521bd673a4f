//! The threads of the house: one committer, the shards, the tuner, the keeper, and what flows between them.
//! In: arrivals from the intake ring, controls from the API. Out: durable groups, and effects in later groups.
//! The committer is the only writer of the log. It feeds each shard through a one-to-one ring and the tuner through
//! a bounded queue; both send their effects back through the committer's inbox.
//! Invariants: a full ring or queue towards a shard or the tuner makes the committer wait, and while it waits it empties
//! its inbox, so the circle can't lock; the wait fills the intake, which answers 429.

mod committer;
mod effects;
mod feed;
mod keeper;
mod settings_known;
mod shards;
mod studies;
mod tuner;

pub use committer::StopReason;
pub(crate) use committer::{
    BOOKMARK_FORMAT, Bookmark, Committer, Pace, State, WATCH_FORMAT, WATCH_PART,
};
pub(crate) use effects::Pending;
pub use feed::{Inbox, Part, ShardFeed, ShardQuery, TunerFeed};
pub(crate) use keeper::{KeeperLinks, Keeping, spawn_keeper};
pub(crate) use settings_known::Moved;
pub(crate) use shards::{
    ASKED_FORMAT, ASKED_PART, SHARD_FORMAT, Saved, ShardLinks, ShardSetup, spawn_shards,
};
pub(crate) use studies::{
    Look, STUDIES_FORMAT, StudiesFeed, StudyAnswer, StudyAskers, spawn_studies,
};
pub(crate) use tuner::{TUNER_FORMAT, spawn_tuner};
