//! What must hold for people's traffic, one file a scenario.

mod house;

use crate::Scenario;

/// Lists functions by their path, with the tool that one needs beyond those that all need.
macro_rules! scenarios {
    ($($module:ident :: $function:ident $(needs $tool:literal)?),* $(,)?) => {
        &[$(Scenario {
            name: concat!(stringify!($module), "::", stringify!($function)),
            run: $module::$function,
            tools: &[$($tool)?],
        }),*]
    };
}

/// Every scenario.
pub(crate) const ALL: &[Scenario] = scenarios![
    house::every_kind_of_flow_is_tracked,
    house::a_remapped_connection_does_not_survive_a_plain_delete,
    house::a_stale_dnat_entry_keeps_the_old_backend,
    house::a_shortened_entry_is_rearmed_by_its_next_packet,
];
