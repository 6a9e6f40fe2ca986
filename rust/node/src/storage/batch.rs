//! What one sync of the log takes in.

use std::collections::VecDeque;

use d_engine_raft::{Entry, LogId, Persist, Token};

/// One unit of storage work, in the order in which the driver wanted it.
#[derive(Clone, Debug)]
pub enum LogTask {
    /// To be stored.
    Persist(Persist),
    /// To be forgotten.
    Purge(LogId),
}

impl LogTask {
    /// Bytes of entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Persist(persist) => persist.entries.iter().map(Entry::size).sum(),
            Self::Purge(_) => 0,
        }
    }
}

/// Units that are written and synced together, and the purge that comes behind them.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    /// In their order.
    pub units: Vec<Persist>,
    /// To be made once they are durable, before anything else is written: it changes files that a write uses.
    pub purge: Option<LogId>,
}

impl LogBatch {
    /// Takes everything that waits, up to a purge and bounded in bytes of entries (one unit may be larger).
    pub fn collect(tasks: &mut VecDeque<LogTask>, limit: usize) -> Self {
        let mut batch = Self { units: Vec::with_capacity(tasks.len().min(64)), purge: None };
        let mut bytes = 0;
        while let Some(task) = tasks.pop_front() {
            bytes += task.bytes();
            match task {
                LogTask::Persist(_) if !batch.units.is_empty() && bytes > limit => {
                    tasks.push_front(task);
                    break;
                }
                LogTask::Persist(persist) => batch.units.push(persist),
                LogTask::Purge(upto) => {
                    batch.purge = Some(upto);
                    break;
                }
            }
        }
        batch
    }

    /// What to report once the units are durable.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.units.last().map(|unit| unit.token)
    }
}
