//! `Configuration`, `Member`, the changes of a membership and why they are refused, both ways.

use d_engine_raft::{Change, ChangeError, Configuration, Member, MemberRole, NodeId};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString, PyTuple};

use super::face::Face;
use super::records::{Given, Place, Record, give, give_flag, give_name, number, text};

/// Beyond what any clock or log reaches; arithmetic below it never overflows.
pub const LIMIT: u64 = 1 << 62;

impl Face {
    pub fn give_configuration<'py>(
        &mut self,
        py: Python<'py>,
        configuration: &Configuration,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut members = Vec::with_capacity(configuration.members.len());
        for member in &configuration.members {
            members.push(self.give_member(py, member)?);
        }
        let fields = [
            PyTuple::new(py, members)?.into_any(),
            give_numbers(py, &configuration.outgoing)?,
            give(py, configuration.min_election_timeout),
        ];
        self.records.make(py, Record::Configuration, fields)
    }

    fn give_member<'py>(&mut self, py: Python<'py>, member: &Member) -> PyResult<Bound<'py, PyAny>> {
        let text = |text: &String| PyString::new(py, text).into_any();
        let incarnation = match member.incarnation {
            Some(incarnation) => self.give_incarnation(py, incarnation)?,
            None => py.None().into_bound(py),
        };
        let fields = [
            give(py, member.id),
            text(&member.address),
            member.client_address.as_ref().map_or_else(|| py.None().into_bound(py), text),
            give_name(py, role_name(member.role)),
            member.priority.into_pyobject(py)?.into_any(),
            give_flag(py, member.auto_promote),
            incarnation,
            give_flag(py, member.leaving),
        ];
        self.records.make(py, Record::Member, fields)
    }

    pub fn read_configuration(&mut self, object: &Bound<'_, PyAny>, place: Place) -> PyResult<Configuration> {
        let given = self.records.expect(Record::Configuration, object, place)?;
        let mut members: Vec<Member> = Vec::new();
        for member in given.items(0)?.iter_borrowed() {
            let member = self.read_member(&member, given.place(0))?;
            if member.id == 0 {
                return Err(given.place(0).wrong_value("0 is no node's number"));
            }
            if members.last().is_some_and(|before| before.id >= member.id) {
                return Err(given.place(0).wrong_value("the members' numbers must ascend"));
            }
            members.push(member);
        }
        let outgoing = read_numbers(&given, 1)?;
        if !outgoing.is_sorted_by(|one, other| one < other) {
            return Err(given.place(1).wrong_value("the numbers must ascend"));
        }
        Ok(Configuration { members, outgoing, min_election_timeout: given.bounded(2, LIMIT)? })
    }

    fn read_member(&mut self, object: &Bound<'_, PyAny>, place: Place) -> PyResult<Member> {
        let given = self.records.expect(Record::Member, object, place)?;
        let client_address = given.field(2)?;
        let client_address = if client_address.is_none() {
            None
        } else {
            Some(text(&client_address, given.place(2), |text| Ok(text.to_owned()))?)
        };
        let priority = given.field(4)?;
        let priority = priority
            .cast::<PyInt>()
            .ok()
            .and_then(|priority| priority.extract::<i32>().ok())
            .ok_or_else(|| given.place(4).wrong_type("an int of 32 bits", &priority))?;
        let incarnation = given.field(6)?;
        let incarnation =
            if incarnation.is_none() { None } else { Some(self.read_incarnation(&incarnation, given.place(6))?) };
        Ok(Member {
            id: given.number(0)?,
            address: given.text(1)?,
            client_address,
            role: given.name(3, role)?,
            priority,
            auto_promote: given.flag(5)?,
            incarnation,
            leaving: given.flag(7)?,
        })
    }

    pub fn give_changes<'py>(&mut self, py: Python<'py>, changes: &[Change]) -> PyResult<Bound<'py, PyAny>> {
        let mut given = Vec::with_capacity(changes.len());
        for change in changes {
            given.push(match change {
                Change::Add(member) => {
                    let member = self.give_member(py, member)?;
                    self.records.make(py, Record::Add, [member])?
                }
                Change::Remove(id) => self.records.make(py, Record::Remove, [give(py, *id)])?,
                Change::Promote(id) => self.records.make(py, Record::Promote, [give(py, *id)])?,
                Change::Demote(id) => self.records.make(py, Record::Demote, [give(py, *id)])?,
            });
        }
        Ok(PyTuple::new(py, given)?.into_any())
    }

    pub fn read_changes(&mut self, object: &Bound<'_, PyAny>, place: Place) -> PyResult<Vec<Change>> {
        let tuple = super::records::items(object, place)?;
        let mut changes = Vec::with_capacity(tuple.len());
        for object in tuple.iter_borrowed() {
            changes.push(match self.records.read(&object) {
                Some((Record::Add, given)) => Change::Add(self.read_member(&*given.field(0)?, given.place(0))?),
                Some((Record::Remove, given)) => Change::Remove(given.number(0)?),
                Some((Record::Promote, given)) => Change::Promote(given.number(0)?),
                Some((Record::Demote, given)) => Change::Demote(given.number(0)?),
                _ => return Err(place.wrong_type("Add, Remove, Promote or Demote", &object)),
            });
        }
        Ok(changes)
    }

    pub fn give_change_error<'py>(&self, py: Python<'py>, error: ChangeError) -> PyResult<Bound<'py, PyAny>> {
        let (name, detail) = change_error_parts(error);
        let detail = PyTuple::new(py, detail)?.into_any();
        self.records.make(py, Record::ChangeError, [give_name(py, name), detail])
    }
}

pub fn read_change_error(given: &Given<'_, '_>) -> PyResult<ChangeError> {
    let detail = read_numbers(given, 1)?;
    given.name(0, |name| change_error(name, &detail))
}

pub fn give_numbers<'py>(py: Python<'py>, numbers: &[NodeId]) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyTuple::new(py, numbers)?.into_any())
}

fn read_numbers(given: &Given<'_, '_>, at: usize) -> PyResult<Vec<u64>> {
    given.items(at)?.iter_borrowed().map(|value| number(&value, given.place(at))).collect()
}

const fn role_name(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
        MemberRole::Witness => "witness",
    }
}

fn role(name: &str) -> Option<MemberRole> {
    match name {
        "voter" => Some(MemberRole::Voter),
        "learner" => Some(MemberRole::Learner),
        "witness" => Some(MemberRole::Witness),
        _ => None,
    }
}

/// A refusal's name, and what it is about.
pub fn change_error_parts(error: ChangeError) -> (&'static str, Vec<u64>) {
    match error {
        ChangeError::Empty => ("empty", vec![]),
        ChangeError::Duplicate(id) => ("duplicate", vec![id]),
        ChangeError::UnknownMember(id) => ("unknown_member", vec![id]),
        ChangeError::NotALearner(id) => ("not_a_learner", vec![id]),
        ChangeError::NotAVoter(id) => ("not_a_voter", vec![id]),
        ChangeError::RoleOfMember(id) => ("role_of_member", vec![id]),
        ChangeError::WitnessRole(id) => ("witness_role", vec![id]),
        ChangeError::NotSeen(id) => ("not_seen", vec![id]),
        ChangeError::NoVoterLeft => ("no_voter_left", vec![]),
        ChangeError::TooManyWitnesses { witnesses, allowed } => {
            ("too_many_witnesses", vec![witnesses as u64, allowed as u64])
        }
        ChangeError::NoChange => ("no_change", vec![]),
        ChangeError::ZeroId => ("zero_id", vec![]),
        ChangeError::InFlight(index) => ("in_flight", vec![index]),
        ChangeError::NotReady => ("not_ready", vec![]),
        ChangeError::NotLeader => ("not_leader", vec![]),
        ChangeError::Transferring => ("transferring", vec![]),
        ChangeError::StorageStalled => ("storage_stalled", vec![]),
        ChangeError::Closing => ("closing", vec![]),
        ChangeError::Overloaded => ("overloaded", vec![]),
    }
}

fn change_error(name: &str, detail: &[u64]) -> Option<ChangeError> {
    Some(match (name, detail) {
        ("empty", []) => ChangeError::Empty,
        ("duplicate", &[id]) => ChangeError::Duplicate(id),
        ("unknown_member", &[id]) => ChangeError::UnknownMember(id),
        ("not_a_learner", &[id]) => ChangeError::NotALearner(id),
        ("not_a_voter", &[id]) => ChangeError::NotAVoter(id),
        ("role_of_member", &[id]) => ChangeError::RoleOfMember(id),
        ("witness_role", &[id]) => ChangeError::WitnessRole(id),
        ("not_seen", &[id]) => ChangeError::NotSeen(id),
        ("no_voter_left", []) => ChangeError::NoVoterLeft,
        ("too_many_witnesses", &[witnesses, allowed]) => ChangeError::TooManyWitnesses {
            witnesses: usize::try_from(witnesses).ok()?,
            allowed: usize::try_from(allowed).ok()?,
        },
        ("no_change", []) => ChangeError::NoChange,
        ("zero_id", []) => ChangeError::ZeroId,
        ("in_flight", &[index]) => ChangeError::InFlight(index),
        ("not_ready", []) => ChangeError::NotReady,
        ("not_leader", []) => ChangeError::NotLeader,
        ("transferring", []) => ChangeError::Transferring,
        ("storage_stalled", []) => ChangeError::StorageStalled,
        ("closing", []) => ChangeError::Closing,
        ("overloaded", []) => ChangeError::Overloaded,
        _ => return None,
    })
}
