//! What a completed token sets free.

use crate::types::Token;

use super::{Core, State};

impl Core {
    pub(super) fn persisted(&mut self, token: Token) {
        if let Some(upto) = self.durability.persisted(token) {
            self.log.made_durable(upto);
            if let State::Leader(leadership) = &mut self.state {
                leadership.held_more = true;
            }
        }
        self.check_stall();
        let mut released = std::mem::take(&mut self.released);
        self.durability.release(token, &mut released);
        for message in released.drain(..) {
            if message.term < self.hard_state.term {
                // Made in a term that has passed: nobody may count it.
                continue;
            }
            if message.to == self.id {
                self.receive(message);
            } else {
                self.sends.push(message);
            }
        }
        self.released = released;
    }
}
