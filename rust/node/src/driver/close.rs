//! Closing: refuse, drain, hand over, stop.

use d_engine_raft::{Input, Micros, mutants};

use super::Driver;
use super::digest::Digest;
use super::types::{Action, Calls, Failure, Raft, Unknown};

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Closing {
    #[default]
    Open,
    Draining {
        handover: bool,
        until: Micros,
    },
    Asked,
    Done,
}

impl Closing {
    pub(super) const fn refuses(self) -> bool {
        !matches!(self, Self::Open)
    }

    pub(super) const fn done(self) -> bool {
        matches!(self, Self::Done)
    }

    pub(super) const fn begin(&mut self, handover: bool, until: Micros) {
        if matches!(self, Self::Open) {
            *self = Self::Draining { handover, until };
        }
    }

    pub(super) const fn deadline(self) -> Option<Micros> {
        match self {
            Self::Draining { until, .. } => Some(until),
            _ => None,
        }
    }

    pub(super) fn digest(self, out: &mut Digest) {
        match self {
            Self::Open => out.number(0),
            Self::Draining { handover, until } => {
                out.number(1);
                out.flag(handover);
                out.number(until);
            }
            Self::Asked => out.number(2),
            Self::Done => out.number(3),
        }
    }
}

impl<C: Raft, K: Calls> Driver<C, K> {
    pub(super) fn close_when_drained(&mut self, now: Micros, out: &mut Vec<Action<K>>) {
        if let Closing::Draining { handover, until } = self.closing
            && (now >= until || self.failed || self.waiting() == 0)
        {
            self.closing = Closing::Asked;
            self.step(now, Input::Close { handover }, out);
        }
    }

    pub(super) fn finish(&mut self, out: &mut Vec<Action<K>>) {
        self.closing = Closing::Done;
        self.fail_everything(out);
        out.push(Action::Closed);
    }

    /// Ends every call that waits in here; for a node that stops without closing its core.
    pub fn fail_everything(&mut self, out: &mut Vec<Action<K>>) {
        self.proposals.fail_held(&Failure::Closed, out);
        self.proposals.fail_placed(&Failure::Unknown(Unknown::Closed), out);
        if !mutants::on("41-readers-left") {
            self.reads.fail_all(&Failure::Closed, out);
        }
        self.policy.fail_waiting(&Failure::Closed, out);
        self.changes.fail_held(&Failure::Closed, out);
        self.changes.fail_placed(&Failure::Unknown(Unknown::Closed), out);
        self.transfers.fail_all(&Failure::Closed, out);
    }
}
