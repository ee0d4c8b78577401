//! The transcripts that need only rpcd and uhttpd.

use crate::running::Running;
use crate::transcript::{replay, replay_locally};

macro_rules! scenarios {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                let router = Running::bare();
                replay($name, &router.client, &|action| panic!("{action} needs a network"));
            }
        )*
    };
}

scenarios! {
    s01_transport_errors: "01-transport-errors",
    s02_transport_id: "02-transport-id",
    s03_transport_batch: "03-transport-batch",
    s04_transport_http: "04-transport-http",
    s05_session_login: "05-session-login",
    s06_session_methods: "06-session-methods",
    s07_session_timeout: "07-session-timeout",
    s08_session_destroy: "08-session-destroy",
    s09_acl_operator: "09-acl-operator",
    s10_acl_viewer: "10-acl-viewer",
    s11_list: "11-list",
    s12_uci_get: "12-uci-get",
    s13_uci_add: "13-uci-add",
    s14_uci_values: "14-uci-values",
    s15_uci_set: "15-uci-set",
    s16_uci_delete: "16-uci-delete",
    s17_uci_rename_order: "17-uci-rename-order",
    s18_uci_changes_commit_revert: "18-uci-changes-commit-revert",
    s19_uci_isolation: "19-uci-isolation",
    s20_uci_two_anonymous: "20-uci-two-anonymous",
    s21_uci_stale_section: "21-uci-stale-section",
    s22_uci_configs: "22-uci-configs",
    s23_apply_confirm: "23-apply-confirm",
    s24_apply_timeout: "24-apply-timeout",
    s25_apply_rollback: "25-apply-rollback",
    s26_apply_while_pending: "26-apply-while-pending",
    s27_apply_staged_later_is_replaced: "27-apply-staged-later-is-replaced",
    s28_apply_arguments: "28-apply-arguments",
    s29_apply_false_while_pending: "29-apply-false-while-pending",
    s30_apply_session_ends: "30-apply-session-ends",
    s31_apply_login_pending: "31-apply-login-pending",
    s32_rollback_loses_others: "32-rollback-loses-others",
    s34_file: "34-file",
}

// Scenarios that show in which order a request names its options stay with HTTP: our client sorts them.
macro_rules! local_scenarios {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                let router = Running::bare();
                replay_locally($name, &router.socket);
            }
        )*
    };
}

local_scenarios! {
    l12_uci_get: "12-uci-get",
    l13_uci_add: "13-uci-add",
    l15_uci_set: "15-uci-set",
    l16_uci_delete: "16-uci-delete",
    l17_uci_rename_order: "17-uci-rename-order",
    l18_uci_changes_commit_revert: "18-uci-changes-commit-revert",
    l19_uci_isolation: "19-uci-isolation",
    l21_uci_stale_section: "21-uci-stale-section",
    l23_apply_confirm: "23-apply-confirm",
    l24_apply_timeout: "24-apply-timeout",
    l25_apply_rollback: "25-apply-rollback",
    l26_apply_while_pending: "26-apply-while-pending",
    l27_apply_staged_later_is_replaced: "27-apply-staged-later-is-replaced",
    l29_apply_false_while_pending: "29-apply-false-while-pending",
    l31_apply_login_pending: "31-apply-login-pending",
    l32_rollback_loses_others: "32-rollback-loses-others",
}

/// The session of programs on the router itself is nobody's over HTTP.
#[test]
fn an_empty_session_is_no_session() {
    let router = Running::bare();
    for sid in ["", " ", "0"] {
        let reply = router.client.call(sid, "uci", "get", serde_json::json!({"config": "rpcd"}));
        assert_eq!(reply["code"], -32002, "{sid:?}: {reply}");
    }
}
