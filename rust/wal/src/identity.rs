//! The identity record: whose directory this is.

use d_engine_raft::{Configuration, GroupId, Incarnation, NodeId};

/// Whose data a directory holds. Written once, when the directory is first used; only a recovery from a lost quorum changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The member's number.
    pub node: NodeId,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's number, made of its name and initial members.
    pub cluster_id: u128,
    /// Which of the cluster's logs.
    pub group: GroupId,
    /// How often the cluster was recovered from a lost quorum.
    pub recovery_epoch: u64,
    /// Drawn when the directory was made.
    pub incarnation: Incarnation,
    /// The cluster's initial members; `None` on a node that joined later.
    pub initial: Option<Configuration>,
}

/// The format of identity records that this build writes, and the newest it reads.
pub const IDENTITY_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"d-eng-id";

/// Why bytes are not an identity record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoIdentity {
    Damaged(String),
    Version(u16),
}

impl Identity {
    /// ```text
    ///      0      8  magic "d-eng-id"
    ///      8      2  format version
    ///     10      2  0
    ///     12      4  CRC32C of everything behind these 4 bytes, then of the 12 before
    ///     16      8  node
    ///     24     16  cluster id
    ///     40      8  group
    ///     48      8  recovery epoch
    ///     56     16  incarnation
    ///     72      4  bytes of the cluster's name (UTF-8)
    ///     76      4  bytes of the initial configuration; 2^32 - 1: there is none
    ///     80         name, configuration
    /// ```
    pub(crate) fn encode(&self) -> Vec<u8> {
        let initial = self.initial.as_ref().map(Configuration::encode);
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&IDENTITY_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.node.to_le_bytes());
        out.extend_from_slice(&self.cluster_id.to_le_bytes());
        out.extend_from_slice(&self.group.to_le_bytes());
        out.extend_from_slice(&self.recovery_epoch.to_le_bytes());
        out.extend_from_slice(&self.incarnation.0.to_le_bytes());
        out.extend_from_slice(&length(self.cluster.len()));
        out.extend_from_slice(&initial.as_ref().map_or([0xff; 4], |bytes| length(bytes.len())));
        out.extend_from_slice(self.cluster.as_bytes());
        out.extend_from_slice(&initial.unwrap_or_default());
        let crc = checksum(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, NoIdentity> {
        let damaged = |reason: &str| NoIdentity::Damaged(reason.to_owned());
        let mut source = Source(bytes);
        let cut = || damaged("it is cut off");
        if source.array::<8>().ok_or_else(cut)? != MAGIC {
            return Err(damaged("it does not begin as one"));
        }
        let version = u16::from_le_bytes(source.array().ok_or_else(cut)?);
        source.array::<2>().ok_or_else(cut)?;
        if u32::from_le_bytes(source.array().ok_or_else(cut)?) != checksum(bytes) {
            return Err(damaged("its checksum does not match"));
        }
        if version != IDENTITY_VERSION {
            return Err(NoIdentity::Version(version));
        }
        let node = u64::from_le_bytes(source.array().ok_or_else(cut)?);
        let cluster_id = u128::from_le_bytes(source.array().ok_or_else(cut)?);
        let group = u64::from_le_bytes(source.array().ok_or_else(cut)?);
        let recovery_epoch = u64::from_le_bytes(source.array().ok_or_else(cut)?);
        let incarnation = Incarnation(u128::from_le_bytes(source.array().ok_or_else(cut)?));
        let name = u32::from_le_bytes(source.array().ok_or_else(cut)?);
        let members = u32::from_le_bytes(source.array().ok_or_else(cut)?);
        let name = source.take(name as usize).ok_or_else(cut)?;
        let cluster = String::from_utf8(name.to_vec()).map_err(|_| damaged("the cluster's name is not UTF-8"))?;
        let initial = if members == u32::MAX {
            None
        } else {
            let bytes = source.take(members as usize).ok_or_else(cut)?;
            Some(Configuration::decode(bytes).map_err(|error| NoIdentity::Damaged(error.to_string()))?)
        };
        if !source.0.is_empty() {
            return Err(damaged("bytes follow its end"));
        }
        Ok(Self { node, cluster, cluster_id, group, recovery_epoch, incarnation, initial })
    }
}

fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[16.min(record.len())..]), &record[..12.min(record.len())])
}

struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}
