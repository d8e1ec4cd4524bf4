//! The running kernel, in the network namespace of the calling thread.

use rustix::io::Errno;

use super::decode::decode;
use super::event::Groups;
use super::listener::Listener;
use super::module::{self, Presence};
use super::socket::{Socket, SocketError};
use super::stats::ExpectationStatistics;
use super::sweep::{Sweep, SweepError, SweepOptions};
use super::sysctl::{LiveTunables, Tunables};
use super::{addresses, ct_timeout, dump, expect, identity, request, stats};
use crate::flow::{Expectation, Flow, FlowKey, OwnedExtra};
use crate::history::History;
use crate::observe::{Connection, Dumped, Header, Observe, ObserveError, Record, Visit};

/// A tunable outside `net/netfilter` that decides how long a silent connection may be alive.
const KEEPALIVE: &str = "net.ipv4.tcp_keepalive_time";

/// Connection tracking of the running kernel.
///
/// Every method acts in the network namespace of the thread that calls it.
#[derive(Clone, Debug, Default)]
pub struct Live {
    session: Vec<Connection>,
    loads: bool,
    only: Only,
}

/// Narrows what a dump shows; the default shows all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// The entry with this key, which is asked for by itself: nothing is dumped.
    pub key: Option<FlowKey>,
    /// Entries with this `CTA_ID`.
    pub id: Option<u32>,
    /// Entries that are deleted, and kept until a listener has taken the event of that.
    pub dying: bool,
}

/// Passes on what [`Only`] lets through.
struct WithId<'v> {
    id: u32,
    visitor: &'v mut dyn Visit,
}

impl Visit for WithId<'_> {
    fn visit(&mut self, record: &Record<'_>) {
        if record.flow.id() == Some(self.id) {
            self.visitor.visit(record);
        }
    }
}

impl Live {
    /// The running kernel. `session` holds the connections of the caller's own session, which
    /// [`session`](super::session) finds.
    #[must_use]
    pub fn new(session: Vec<Connection>) -> Self {
        Self {
            session,
            ..Self::default()
        }
    }

    /// The same, but dumps show no more than this.
    #[must_use]
    pub fn only(self, only: Only) -> Self {
        Self { only, ..self }
    }

    /// The same, but what is asked of ctnetlink may have the kernel load its module: for whoever
    /// is about to change the table anyway.
    #[must_use]
    pub fn loading(self) -> Self {
        Self {
            loads: true,
            ..self
        }
    }

    /// The kernel's tunables.
    #[must_use]
    pub fn tunables(&self) -> LiveTunables {
        LiveTunables
    }

    /// Whether connection tracking is there. Asked of the sysctl directory: a request would have
    /// the kernel load the module.
    #[must_use]
    pub fn has_conntrack(&self) -> bool {
        LiveTunables.exists("nf_conntrack_count")
    }

    /// Entries as the kernel counts them in this namespace.
    ///
    /// # Errors
    /// Where connection tracking is absent or the caller may not ask.
    pub fn count(&self) -> Result<u64, ObserveError> {
        self.require()?;
        let mut socket = Socket::netfilter().map_err(observe)?;
        Ok(stats::table(&mut socket).map_err(observe)?.entries)
    }

    /// Expectations as the kernel counts them in this namespace.
    ///
    /// # Errors
    /// Where connection tracking is absent or the caller may not ask.
    pub fn expectation_statistics(&self) -> Result<ExpectationStatistics, ObserveError> {
        self.require()?;
        let mut socket = Socket::netfilter().map_err(observe)?;
        stats::expectations(&mut socket).map_err(observe)
    }

    /// One entry by its key; `None` where there is none.
    ///
    /// # Errors
    /// Where connection tracking is absent or the caller may not ask.
    pub fn get(&self, key: &FlowKey) -> Result<Option<(Flow, OwnedExtra)>, ObserveError> {
        let mut found = None;
        self.ask_for(key, |record| {
            found = Some((record.flow, record.extra.to_owned()));
        })?;
        Ok(found)
    }

    /// Hands on the entry with this key, if there is one.
    fn ask_for(
        &self,
        key: &FlowKey,
        mut take: impl FnMut(&Record<'_>),
    ) -> Result<(), ObserveError> {
        self.require()?;
        let mut socket = Socket::netfilter().map_err(observe)?;
        let sequence = socket.take_sequence(1);
        let request = request::get(key, sequence);
        let mut broken = None;
        let operation = "get an entry over ctnetlink";
        let asked = socket.ask(
            &request,
            sequence,
            false,
            operation,
            |message| match decode(message.bytes) {
                Ok(record) => take(&record),
                Err(error) => broken = Some(error),
            },
        );
        match (asked, broken) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(error)) => Err(ObserveError::Failed {
                what: operation.to_owned(),
                source: error.into(),
            }),
            (Err(error), _) if error.errno() == Some(Errno::NOENT.raw_os_error()) => Ok(()),
            (Err(error), _) => Err(observe(error)),
        }
    }

    /// Hands on every expectation.
    ///
    /// # Errors
    /// Where connection tracking is absent or the caller may not ask.
    pub fn expectations(&self, take: &mut dyn FnMut(&Expectation<'_>)) -> Result<(), ObserveError> {
        self.require()?;
        expect::dump(take)
    }

    /// Starts to change entries. What [`Observe`] offers can only look; this is the one way to
    /// change the table.
    ///
    /// # Errors
    /// Where connection tracking is absent or the caller may not change it.
    pub fn sweep(&self, options: SweepOptions) -> Result<Sweep, SweepError> {
        Sweep::start(options)
    }

    /// Starts to hear events, with so many bytes of room for those that wait to be read
    /// ([`ROOM`](super::listener::ROOM) is a good number).
    ///
    /// With `nf_conntrack_events = 2`, the default since Linux 5.19, the kernel tells nothing more
    /// of entries that were made before anybody listened.
    ///
    /// # Errors
    /// Where connection tracking is absent or the caller may not listen.
    pub fn listen(&self, groups: Groups, room: usize) -> Result<Listener, ObserveError> {
        self.require()?;
        Listener::open(groups, room).map_err(observe)
    }

    fn require(&self) -> Result<(), ObserveError> {
        if !self.has_conntrack() {
            return Err(ObserveError::Absent(
                "connection tracking is not loaded: /proc/sys/net/netfilter/nf_conntrack_count does not exist"
                    .to_owned(),
            ));
        }
        if !self.loads && module::presence(module::CTNETLINK) == Presence::NotLoaded {
            return Err(ObserveError::Absent(
                "ctnetlink is not loaded, and looking does not load it: `modprobe nf_conntrack_netlink` does"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Everything of the [`header`](Observe::header) that ctnetlink need not be asked for: no
    /// counters of processors and no timeout objects.
    ///
    /// # Errors
    /// Where `/proc` is not mounted.
    pub fn surroundings(&self) -> Result<Header, ObserveError> {
        let netns = identity::netns().map_err(|source| ObserveError::Failed {
            what: "find the calling thread's network namespace".to_owned(),
            source: source.into(),
        })?;
        let mut header = Header {
            host: identity::host(),
            boot_id: identity::boot_id(),
            kernel: identity::kernel_release(),
            conntidy: env!("CARGO_PKG_VERSION").to_owned(),
            netns,
            time_ns: identity::time_ns(),
            uptime_ns: identity::uptime_ns(),
            cores: identity::cores(),
            memory: identity::memory(),
            conntrack: self.has_conntrack(),
            module_load: module::load(module::CONNTRACK),
            count: LiveTunables
                .read("nf_conntrack_count")
                .ok()
                .and_then(|count| count.trim().parse().ok()),
            addresses: addresses::own().ok(),
            session: self.session.clone(),
            history: History::default(),
            ..Header::default()
        };
        for name in LiveTunables
            .names()
            .into_iter()
            .chain([KEEPALIVE.to_owned()])
        {
            if let Some(reading) = LiveTunables.reading(&name) {
                header.tunables.insert(name, reading);
            }
        }
        Ok(header)
    }
}

/// The size of the hash table; a dump during which it changes is not whole, and nothing else says
/// so.
fn buckets() -> Option<String> {
    LiveTunables.read("nf_conntrack_buckets").ok()
}

impl Observe for Live {
    fn header(&self) -> Result<Header, ObserveError> {
        let mut header = self.surroundings()?;
        if header.conntrack {
            self.require()?;
            let mut socket = Socket::netfilter().map_err(observe)?;
            header.count = Some(stats::table(&mut socket).map_err(observe)?.entries);
            header.cpu = stats::cpu(&mut socket).map_err(observe)?;
            header.ct_timeout_protocols = ct_timeout::protocols();
        }
        Ok(header)
    }

    fn dump(&self, visitors: &mut [&mut dyn Visit]) -> Result<Dumped, ObserveError> {
        if let Some(id) = self.only.id {
            let all = Self {
                only: Only {
                    id: None,
                    ..self.only
                },
                ..self.clone()
            };
            let mut visitors: Vec<_> = visitors
                .iter_mut()
                .map(|visitor| WithId {
                    id,
                    visitor: &mut **visitor,
                })
                .collect();
            let mut visitors: Vec<_> = visitors.iter_mut().map(|v| v as &mut dyn Visit).collect();
            return all.dump(&mut visitors);
        }
        if let (Some(key), Some(visitor)) = (self.only.key, visitors.first_mut()) {
            let mut dumped = Dumped::default();
            self.ask_for(&key, |record| {
                dumped.entries += 1;
                visitor.visit(record);
            })?;
            return Ok(dumped);
        }
        self.require()?;
        if let (true, Some(visitor)) = (self.only.dying, visitors.first_mut()) {
            return dump::dying(*visitor).map_err(observe);
        }
        let before = buckets();
        let mut dumped = dump::dump(visitors).map_err(observe)?;
        let after = buckets();
        // An unreadable size proves nothing, and what is unproven counts as the worse.
        dumped.resized = before.is_none() || before != after;
        Ok(dumped)
    }
}

/// What a failed conversation means to whoever looks.
pub(crate) fn observe(error: SocketError) -> ObserveError {
    let is = |known: &[Errno]| {
        known
            .iter()
            .any(|one| error.errno() == Some(one.raw_os_error()))
    };
    if is(&[Errno::PERM, Errno::ACCESS]) {
        return ObserveError::Permission(format!(
            "{error}: CAP_NET_ADMIN is needed in the user namespace that owns this network namespace"
        ));
    }
    if is(&[
        Errno::INVAL,
        Errno::PROTONOSUPPORT,
        Errno::AFNOSUPPORT,
        Errno::OPNOTSUPP,
    ]) {
        return ObserveError::Absent(format!("{error}: this kernel has no ctnetlink"));
    }
    ObserveError::Failed {
        what: "look at the connection tracking table".to_owned(),
        source: Box::new(error),
    }
}
