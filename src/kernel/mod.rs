//! The kernel's edge: the only code that touches Linux networking.
//!
//! Everything that comes in is decoded here, by one decoder; everything that goes out is encoded
//! here. [`Live`] is the running kernel as an [`Observe`](crate::observe::Observe), and the one
//! place with writing.

pub mod addresses;
mod attribute;
pub mod capability;
pub mod ct_timeout;
pub mod decode;
mod decode_aside;
mod decode_expectation;
mod decode_tuple;
pub mod direct;
mod dump;
pub mod encode;
pub mod event;
pub mod expect;
pub mod flush;
pub mod identity;
pub mod imported;
pub mod links;
pub mod listener;
pub mod live;
pub mod message;
pub mod module;
pub mod namespace;
pub mod nft;
mod nft_set;
pub mod recorded;
mod request;
pub mod session;
pub mod sets;
mod socket;
mod stats;
pub mod sweep;
pub mod sysctl;
pub mod tally;

pub use decode_aside::aside;
pub use encode::Change;
pub use live::{Live, Only};
pub use recorded::Recorded;
pub use socket::SocketError;
pub use stats::{ExpectationStatistics, TableStatistics};
pub use sweep::{Feeder, Sweep, SweepError, SweepOptions};
pub use tally::Tally;
