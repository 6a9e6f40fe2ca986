//! Names and contents, and what becomes of them when the power goes.

use std::collections::BTreeMap;
use std::io;

use super::Operations;
use super::accidents::Accidents;
use super::inode::Inode;
use super::random::Random;

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Full names: of a directory's files with the directory before them.
    pub names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<Change>,
    pub operations: Operations,
    /// Power cuts so far.
    pub boot: u64,
    /// Counts what changes the platter.
    pub version: u64,
    pub random: Random,
    pub accidents: Accidents,
    pub dead: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

impl Change {
    fn is_in(&self, directory: &str) -> bool {
        match self {
            Self::Create(name, _) | Self::Rename(name, _) | Self::Remove(name) => is_in(name, directory),
        }
    }
}

/// Whether a file of that full name stands in that directory itself.
pub(super) fn is_in(name: &str, directory: &str) -> bool {
    name.strip_prefix(directory).is_some_and(|rest| !rest.contains('/'))
}

impl Disk {
    pub(super) fn inode_mut(&mut self, name: &str) -> Option<&mut Inode> {
        let number = self.names.get(name)?;
        self.inodes.get_mut(number)
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// Counts a changing operation that is not a write, in whose middle the power may go.
    pub(super) fn changes(&mut self) -> io::Result<()> {
        if self.power_goes()? { Self::no_power() } else { Ok(()) }
    }

    /// Counts a changing operation; answers whether the power goes in its middle.
    pub(super) fn power_goes(&mut self) -> io::Result<bool> {
        self.check_power()?;
        self.dead = self.accidents.power_goes();
        Ok(self.dead)
    }

    pub(super) fn no_power<T>() -> io::Result<T> {
        Err(io::Error::other("the power has gone"))
    }

    pub(super) fn create(&mut self, name: String) -> io::Result<u64> {
        self.changes()?;
        if self.names.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.operations.names += 1;
        let number = self.add(Inode::default());
        self.names.insert(name.clone(), number);
        self.unsynced_names.push(Change::Create(name, number));
        Ok(number)
    }

    fn add(&mut self, inode: Inode) -> u64 {
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, inode);
        number
    }

    /// Puts a durable file there.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) {
        self.version += 1;
        let number = self.add(Inode::durable(bytes));
        self.names.insert(name.to_owned(), number);
        self.durable_names.insert(name.to_owned(), number);
    }

    pub(super) fn rename(&mut self, from: String, to: String) -> io::Result<()> {
        self.changes()?;
        let number = self.names.remove(&from).ok_or(io::ErrorKind::NotFound)?;
        self.operations.names += 1;
        self.names.insert(to.clone(), number);
        self.unsynced_names.push(Change::Rename(from, to));
        Ok(())
    }

    pub(super) fn remove(&mut self, name: String) -> io::Result<()> {
        self.changes()?;
        self.names.remove(&name).ok_or(io::ErrorKind::NotFound)?;
        self.operations.names += 1;
        self.unsynced_names.push(Change::Remove(name));
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, directory: &str) -> io::Result<()> {
        self.changes()?;
        self.operations.directory_syncs += 1;
        self.version += 1;
        self.unsynced_names.retain(|change| !change.is_in(directory));
        self.durable_names.retain(|name, _| !is_in(name, directory));
        let names = self.names.iter().filter(|(name, _)| is_in(name, directory));
        self.durable_names.extend(names.map(|(name, &number)| (name.clone(), number)));
        Ok(())
    }

    /// Pulls the plug and plugs it in again.
    pub(super) fn cut(&mut self) {
        let mut random = self.random.clone();
        let Self { inodes, names, next_inode, .. } = self.after_cut(&mut random);
        self.random = random;
        (self.inodes, self.next_inode) = (inodes, next_inode);
        self.names.clone_from(&names);
        self.durable_names = names;
        self.unsynced_names.clear();
        self.boot += 1;
        self.version += 1;
        self.dead = false;
        self.accidents.power_is_back();
    }

    /// The disk as a power cut would leave it.
    pub(super) fn after_cut(&self, random: &mut Random) -> Self {
        let torn = self.accidents.torn_sectors;
        let mut inodes: BTreeMap<u64, Inode> =
            self.inodes.iter().map(|(&number, inode)| (number, inode.after_cut(random, torn))).collect();
        let mut names = self.durable_names.clone();
        for change in &self.unsynced_names {
            if random.below(2) == 0 {
                continue;
            }
            match change {
                Change::Create(name, inode) => {
                    names.insert(name.clone(), *inode);
                }
                Change::Rename(from, to) => {
                    if let Some(inode) = names.remove(from) {
                        names.insert(to.clone(), inode);
                    }
                }
                Change::Remove(name) => {
                    names.remove(name);
                }
            }
        }
        let kept: Vec<u64> = names.values().copied().collect();
        inodes.retain(|number, _| kept.contains(number));
        Self::of(inodes, names, self.next_inode)
    }

    /// What is durable, and nothing else.
    pub(super) fn platter(&self) -> Self {
        let kept =
            self.durable_names.values().filter_map(|number| Some((*number, self.inodes.get(number)?.on_platter())));
        Self::of(kept.collect(), self.durable_names.clone(), self.next_inode)
    }

    fn of(inodes: BTreeMap<u64, Inode>, names: BTreeMap<String, u64>, next_inode: u64) -> Self {
        Self { inodes, durable_names: names.clone(), names, next_inode, ..Self::default() }
    }

    /// Bytes in all files together.
    pub(super) fn used(&self) -> u64 {
        self.inodes.values().map(|inode| inode.shown.len() as u64).sum()
    }
}
