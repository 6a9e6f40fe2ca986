//! What becomes of a message: lost, late, doubled, overtaken, or cut off.

use d_engine_raft::{Body, Message, Micros, NodeId};

use crate::random::{Purpose, Stream};

/// The highest number that a node may have.
pub const MAX_NODES: usize = 15;
const LANES: usize = 3;

/// How messages fare that are not cut off. Chances are in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// It reaches nobody.
    pub loss: u64,
    /// It arrives twice.
    pub duplication: u64,
    /// It does not wait for those before it.
    pub reordering: u64,
    /// The shortest and the longest way.
    pub delay: (Micros, Micros),
    /// A piece of a snapshot reaches nobody.
    pub chunk_loss: u64,
}

impl Weather {
    /// One quiet local network.
    pub const CALM: Self = Self { loss: 0, duplication: 0, reordering: 0, delay: (80, 600), chunk_loss: 0 };

    fn worse(self, other: Self) -> Self {
        Self {
            loss: self.loss.max(other.loss),
            duplication: self.duplication.max(other.duplication),
            reordering: self.reordering.max(other.reordering),
            delay: (self.delay.0.max(other.delay.0), self.delay.1.max(other.delay.1)),
            chunk_loss: self.chunk_loss.max(other.chunk_loss),
        }
    }
}

/// Frames of one lane to one node keep their order, unless they are reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Votes, heartbeats, reads.
    Control,
    /// Entries.
    Data,
    /// Snapshots.
    Bulk,
}

/// The lane of a message, as the node's own runtime has it.
#[must_use]
pub const fn lane(message: &Message) -> Lane {
    match message.body {
        Body::Append { .. } | Body::Propose { .. } | Body::ProposeReply { .. } | Body::ChangeReply { .. } => Lane::Data,
        _ => Lane::Control,
    }
}

/// When copies of a message arrive; none: it is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The message.
    pub first: Option<Micros>,
    /// A second copy of it.
    pub second: Option<Micros>,
}

/// All connections.
#[derive(Debug)]
pub struct Network {
    random: Stream,
    storms: Vec<(u64, Weather)>,
    weather: Weather,
    cuts: Vec<(u64, Vec<(NodeId, NodeId)>)>,
    /// For each sender, the receivers that it does not reach.
    blocked: [u32; MAX_NODES + 1],
    /// When the newest frame of each lane arrives.
    newest: Vec<Micros>,
}

fn at(node: NodeId) -> usize {
    usize::try_from(node).unwrap_or(0).min(MAX_NODES)
}

impl Network {
    /// A calm one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Stream::new(seed, Purpose::Network),
            storms: Vec::new(),
            weather: Weather::CALM,
            cuts: Vec::new(),
            blocked: [0; MAX_NODES + 1],
            newest: vec![0; (MAX_NODES + 1) * (MAX_NODES + 1) * LANES],
        }
    }

    /// That weather comes on top of the others, until `calm` with the same number.
    pub fn storm(&mut self, number: u64, weather: Weather) {
        self.storms.push((number, weather));
        self.mix();
    }

    /// From now on these senders do not reach these receivers, until `mend` with the same number.
    pub fn cut(&mut self, number: u64, links: Vec<(NodeId, NodeId)>) {
        self.cuts.push((number, links));
        self.mix();
    }

    /// Ends what `storm` or `cut` began with that number.
    pub fn mend(&mut self, number: u64) {
        self.storms.retain(|(storm, _)| *storm != number);
        self.cuts.retain(|(cut, _)| *cut != number);
        self.mix();
    }

    /// Ends everything.
    pub fn mend_all(&mut self) {
        self.storms.clear();
        self.cuts.clear();
        self.mix();
    }

    fn mix(&mut self) {
        self.weather = self.storms.iter().fold(Weather::CALM, |sum, (_, one)| sum.worse(*one));
        self.blocked = [0; MAX_NODES + 1];
        for &(from, to) in self.cuts.iter().flat_map(|(_, links)| links) {
            self.blocked[at(from)] |= 1 << at(to);
        }
    }

    /// Whether nothing gets from there to there.
    #[must_use]
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.blocked[at(from)] & (1 << at(to)) != 0
    }

    /// What becomes of a message that leaves now.
    pub fn route(&mut self, now: Micros, from: NodeId, to: NodeId, lane: Lane, chunk: bool) -> Route {
        let weather = self.weather;
        if self.is_cut(from, to) || self.random.happens(weather.loss) {
            return Route::default();
        }
        if chunk && self.random.happens(weather.chunk_loss) {
            return Route::default();
        }
        let first = Some(self.arrival(now, from, to, lane));
        let second = self.random.happens(weather.duplication).then(|| self.arrival(now, from, to, lane));
        Route { first, second }
    }

    fn arrival(&mut self, now: Micros, from: NodeId, to: NodeId, lane: Lane) -> Micros {
        let (shortest, longest) = self.weather.delay;
        let arrives = now + self.random.between(shortest, longest);
        if self.random.happens(self.weather.reordering) {
            return arrives;
        }
        let newest = &mut self.newest[(at(from) * (MAX_NODES + 1) + at(to)) * LANES + lane as usize];
        *newest = arrives.max(*newest + 1);
        *newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_keeps_its_order_and_a_cut_lasts_until_it_is_mended() {
        let mut network = Network::new(1);
        let mut before = 0;
        for now in 0..1_000 {
            let route = network.route(now, 1, 2, Lane::Data, false);
            let first = route.first.expect("calm weather loses nothing");
            assert!(first > before && route.second.is_none());
            before = first;
        }
        network.cut(7, vec![(1, 2)]);
        network.cut(8, vec![(1, 2), (2, 1)]);
        network.mend(7);
        assert_eq!(network.route(2_000, 1, 2, Lane::Data, false), Route::default());
        assert!(network.is_cut(2, 1) && !network.is_cut(1, 3));
        network.mend(8);
        assert!(network.route(2_000, 1, 2, Lane::Data, false).first.is_some());
    }

    #[test]
    fn bad_weather_loses_doubles_and_reorders() {
        let mut network = Network::new(2);
        let weather = Weather {
            loss: 200_000,
            duplication: 200_000,
            reordering: 500_000,
            delay: (10, 90_000),
            chunk_loss: 900_000,
        };
        network.storm(1, weather);
        let routes: Vec<Route> = (0..1_000).map(|now| network.route(now, 1, 2, Lane::Control, false)).collect();
        let lost = routes.iter().filter(|route| route.first.is_none()).count();
        let doubled = routes.iter().filter(|route| route.second.is_some()).count();
        let arrivals: Vec<Micros> = routes.iter().filter_map(|route| route.first).collect();
        assert!((100..300).contains(&lost) && (80..280).contains(&doubled), "{lost} {doubled}");
        assert!(arrivals.windows(2).any(|pair| pair[0] > pair[1]), "some overtake others");
        let chunks = (0..1_000).filter(|&now| network.route(now, 1, 2, Lane::Bulk, true).first.is_none()).count();
        assert!(chunks > 800, "{chunks}");
    }
}
