//! The threads of a node.
//!
//! | thread | waits in | does |
//! | --- | --- | --- |
//! | core | `Park` | inbox, peers' frames, deadlines, core and driver |
//! | log, log-2 | the log queue | write, sync; taking turns |
//! | reader | its queue | old entries |
//! | apply | the apply queue | the state machine: batches, queries, restore |
//! | snapshot | its queue | writing views, committing files |
//! | transfer | its queue | snapshots from and to other nodes |
//! | send | its queue | a plugin's transport |

mod applier;
mod apply;
mod calls;
pub mod clock;
mod core_loop;
mod identify;
mod inbox;
mod join;
mod log;
pub mod park;
mod peers;
mod queue;
mod reader;
mod send;
mod shared;
mod snapshots;
mod start;
mod threads;
mod transfer;
mod watch;

pub(crate) use apply::ApplyTask;
pub(crate) use calls::{Proposal, Query};
pub(crate) use core_loop::{Queues, end_item};
pub(crate) use inbox::{Inbox, Item};
use queue::Queue;
pub(crate) use shared::Shared;
pub(crate) use start::{Running, start};
pub(crate) use threads::Threads;
