//! What must hold for people's traffic, one file a scenario.

mod house;

use crate::Scenario;

/// Every scenario.
pub(crate) const ALL: &[Scenario] = &[
    (
        "house::every_kind_of_flow_is_tracked",
        house::every_kind_of_flow_is_tracked,
    ),
    (
        "house::a_remapped_connection_does_not_survive_a_plain_delete",
        house::a_remapped_connection_does_not_survive_a_plain_delete,
    ),
    (
        "house::a_stale_dnat_entry_keeps_the_old_backend",
        house::a_stale_dnat_entry_keeps_the_old_backend,
    ),
    (
        "house::a_shortened_entry_is_rearmed_by_its_next_packet",
        house::a_shortened_entry_is_rearmed_by_its_next_packet,
    ),
];
