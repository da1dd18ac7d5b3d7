"""Configuration, data, code and logs: rows of ASVS 5.0 and their evidence."""

from tests.asvs.evidence import Partly, Row

ROWS = (
    Row(
        "13.1.1",
        2,
        "connections are written down",
        (
            "SECURITY.md#connections",
            "docs/operations.md#whom-authapi-talks-to-asvs-1311",
            "deploy/kubernetes/network-policies.yaml",
        ),
    ),
    Row(
        "13.2.1",
        2,
        "services have credentials of their own",
        (
            "deploy/make-secrets.sh",
            "deploy/postgres/roles.sh",
        ),
    ),
    Row(
        "13.2.2",
        2,
        "services have few rights",
        (
            "deploy/postgres/roles.sh",
            "tests/deploy/test_database_roles.py::test_the_service_lives_with_it",
        ),
    ),
    Row(
        "13.2.3",
        2,
        "no default credentials",
        Partly(
            "secret keys are checked; the password in the database URL is not",
            (
                "tests/test_production_checks.py::TestProductionProblems::test_each_is_named_alone",
                "tests/test_production_checks.py::TestWeakness::test_what_can_be_guessed",
            ),
        ),
    ),
    Row(
        "13.2.4",
        2,
        "the service calls few others",
        (
            "tests/asvs/test_asvs_v14.py::test_asvs_14_2_3",
            "tests/verify/test_keys.py::TestTrouble::test_redirects_are_not_followed",
            "tests/verify/test_verifier.py::TestConstruction::test_unsafe_addresses",
        ),
    ),
    Row(
        "13.2.5",
        2,
        "the host lets few connections out",
        (
            "deploy/kubernetes/network-policies.yaml",
            "deploy/compose.yaml",
        ),
    ),
    Row(
        "13.3.1",
        2,
        "no secrets in sources and images",
        (
            "tests/asvs/test_asvs_v13.py::test_asvs_13_3_1",
            "tests/test_settings.py::TestFiles::test_a_secret_is_read_from_a_file_without_its_line_break",
            "tests/test_dockerfile.py::TestImage::test_carries_no_secret",
        ),
    ),
    Row(
        "13.3.2",
        2,
        "few may read secrets",
        Partly(
            "the generated ones are for their owner only; files that the operator mounts are not looked at",
            (
                "deploy/make-secrets.sh",
                "tests/cli/test_server.py::TestDevelopment::test_from_nothing_to_ready_and_back",
            ),
        ),
    ),
    Row(
        "13.4.1",
        1,
        "no repository in a release",
        (
            "tests/asvs/test_asvs_v15.py::test_asvs_15_2_3",
            "tests/test_dockerfile.py::TestBuild::test_the_build_context_is_exactly_what_is_copied",
        ),
    ),
    Row(
        "13.4.2",
        2,
        "debugging is off",
        (
            "tests/asvs/test_asvs_v13.py::test_asvs_13_4_2",
            "tests/middleware/test_stack.py::TestEveryAnswer::test_500_says_nothing",
        ),
    ),
    Row(
        "13.4.3",
        2,
        "directories are not listed",
        ("tests/asvs/test_asvs_v13.py::test_asvs_13_4_3",),
    ),
    Row(
        "13.4.4",
        2,
        "TRACE is off",
        ("tests/asvs/test_asvs_v13.py::test_asvs_13_4_4",),
    ),
    Row(
        "13.4.5",
        2,
        "documentation and numbers are not public",
        (
            "tests/asvs/test_asvs_v13.py::test_asvs_13_4_5",
            "tests/cli/test_server.py::TestProduction::test_it_shows_no_documentation",
            "tests/api/test_metrics.py::TestWhoMaySee::test_production_shows_it_on_the_same_machine",
        ),
    ),
    Row(
        "14.1.1",
        2,
        "data has classes",
        ("SECURITY.md#data", "docs/operations.md#data-and-its-protection-asvs-1411-1412"),
    ),
    Row(
        "14.1.2",
        2,
        "each class has its protection",
        ("SECURITY.md#data", "docs/operations.md#data-and-its-protection-asvs-1411-1412"),
    ),
    Row(
        "14.2.1",
        1,
        "no secrets in addresses",
        Partly(
            "none in the API; the links of mails carry a token that works once, and no log or referrer shows it",
            (
                "tests/asvs/test_asvs_v14.py::test_asvs_14_2_1",
                "tests/middleware/test_request_context.py::TestAccessLog::test_one_line_names_the_template_and_no_query",
                "tests/api/test_pages.py::TestSecrecy::test_no_token_reaches_a_log",
            ),
        ),
    ),
    Row(
        "14.2.2",
        2,
        "nothing sensitive is cached at the server",
        Partly(
            "Redis holds counters by address and user id, which expire; no dump is searched for secrets",
            ("tests/test_rate_limit_redis.py::TestRedisStorage::test_what_is_spent_expires",),
        ),
    ),
    Row(
        "14.2.3",
        2,
        "nothing goes to trackers",
        (
            "tests/asvs/test_asvs_v14.py::test_asvs_14_2_3",
            "tests/api/test_docs.py::TestPages::test_no_other_host_and_nothing_inline",
        ),
    ),
    Row(
        "14.2.4",
        2,
        "protection is as it is written down",
        (
            "tests/asvs/test_asvs_v16.py::test_asvs_16_2_5",
            "tests/mail/test_mail_delivery.py::TestSecrets::test_neither_logs_nor_rows_hold_the_link",
            "tests/services/test_service_clients.py::TestCreate::test_only_a_digest_of_the_secret_is_stored",
        ),
    ),
    Row(
        "14.3.1",
        1,
        "logout clears what the browser keeps",
        Partly(
            "the cookie is removed; Clear-Site-Data is not sent, and tokens in memory are the app's",
            ("tests/api/test_sessions.py::TestLogout::test_access_and_refresh_token_end_at_once",),
        ),
    ),
    Row(
        "14.3.2",
        2,
        "answers about somebody are not kept",
        ("tests/asvs/test_asvs_v14.py::test_asvs_14_3_2",),
    ),
    Row(
        "14.3.3",
        2,
        "nothing in the browser's storage",
        ("tests/browser/test_docs_page.py::TestSwaggerUI::test_token_is_not_stored",),
    ),
    Row(
        "15.1.1",
        1,
        "time to a fix is written down",
        ("SECURITY.md#time-to-a-fix",),
    ),
    Row(
        "15.1.2",
        2,
        "a bill of materials",
        (
            "tests/test_locks.py::test_holds_only_pinned_and_hashed_packages",
            "tests/support/test_audit.py::TestBill::test_it_lists_the_whole_lock",
        ),
    ),
    Row(
        "15.1.3",
        2,
        "expensive work is written down",
        ("SECURITY.md#expensive-work", "docs/operations.md#limits-and-timeouts-asvs-1312-1313"),
    ),
    Row(
        "15.2.1",
        1,
        "no component is overdue",
        Partly(
            "time frames, calendar and `make audit` exist; no scan runs with the tests, as it needs the network",
            (
                "SECURITY.md#calendar",
                "tests/support/test_audit.py::TestJudge::test_what_was_found_is_named_with_its_cure",
            ),
        ),
    ),
    Row(
        "15.2.2",
        2,
        "expensive work cannot stop the service",
        (
            "tests/security/test_hashing_pool.py::TestRun::test_the_event_loop_stays_responsive",
            "tests/security/test_hashing_pool.py::TestQueue::test_a_full_queue_refuses_at_once",
            "tests/security/test_hashing_pool.py::TestFairness::test_one_address_cannot_fill_the_queue",
        ),
    ),
    Row(
        "15.2.3",
        2,
        "no test code in a release",
        (
            "tests/asvs/test_asvs_v15.py::test_asvs_15_2_3",
            "tests/api/test_dev_mailbox.py::TestOnlyFromHere::test_production_has_no_such_route",
        ),
    ),
    Row(
        "15.3.1",
        1,
        "answers hold what they say",
        (
            "tests/asvs/test_asvs_v15.py::test_asvs_15_3_1",
            "tests/test_conventions.py::TestRoutes::test_no_answer_has_a_field_named_like_a_stored_secret",
        ),
    ),
    Row(
        "15.3.2",
        2,
        "outgoing requests follow no redirect",
        (
            "tests/asvs/test_asvs_v15.py::test_asvs_15_3_2",
            "tests/verify/test_keys.py::TestTrouble::test_redirects_are_not_followed",
        ),
    ),
    Row(
        "15.3.3",
        2,
        "unknown fields are refused",
        (
            "tests/asvs/test_asvs_v15.py::test_asvs_15_3_3",
            "tests/asvs/test_asvs_v15.py::test_asvs_15_3_3_registration",
        ),
    ),
    Row(
        "15.3.4",
        2,
        "addresses behind proxies are right",
        (
            "tests/test_client_address.py::TestClientAddress::test_walks_through_several_proxies",
            "tests/test_client_address.py::TestClientAddress::test_the_leftmost_value_is_the_clients_invention",
            "tests/test_client_address.py::TestRateLimitKey::test_ten_thousand_addresses_of_one_network_are_one_key",
        ),
    ),
    Row(
        "15.3.5",
        2,
        "types are strict",
        (
            "tests/schemas/test_envelope.py::TestRequestModel::test_takes_nothing_for_something_else",
            "tests/test_strict_json.py::TestHostileBodies::test_well_formed_ones_are_refused_by_the_model",
        ),
    ),
    Row(
        "15.3.6",
        2,
        "no prototype pollution in scripts",
        ("tests/asvs/test_asvs_v15.py::test_asvs_15_3_6",),
    ),
    Row(
        "15.3.7",
        2,
        "repeated parameters are refused",
        (
            "tests/test_strict_json.py::TestTarget::test_refused",
            "tests/api/test_tokens.py::TestRequests::test_repeated_parameters",
            "tests/test_strict_json.py::TestForm::test_refused",
        ),
    ),
    Row(
        "16.1.1",
        2,
        "what is logged where is written down",
        ("SECURITY.md#logs",),
    ),
    Row(
        "16.2.1",
        2,
        "entries say who, what, when, where",
        ("tests/asvs/test_asvs_v16.py::test_asvs_16_2_1",),
    ),
    Row(
        "16.2.2",
        2,
        "times are UTC",
        ("tests/asvs/test_asvs_v16.py::test_asvs_16_2_2",),
    ),
    Row(
        "16.2.3",
        2,
        "logs go where it is written down",
        (
            "SECURITY.md#logs",
            "tests/test_logs.py::TestJsonLines::test_default_stream_is_stderr_at_the_time_of_writing",
        ),
    ),
    Row(
        "16.2.4",
        2,
        "logs have one format",
        (
            "tests/asvs/test_asvs_v16.py::test_asvs_16_2_4",
            "tests/test_logs.py::TestJsonLines::test_ours_and_theirs_look_alike",
        ),
    ),
    Row(
        "16.2.5",
        2,
        "no secrets in logs",
        (
            "tests/asvs/test_asvs_v16.py::test_asvs_16_2_5",
            "tests/test_logs.py::TestRedact::test_secrets_in_text",
            "tests/test_logs.py::TestJsonLines::test_a_crashing_request_logs_frames_and_no_secret",
            "tests/test_redaction_coverage.py::test_is_never_written",
        ),
    ),
    Row(
        "16.3.1",
        2,
        "every authentication is on record",
        (
            "tests/asvs/test_asvs_v16.py::test_asvs_16_3_1",
            "tests/api/test_auth.py::TestLogin::test_a_login_is_on_record",
        ),
    ),
    Row(
        "16.3.2",
        2,
        "denied access is on record",
        (
            "tests/api/admin/test_guards.py::TestEveryRoute::test_a_refusal_is_on_record",
            "tests/api/admin/test_delegation.py::TestGrantingRoles::test_a_refusal_is_on_record",
        ),
    ),
    Row(
        "16.3.3",
        2,
        "attempts to get around are on record",
        (
            "tests/api/test_metrics.py::TestCounters::test_refusals_by_limit",
            "tests/api/test_sessions.py::TestRefresh::test_the_previous_token_after_the_grace_ends_the_session",
            "tests/api/test_tokens.py::TestClientAuthentication::test_failures_are_on_record_without_secrets_that_were_sent",
        ),
    ),
    Row(
        "16.3.4",
        2,
        "unexpected errors are logged",
        (
            "tests/middleware/test_unhandled_errors.py::TestUnhandledErrors::test_becomes_a_500_without_content",
            "tests/test_logs.py::TestJsonLines::test_a_crashing_request_logs_frames_and_no_secret",
        ),
    ),
    Row(
        "16.4.1",
        2,
        "nobody forges a line",
        (
            "tests/test_logs.py::TestFormats::test_nothing_forges_a_line_or_moves_the_cursor",
            "tests/asvs/test_asvs_v16.py::test_asvs_16_2_4",
        ),
    ),
    Row(
        "16.4.2",
        2,
        "logs cannot be changed unseen",
        (
            "SECURITY.md#logs",
            "tests/services/test_audit_chain.py::TestVerify::test_a_changed_event_is_named",
            "tests/services/test_audit_chain.py::TestVerify::test_a_removed_event_leaves_a_gap",
            "tests/cli/test_audit.py::TestVerify::test_a_changed_event_is_the_first_bad_one",
        ),
    ),
    Row(
        "16.4.3",
        2,
        "logs go to another system",
        Partly(
            "stderr and audit export are made for it; collecting is the operator's",
            ("SECURITY.md#logs",),
        ),
    ),
    Row(
        "16.5.1",
        2,
        "errors tell nothing",
        (
            "tests/middleware/test_stack.py::TestEveryAnswer::test_500_says_nothing",
            "tests/asvs/test_asvs_v13.py::test_asvs_13_4_2",
        ),
    ),
    Row(
        "16.5.2",
        2,
        "failures of others are survived safely",
        (
            "tests/test_rate_limit_redis.py::TestOutage::test_killed_under_load_nothing_fails_and_the_overshoot_is_bounded",
            "tests/mail/test_mail_delivery.py::TestFailures::test_enqueueing_does_not_wait_for_a_server_that_is_down",
            "tests/races/test_revocation_follower.py::TestOutOfTouch::test_connections_that_go_nowhere",
        ),
    ),
    Row(
        "16.5.3",
        2,
        "what cannot be checked is refused",
        (
            "tests/races/test_revocation_follower.py::TestOutOfTouch::test_frozen_killed_and_back",
            "tests/api/test_gateway.py::TestValidate::test_out_of_touch",
            "tests/verify/test_feed.py::TestTrouble::test_refused",
        ),
    ),
)
