//! The records of `d_engine.pure`: classes that are looked up once, checked against what is written here, and from then on made
//! and read by the position of their fields.

use std::fmt;

use pyo3::exceptions::{PyImportError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyBytesMethods, PyInt, PyList, PyString, PyTuple, PyType};

/// A set of classes, as an `enum` with one value a class, numbered from 0.
pub trait Table: Copy + 'static {
    /// The package that exports them.
    const PACKAGE: &'static str;
    /// Each class with its fields, in order.
    const SHAPES: &'static [Shape<Self>];

    fn place(self) -> usize;
    fn classes() -> &'static PyOnceLock<Classes<Self>>;
}

/// A class as this side knows it.
pub struct Shape<K: 'static> {
    pub kind: K,
    pub name: &'static str,
    pub fields: &'static [&'static str],
}

macro_rules! records {
    ($(#[$about:meta])* $table:ident of $package:literal { $($class:ident($($field:ident),*)),* $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $table { $($class),* }

        impl $crate::core::records::Table for $table {
            const PACKAGE: &'static str = $package;
            const SHAPES: &'static [$crate::core::records::Shape<Self>] = &[$($crate::core::records::Shape {
                kind: Self::$class,
                name: stringify!($class),
                fields: &[$(stringify!($field)),*],
            }),*];

            fn place(self) -> usize {
                self as usize
            }

            fn classes() -> &'static pyo3::sync::PyOnceLock<$crate::core::records::Classes<Self>> {
                static CLASSES: pyo3::sync::PyOnceLock<$crate::core::records::Classes<$table>> =
                    pyo3::sync::PyOnceLock::new();
                &CLASSES
            }
        }
    };
}
pub(super) use records;

records! {
    /// The records of the core.
    Record of "d_engine.pure" {
        // types
        LogId(term, index),
        HardState(term, vote),
        Entry(index, term, kind, time, session, sequence, ack_below, data),
        Proposal(kind, session, sequence, ack_below, data),
        Member(id, address, client_address, role, priority, auto_promote, incarnation, leaving),
        Configuration(members, outgoing, min_election_timeout),
        Add(member),
        Remove(id),
        Promote(id),
        Demote(id),
        ChangeError(kind, detail),
        // start
        Settings(
            heartbeat_interval, election_timeout, drift_ppm, storage_stall_timeout, max_append_bytes, max_inflight_messages,
            max_inflight_bytes, max_uncommitted_bytes, tail_bytes, max_applying_bytes
        ),
        Start(
            id, incarnation, group, seed, hard_state, purged, last, term_runs, last_time, configurations, snapshot, applied
        ),
        // inputs
        Time(now, wall),
        Receive(now, wall, message),
        Propose(now, wall, batches),
        Read(now, id, lease),
        Transfer(now, id, to),
        ChangeMembers(now, wall, id, changes),
        Persisted(now, token),
        PersistFailed(now, token),
        Fetched(now, id, entries),
        Applied(now, index),
        ApplyStopped(now),
        SnapshotTaken(now, last),
        Purge(now, upto),
        SnapshotReceived(now, sender, term, last, time, configuration),
        SnapshotSent(now, to, delivered),
        Unreachable(now, node),
        Close(now, handover),
        // messages
        Message(sender, incarnation, to, term, body),
        PreVote(last),
        PreVoteReply(granted),
        Vote(last, transfer),
        VoteReply(granted),
        Append(prev, commit, entries),
        Accepted(matched),
        Rejected(prev, hint),
        Heartbeat(round, commit),
        HeartbeatReply(round, last, apply_stopped),
        SnapshotReply(matched),
        TimeoutNow(target),
        ForwardedPropose(id, entries),
        ProposeReply(id, result),
        ReadIndex(id, lease),
        ReadIndexReply(id, result),
        ForwardedChange(id, changes),
        ChangeReply(id, result),
        // effects
        Persist(token, hard_state, reset_to, truncate_from, entries),
        Fetch(id, lo, hi, max_bytes),
        Send(message),
        Apply(entries),
        Restore(last),
        PurgeLog(upto),
        SendSnapshot(to, at_least),
        Proposed(id, at),
        Forwarded(id, to),
        Refused(id, why),
        ReadReady(id, index),
        Transferred(id, to),
        Changing(id, at),
        ChangeRefused(id, why),
        Closed(),
        Changed(role, term, leader),
        Configured(index, configuration),
        WipedMember(id, expected, found),
        StorageStalled(stalled),
        StaleSnapshot(last),
        NotCatchingUp(id),
        Removed(),
    }
}

/// The classes of a table.
pub struct Classes<K: Table> {
    by_place: Vec<Py<PyType>>,
    by_address: Vec<(usize, K)>,
    /// `tuple.__new__`, as a plain function.
    new: ffi::newfunc,
}

impl<K: Table> Classes<K> {
    /// Looks them up, the first time.
    pub fn get(py: Python<'_>) -> PyResult<&'static Self> {
        K::classes().get_or_try_init(py, || Self::load(py))
    }

    fn load(py: Python<'_>) -> PyResult<Self> {
        let package = py.import(K::PACKAGE)?;
        let mut loaded = Self { by_place: Vec::new(), by_address: Vec::new(), new: tuple_new(py)? };
        for shape in K::SHAPES {
            let class = package.getattr(shape.name)?.cast_into::<PyType>()?;
            let fields: Vec<String> = class.getattr("_fields")?.extract()?;
            if !class.is_subclass_of::<PyTuple>()? || fields != shape.fields {
                let why = format!("{}.{} is not of this build: its fields are {fields:?}", K::PACKAGE, shape.name);
                return Err(PyImportError::new_err(why));
            }
            loaded.by_address.push((class.as_ptr() as usize, shape.kind));
            loaded.by_place.push(class.unbind());
        }
        loaded.by_address.sort_unstable_by_key(|&(address, _)| address);
        Ok(loaded)
    }

    /// A new record.
    pub fn make<'py, const N: usize>(
        &self,
        py: Python<'py>,
        kind: K,
        fields: [Bound<'py, PyAny>; N],
    ) -> PyResult<Bound<'py, PyAny>> {
        debug_assert_eq!(N, K::SHAPES[kind.place()].fields.len(), "{}", K::SHAPES[kind.place()].name);
        let arguments = PyTuple::new(py, [PyTuple::new(py, fields)?])?;
        let class = self.by_place[kind.place()].bind(py);
        // SAFETY: attached; `new` is what `tuple.__new__` is made of, `class` is a subclass of `tuple` (`load` has looked),
        // `arguments` is a tuple with the one argument that it takes, and there are no keywords. What comes back is a new
        // reference, or null with an exception set. The class's own `__new__` does nothing but give its arguments to this
        // function as one tuple: it is Python code, and would cost more than all the rest of a step.
        unsafe {
            let made = (self.new)(class.as_type_ptr(), arguments.as_ptr(), std::ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, made)
        }
    }

    /// A record that Python gave; `None`: it is none of this table.
    pub fn read<'a, 'py>(&self, object: &'a Bound<'py, PyAny>) -> Option<(K, Given<'a, 'py>)> {
        let class = object.get_type_ptr() as usize;
        let found = self.by_address.binary_search_by_key(&class, |&(address, _)| address).ok()?;
        let kind = self.by_address[found].1;
        let shape = &K::SHAPES[kind.place()];
        // One can be made with another length by going behind the class.
        let tuple = object.cast::<PyTuple>().ok().filter(|tuple| tuple.len() == shape.fields.len())?;
        Some((kind, Given { tuple, name: shape.name, fields: shape.fields }))
    }

    /// A record that must be of that one class.
    pub fn expect<'a, 'py>(&self, kind: K, object: &'a Bound<'py, PyAny>, place: Place) -> PyResult<Given<'a, 'py>> {
        match self.read(object) {
            Some((found, given)) if found.place() == kind.place() => Ok(given),
            _ => Err(place.wrong_type(K::SHAPES[kind.place()].name, object)),
        }
    }
}

/// The function behind `tuple.__new__`.
fn tuple_new(py: Python<'_>) -> PyResult<ffi::newfunc> {
    let tuple = py.get_type::<PyTuple>();
    // SAFETY: attached, and `tuple` is a type, whose slot of that number is null or a `newfunc`: an `Option` of it.
    let slot = unsafe {
        std::mem::transmute::<*mut std::ffi::c_void, Option<ffi::newfunc>>(ffi::PyType_GetSlot(
            tuple.as_type_ptr(),
            ffi::Py_tp_new,
        ))
    };
    slot.ok_or_else(|| PyImportError::new_err("this interpreter's tuple cannot be made"))
}

/// Where a value stands, for messages.
#[derive(Clone, Copy)]
pub struct Place {
    pub record: &'static str,
    pub field: &'static str,
}

impl Place {
    pub const fn new(record: &'static str, field: &'static str) -> Self {
        Self { record, field }
    }

    pub fn wrong_type(self, wanted: &str, found: &Bound<'_, PyAny>) -> PyErr {
        let kind = found.get_type().name().map_or_else(|_| "this object".into(), |name| name.to_string());
        PyTypeError::new_err(format!("{self}: {wanted} is needed, not {kind}"))
    }

    pub fn wrong_value(self, why: impl fmt::Display) -> PyErr {
        PyValueError::new_err(format!("{self}: {why}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.record, self.field)
    }
}

/// A record that Python gave: of a known class, with all its fields.
#[derive(Clone, Copy)]
pub struct Given<'a, 'py> {
    tuple: &'a Bound<'py, PyTuple>,
    name: &'static str,
    fields: &'static [&'static str],
}

impl<'a, 'py> Given<'a, 'py> {
    pub fn field(&self, at: usize) -> PyResult<Borrowed<'a, 'py, PyAny>> {
        self.tuple.get_borrowed_item(at)
    }

    pub fn place(&self, at: usize) -> Place {
        Place::new(self.name, self.fields.get(at).copied().unwrap_or_default())
    }

    pub fn number(&self, at: usize) -> PyResult<u64> {
        number(&*self.field(at)?, self.place(at))
    }

    /// A number that arithmetic on it cannot carry out of 64 bits.
    pub fn bounded(&self, at: usize, limit: u64) -> PyResult<u64> {
        bounded(self.number(at)?, limit, self.place(at))
    }

    pub fn size(&self, at: usize) -> PyResult<usize> {
        usize::try_from(self.number(at)?).map_err(|_| self.place(at).wrong_value("too large for this machine"))
    }

    pub fn maybe(&self, at: usize) -> PyResult<Option<u64>> {
        let value = self.field(at)?;
        if value.is_none() { Ok(None) } else { number(&value, self.place(at)).map(Some) }
    }

    pub fn maybe_bounded(&self, at: usize, limit: u64) -> PyResult<Option<u64>> {
        self.maybe(at)?.map(|value| bounded(value, limit, self.place(at))).transpose()
    }

    pub fn flag(&self, at: usize) -> PyResult<bool> {
        let value = self.field(at)?;
        value.cast::<PyBool>().map(|flag| flag.is_true()).map_err(|_| self.place(at).wrong_type("a bool", &value))
    }

    pub fn text(&self, at: usize) -> PyResult<String> {
        text(&*self.field(at)?, self.place(at), |text| Ok(text.to_owned()))
    }

    /// One of a set of names.
    pub fn name<T>(&self, at: usize, parse: impl FnOnce(&str) -> Option<T>) -> PyResult<T> {
        named(&*self.field(at)?, self.place(at), parse)
    }

    /// Several things.
    pub fn items(&self, at: usize) -> PyResult<Bound<'py, PyTuple>> {
        items(&*self.field(at)?, self.place(at))
    }

    /// Two things.
    pub fn pair(&self, at: usize) -> PyResult<Bound<'py, PyTuple>> {
        pair(&*self.field(at)?, self.place(at))
    }
}

pub fn number(value: &Bound<'_, PyAny>, place: Place) -> PyResult<u64> {
    // Nothing that has a `__index__` of its own: no code of anybody runs while a core is being stepped.
    let Ok(number) = value.cast::<PyInt>() else { return Err(place.wrong_type("an int", value)) };
    number.extract().map_err(|_: PyErr| place.wrong_value("a number from 0 to 2**64 - 1 is needed"))
}

pub fn bounded(value: u64, limit: u64, place: Place) -> PyResult<u64> {
    if value < limit {
        Ok(value)
    } else {
        Err(place.wrong_value(format_args!("{value} is beyond what can be reached")))
    }
}

pub fn text<T>(value: &Bound<'_, PyAny>, place: Place, then: impl FnOnce(&str) -> PyResult<T>) -> PyResult<T> {
    let Ok(text) = value.cast::<PyString>() else { return Err(place.wrong_type("a str", value)) };
    then(text.to_str().map_err(|_| place.wrong_value("text that can be encoded as UTF-8 is needed"))?)
}

pub fn named<T>(value: &Bound<'_, PyAny>, place: Place, parse: impl FnOnce(&str) -> Option<T>) -> PyResult<T> {
    text(value, place, |name| {
        parse(name).ok_or_else(|| place.wrong_value(format_args!("{name:?} is none of its values")))
    })
}

pub fn bytes<'a>(value: &'a Bound<'_, PyAny>, place: Place) -> PyResult<&'a [u8]> {
    value.cast::<PyBytes>().map(PyBytesMethods::as_bytes).map_err(|_| place.wrong_type("bytes", value))
}

pub fn items<'py>(value: &Bound<'py, PyAny>, place: Place) -> PyResult<Bound<'py, PyTuple>> {
    if let Ok(tuple) = value.cast::<PyTuple>() {
        Ok(tuple.clone())
    } else if let Ok(list) = value.cast::<PyList>() {
        Ok(list.to_tuple())
    } else {
        Err(place.wrong_type("a tuple", value))
    }
}

pub fn pair<'py>(value: &Bound<'py, PyAny>, place: Place) -> PyResult<Bound<'py, PyTuple>> {
    let pair = items(value, place)?;
    if pair.len() == 2 { Ok(pair) } else { Err(place.wrong_value("a pair is needed")) }
}

/// A number on its way to Python.
pub fn give(py: Python<'_>, value: u64) -> Bound<'_, PyAny> {
    let Ok(number) = value.into_pyobject(py);
    number.into_any()
}

pub fn give_maybe(py: Python<'_>, value: Option<u64>) -> Bound<'_, PyAny> {
    value.map_or_else(|| py.None().into_bound(py), |value| give(py, value))
}

pub fn give_flag(py: Python<'_>, value: bool) -> Bound<'_, PyAny> {
    PyBool::new(py, value).to_owned().into_any()
}

/// One of few names, which Python keeps.
pub fn give_name<'py>(py: Python<'py>, name: &str) -> Bound<'py, PyAny> {
    PyString::intern(py, name).into_any()
}
