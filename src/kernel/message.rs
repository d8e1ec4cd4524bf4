//! Netlink message headers, the walk over a datagram, and the kernel's error answers.

use super::attribute::Attributes;

/// Length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// Length of `struct nfgenmsg`.
pub(crate) const NFGENMSG: usize = 4;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const NLMSG_OVERRUN: u16 = 4;
/// Types below it are netlink's own, whatever the subsystem.
pub(crate) const NLMSG_MIN_TYPE: u16 = 0x10;

pub(crate) const NLM_F_REQUEST: u16 = 0x001;
pub(crate) const NLM_F_ACK: u16 = 0x004;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x010;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
/// On an answer: the refused request was cut to its header.
const NLM_F_CAPPED: u16 = 0x100;
/// On an answer: extended acknowledgement attributes follow.
const NLM_F_ACK_TLVS: u16 = 0x200;

const NFNL_SUBSYS_CTNETLINK: u16 = 1 << 8;
const NFNL_SUBSYS_CTNETLINK_EXP: u16 = 2 << 8;
/// `IPCTNL_MSG_CT_NEW`, also the type of every entry in a dump.
pub(crate) const CT_NEW: u16 = NFNL_SUBSYS_CTNETLINK;
/// `IPCTNL_MSG_CT_GET`.
pub(crate) const CT_GET: u16 = NFNL_SUBSYS_CTNETLINK | 1;
/// `IPCTNL_MSG_CT_GET_CTRZERO`.
pub(crate) const CT_GET_CTRZERO: u16 = NFNL_SUBSYS_CTNETLINK | 3;
/// `IPCTNL_MSG_CT_GET_UNCONFIRMED`.
pub(crate) const CT_GET_UNCONFIRMED: u16 = NFNL_SUBSYS_CTNETLINK | 7;
/// `IPCTNL_MSG_CT_DELETE`.
pub(crate) const CT_DELETE: u16 = NFNL_SUBSYS_CTNETLINK | 2;
/// `IPCTNL_MSG_CT_GET_STATS_CPU`.
pub(crate) const CT_GET_STATS_CPU: u16 = NFNL_SUBSYS_CTNETLINK | 4;
/// `IPCTNL_MSG_CT_GET_STATS`.
pub(crate) const CT_GET_STATS: u16 = NFNL_SUBSYS_CTNETLINK | 5;
/// `IPCTNL_MSG_CT_GET_DYING`.
pub(crate) const CT_GET_DYING: u16 = NFNL_SUBSYS_CTNETLINK | 6;
/// `IPCTNL_MSG_EXP_GET`.
pub(crate) const EXP_GET: u16 = NFNL_SUBSYS_CTNETLINK_EXP | 1;
/// `IPCTNL_MSG_EXP_NEW`, also the type of every expectation in a dump.
pub(crate) const EXP_NEW: u16 = NFNL_SUBSYS_CTNETLINK_EXP;
/// `IPCTNL_MSG_EXP_GET_STATS_CPU`.
pub(crate) const EXP_GET_STATS_CPU: u16 = NFNL_SUBSYS_CTNETLINK_EXP | 3;
/// `IPCTNL_MSG_EXP_DELETE`.
pub(crate) const EXP_DELETE: u16 = NFNL_SUBSYS_CTNETLINK_EXP | 2;

/// One netlink message of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// The whole message, header included.
    pub bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// What follows the header.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER..).unwrap_or(&[])
    }

    /// `nlmsg_pid`: the netlink port of the program that the message goes back to; on an event that
    /// of the one that caused it, 0 for none.
    #[must_use]
    pub fn port(&self) -> u32 {
        let port = self.bytes.get(12..HEADER).and_then(|b| b.try_into().ok());
        port.map_or(0, u32::from_ne_bytes)
    }

    /// The answer that an error message holds; `None` for other messages and for cut ones.
    #[must_use]
    pub fn answer(&self) -> Option<Answer<'a>> {
        if self.kind != NLMSG_ERROR {
            return None;
        }
        let payload = self.payload();
        let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
        Some(Answer {
            errno: code.checked_neg().unwrap_or(i32::MAX),
            sentence: self.sentence(payload).unwrap_or(""),
        })
    }

    fn sentence(&self, payload: &'a [u8]) -> Option<&'a str> {
        const NLMSGERR_ATTR_MSG: u16 = 1;
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let request = payload.get(4..)?;
        let length = if self.flags & NLM_F_CAPPED == 0 {
            let length = u32::from_ne_bytes(request.get(..4)?.try_into().ok()?);
            usize::try_from(length).ok()?.max(HEADER)
        } else {
            HEADER
        };
        let attributes = request.get(length.checked_next_multiple_of(4)?..)?;
        let (_, text) = Attributes::new(attributes)
            .filter_map(Result::ok)
            .find(|(number, _)| *number == NLMSGERR_ATTR_MSG)?;
        let text = text.split(|byte| *byte == 0).next()?;
        std::str::from_utf8(text).ok()
    }

    /// The error that ended a dump, as `errno`; 0 for a good end, `None` for no end at all.
    #[must_use]
    pub fn done(&self) -> Option<i32> {
        if self.kind != NLMSG_DONE {
            return None;
        }
        let code = self.payload().get(..4).and_then(|b| b.try_into().ok());
        let code = code.map_or(0, i32::from_ne_bytes);
        // A dump ends with its last callback's result: negative for an error.
        Some(if code < 0 { code.saturating_neg() } else { 0 })
    }
}

/// The kernel's answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Error number; 0 is an acknowledgement.
    pub errno: i32,
    /// The kernel's own sentence (extended acknowledgement); empty where it sent none.
    pub sentence: &'a str,
}

/// The datagram holds bytes that are no netlink message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a datagram holds {0} bytes that are no netlink message")]
pub struct Broken(pub usize);

/// Walks the messages of a datagram.
#[must_use]
pub fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages { rest: datagram }
}

/// See [`messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Broken>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(message) = split(self.rest) else {
            let broken = Broken(self.rest.len());
            self.rest = &[];
            return Some(Err(broken));
        };
        let next = message.bytes.len().next_multiple_of(4);
        self.rest = self.rest.get(next..).unwrap_or(&[]);
        Some(Ok(message))
    }
}

/// The message at the start of `bytes`, cut to the length it claims.
#[inline]
pub(crate) fn split(bytes: &[u8]) -> Option<Message<'_>> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let [l0, l1, l2, l3, t0, t1, f0, f1, s0, s1, s2, s3, ..] = *header;
    let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
    if length < HEADER {
        return None;
    }
    Some(Message {
        kind: u16::from_ne_bytes([t0, t1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        bytes: bytes.get(..length)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(flags: u16, code: i32, request: &[u8], attributes: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = HEADER + 4 + request.len() + attributes.len();
        bytes.extend(u32::try_from(length).unwrap().to_ne_bytes());
        bytes.extend(NLMSG_ERROR.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(code.to_ne_bytes());
        bytes.extend(request);
        bytes.extend(attributes);
        bytes
    }

    fn sentence() -> Vec<u8> {
        let text = b"Unknown conntrack object\0";
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(4 + text.len()).unwrap().to_ne_bytes());
        bytes.extend(1u16.to_ne_bytes());
        bytes.extend(text);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn the_kernels_sentence_is_read_behind_a_capped_request() {
        let bytes = error(NLM_F_CAPPED | NLM_F_ACK_TLVS, -2, &[0; 16], &sentence());
        let answer = split(&bytes).unwrap().answer().unwrap();
        assert_eq!(
            answer,
            Answer {
                errno: 2,
                sentence: "Unknown conntrack object"
            }
        );
    }

    #[test]
    fn the_kernels_sentence_is_read_behind_a_whole_request() {
        let mut request = vec![0xff; 30];
        request[..4].copy_from_slice(&30u32.to_ne_bytes());
        request.resize(32, 0);
        let bytes = error(NLM_F_ACK_TLVS, -22, &request, &sentence());
        let answer = split(&bytes).unwrap().answer().unwrap();
        assert_eq!(answer.sentence, "Unknown conntrack object");
        assert_eq!(answer.errno, 22);
    }

    #[test]
    fn an_acknowledgement_has_no_error() {
        let bytes = error(NLM_F_CAPPED, 0, &[0; 16], &[]);
        let answer = split(&bytes).unwrap().answer().unwrap();
        assert_eq!((answer.errno, answer.sentence), (0, ""));
    }

    #[test]
    fn a_length_past_the_datagram_is_broken_and_ends_the_walk() {
        let mut bytes = error(0, 0, &[0; 16], &[]);
        bytes.extend([0xff; 20]);
        let all: Vec<_> = messages(&bytes).collect();
        assert_eq!(all.len(), 2);
        assert!(all[1].is_err());
    }
}
