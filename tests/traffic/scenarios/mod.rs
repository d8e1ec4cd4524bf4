//! What must hold for people's traffic, one file a scenario.

mod closing_and_idle;
mod dry_run;
mod half_closed;
mod house;
mod killed;
mod protected;
mod protocols;
mod restored;
mod stale_dnat;
mod thousand;
mod undone;

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
    closing_and_idle::time_wait_is_deleted_and_live_connections_go_on,
    closing_and_idle::idle_connections_are_expired_and_live_ones_are_not,
    half_closed::a_half_closed_download_is_not_cut,
    stale_dnat::a_stale_dnat_entry_is_removed_and_the_client_reaches_the_new_backend,
    protected::protected_and_own_flows_are_untouched_by_rules_that_match_them,
    protocols::live_flows_of_every_protocol_outlive_an_expire_of_all,
    protocols::a_ping_goes_on_after_its_entry_is_deleted,
    undone::a_deleted_nat_connection_goes_on_after_undo,
    thousand::a_thousand_live_nat_connections_outlive_an_expire_of_all,
    restored::a_restored_table_differs_in_nothing_that_a_kernel_lets_be_made,
    dry_run::plan_changes_nothing needs "strace",
    killed::a_killed_run_leaves_nothing_half_done,
    killed::undo_passes_over_a_run_that_was_killed_before_it_deleted,
];
