"""Encoding, validation, browsers and HTTP: rows of ASVS 5.0 and their evidence."""

from tests.asvs.evidence import Partly, Row

ROWS = (
    Row(
        "1.1.1",
        2,
        "input is decoded once, stored in canonical form",
        (
            "tests/test_strict_json.py::TestTarget::test_path",
            "tests/api/test_auth.py::TestRegister::test_a_spelling_of_a_taken_address",
            "tests/api/test_login_throttle.py::TestManySources::test_spellings_share_one_counter",
        ),
    ),
    Row(
        "1.1.2",
        2,
        "output is encoded last, by its serialiser",
        (
            "tests/mail/test_rendering.py::TestHostileValues::test_a_name_arrives_as_it_is",
            "tests/api/test_pages.py::TestVerifyEmail::test_what_a_stranger_chose_is_text",
            "tests/api/test_gateway.py::TestVerify::test_names_survive_the_header",
        ),
    ),
    Row(
        "1.2.1",
        1,
        "HTML and headers are encoded for their context",
        (
            "tests/mail/test_rendering.py::TestHostileValues::test_a_name_arrives_as_it_is",
            "tests/mail/test_rendering.py::TestForm::test_an_address_cannot_add_a_header",
            "tests/api/test_pages.py::TestVerifyEmail::test_what_a_stranger_chose_is_text",
        ),
    ),
    Row(
        "1.2.2",
        1,
        "links are built safely, with known schemes only",
        (
            "tests/mail/test_rendering.py::TestEveryKind::test_a_link_is_whole_in_both_parts",
            "tests/mail/test_mail_outbox.py::TestLinks::test_made_of_the_settings_only",
            "tests/api/test_pages.py::TestReturnAddress::test_comes_from_the_settings_alone",
            "tests/api/test_foreign_hosts.py::test_no_foreign_host_comes_back",
        ),
    ),
    Row(
        "1.2.3",
        1,
        "JSON comes from serialisers only",
        ("tests/asvs/test_asvs_v1.py::test_asvs_1_2_3",),
    ),
    Row(
        "1.2.4",
        1,
        "SQL takes values as parameters only",
        (
            "tests/test_conventions.py::TestSources::test_no_statement_is_made_of_text",
            "tests/api/test_public.py::TestSearch::test_wildcards_are_plain_characters",
            "tests/api/admin/test_user_list.py::TestSearch::test_every_character_stands_for_itself",
        ),
    ),
    Row(
        "1.2.5",
        1,
        "no operating system commands",
        ("tests/asvs/test_asvs_v1.py::test_asvs_1_2_5",),
    ),
    Row(
        "1.2.9",
        2,
        "input is never part of a pattern",
        (
            "tests/asvs/test_asvs_v1.py::test_asvs_1_2_9",
            "tests/api/admin/test_user_list.py::TestSearch::test_every_character_stands_for_itself",
        ),
    ),
    Row(
        "1.3.2",
        1,
        "no code made at run time",
        (
            "tests/asvs/test_asvs_v1.py::test_asvs_1_3_2",
            "tests/test_conventions.py::TestSources::test_nothing_dangerous_is_called",
        ),
    ),
    Row(
        "1.3.3",
        2,
        "every text that is sent has a bound",
        (
            "tests/test_conventions.py::TestRoutes::test_every_string_that_is_sent_has_a_bound",
            "tests/middleware/test_body_limit.py::TestUri::test_length",
        ),
    ),
    Row(
        "1.3.7",
        2,
        "no template made of input",
        (
            "tests/mail/test_rendering.py::TestHostileValues::test_a_name_arrives_as_it_is",
            "tests/asvs/test_asvs_v1.py::test_asvs_1_3_10",
        ),
    ),
    Row(
        "1.3.10",
        2,
        "format strings in fields stay text",
        ("tests/asvs/test_asvs_v1.py::test_asvs_1_3_10",),
    ),
    Row(
        "1.3.11",
        2,
        "no commands to the mail server from input",
        (
            "tests/mail/test_rendering.py::TestForm::test_an_address_cannot_add_a_header",
            "tests/mail/test_rendering.py::TestHostileValues::test_a_name_stays_on_its_line",
        ),
    ),
    Row(
        "1.4.2",
        2,
        "numbers out of range are refused",
        (
            "tests/asvs/test_asvs_v1.py::test_asvs_1_4_2",
            "tests/api/test_hostile_bodies.py::test_no_body_breaks_a_route",
        ),
    ),
    Row(
        "1.4.3",
        2,
        "connections and memory are given back",
        Partly(
            "no soak of an hour runs with the tests; each resource is tested by itself",
            (
                "tests/test_database.py::TestHandBackConnection::test_no_connection_is_held_while_a_password_is_hashed",
                "tests/test_rate_limit_storage.py::TestMemoryStorage::test_a_million_addresses_do_not_fill_the_memory",
                "tests/security/test_hashing_pool.py::TestQueue::test_1000_cancellations_leave_nothing",
                "tests/test_rate_limit_redis.py::TestShared::test_connections_are_bounded",
            ),
        ),
    ),
    Row(
        "1.5.2",
        2,
        "nothing is deserialised that can bring code",
        ("tests/asvs/test_asvs_v1.py::test_asvs_1_5_2",),
    ),
    Row(
        "2.1.1",
        1,
        "rules for input are written down",
        (
            "SECURITY.md#input-rules",
            "tests/api/test_openapi_fuzz.py::test_every_answer_is_documented",
        ),
    ),
    Row(
        "2.1.2",
        2,
        "rules over several fields are written down",
        ("SECURITY.md#input-rules",),
    ),
    Row(
        "2.1.3",
        2,
        "limits per user and in all are written down",
        (
            "SECURITY.md#limits-and-lockout",
            "tests/test_conventions.py::TestReadme::test_every_setting_is_in_the_table",
        ),
    ),
    Row(
        "2.2.1",
        1,
        "only expected input is accepted",
        (
            "tests/api/test_openapi_fuzz.py::test_every_answer_is_documented",
            "tests/test_strict_json.py::TestHostileBodies::test_malformed_ones_never_reach_a_model",
            "tests/api/test_hostile_bodies.py::test_no_body_breaks_a_route",
        ),
    ),
    Row(
        "2.2.2",
        1,
        "validation happens at the server",
        (
            "tests/api/test_openapi_fuzz.py::test_every_answer_is_documented",
            "tests/api/test_pages.py::TestRefusals::test_a_form_without_its_fields",
        ),
    ),
    Row(
        "2.2.3",
        2,
        "combinations of values are validated",
        (
            "tests/security/test_password_policy.py::TestPersonal::test_made_of_what_is_known_about_the_user",
            "tests/api/test_tokens.py::TestRefreshGrant::test_more_than_the_session_was_opened_for",
            "tests/api/admin/test_roles.py::TestTokenSize::test_roles_that_are_too_much_together",
        ),
    ),
    Row(
        "2.3.1",
        1,
        "no step can be left out",
        (
            "tests/races/test_session_machine.py::test_no_order_of_events_breaks_a_session",
            "tests/api/test_mfa.py::TestLogin::test_every_other_path_refuses_a_password_alone",
            "tests/test_token_purposes.py::test_a_token_opens_no_other_door",
        ),
    ),
    Row(
        "2.3.2",
        2,
        "limits of the business hold",
        (
            "tests/api/test_sessions.py::TestSessions::test_the_oldest_ends_beyond_the_cap",
            "tests/mail/test_mail_outbox.py::TestCaps::test_strangers_cannot_fill_a_mailbox",
            "tests/api/admin/test_roles.py::TestRoles::test_there_is_a_last_one",
        ),
    ),
    Row(
        "2.3.3",
        2,
        "all of a change or nothing",
        (
            "tests/test_database.py::TestUnitOfWork::test_errors",
            "tests/test_database.py::TestCommitOfARequest::test_a_connection_that_is_lost_at_commit",
            "tests/services/test_secret_rotation.py::TestResealEverything::test_all_or_nothing",
            "tests/mail/test_mail_delivery.py::TestHealthyServer::test_a_rolled_back_mail_never_leaves",
        ),
    ),
    Row(
        "2.3.4",
        2,
        "of many at once one wins",
        (
            "tests/api/test_sessions.py::TestRefresh::test_fifty_at_once_rotate_once",
            "tests/api/test_password_reset.py::TestReset::test_of_fifty_at_once_one_wins",
            "tests/api/test_email_verification.py::TestVerify::test_of_fifty_at_once_one_wins",
            "tests/api/admin/test_delegation.py::TestLastAdmin::test_all_at_once_in_every_way",
        ),
    ),
    Row(
        "2.4.1",
        2,
        "automation is slowed down",
        (
            "tests/test_conventions.py::TestRoutes::test_every_route_declares_a_limit",
            "tests/test_rate_limit_redis.py::TestShared::test_of_200_parallel_requests_to_four_workers_exactly_the_limit_passes",
            "tests/api/test_login_throttle.py::TestManySources::test_parallel_guesses_are_counted_exactly",
        ),
    ),
    Row(
        "3.2.1",
        1,
        "JSON does nothing in a browser",
        ("tests/asvs/test_asvs_v3.py::test_asvs_3_2_1",),
    ),
    Row(
        "3.2.2",
        1,
        "text on pages stays text",
        ("tests/api/test_pages.py::TestVerifyEmail::test_what_a_stranger_chose_is_text",),
    ),
    Row(
        "3.3.1",
        1,
        "cookies are Secure and carry a prefix",
        ("tests/api/test_sessions.py::TestCookie::test_over_https_it_is_bound_to_the_host",),
    ),
    Row(
        "3.3.2",
        2,
        "cookies say SameSite",
        (
            "tests/api/test_sessions.py::TestCookie::test_over_https_it_is_bound_to_the_host",
            "tests/api/test_sessions.py::TestCookie::test_foreign_pages_cannot_use_it",
        ),
    ),
    Row(
        "3.3.3",
        2,
        "cookies are bound to the host",
        ("tests/api/test_sessions.py::TestCookie::test_over_https_it_is_bound_to_the_host",),
    ),
    Row(
        "3.3.4",
        2,
        "scripts cannot read cookies, bodies do not repeat them",
        ("tests/api/test_sessions.py::TestCookie::test_the_cookie_holds_the_token",),
    ),
    Row(
        "3.4.1",
        1,
        "HSTS on every answer",
        (
            "tests/asvs/test_asvs_v3.py::test_asvs_3_4_1",
            "tests/middleware/test_stack.py::TestEveryAnswer::test_carries_envelope_request_id_and_headers",
        ),
    ),
    Row(
        "3.4.2",
        1,
        "foreign origins are never reflected",
        (
            "tests/asvs/test_asvs_v3.py::test_asvs_3_4_2",
            "tests/test_production_checks.py::TestProductionProblems::test_each_is_named_alone",
        ),
    ),
    Row(
        "3.4.3",
        2,
        "a strict content security policy on every answer",
        (
            "tests/asvs/test_asvs_v3.py::test_asvs_3_4_3",
            "tests/api/test_docs.py::TestPages::test_redoc_nonce_is_fresh_and_for_styles_only",
        ),
    ),
    Row(
        "3.4.4",
        2,
        "types are never guessed",
        ("tests/asvs/test_asvs_v3.py::test_asvs_3_4_4",),
    ),
    Row(
        "3.4.5",
        2,
        "no referrer is sent on",
        ("tests/asvs/test_asvs_v3.py::test_asvs_3_4_5",),
    ),
    Row(
        "3.4.6",
        2,
        "nobody frames our answers",
        ("tests/asvs/test_asvs_v3.py::test_asvs_3_4_6",),
    ),
    Row(
        "3.5.1",
        1,
        "forms and cookies of other sites are refused",
        (
            "tests/api/test_pages.py::TestRefusals::test_forms_of_other_sites",
            "tests/api/test_sessions.py::TestCookie::test_foreign_pages_cannot_use_it",
        ),
    ),
    Row(
        "3.5.2",
        1,
        "what needs no preflight is not taken",
        (
            "tests/asvs/test_asvs_v3.py::test_asvs_3_5_2",
            "tests/test_strict_json.py::TestContentType::test_refused_because_it_needs_no_preflight_or_guesses",
        ),
    ),
    Row(
        "3.5.3",
        1,
        "reading changes nothing",
        (
            "tests/asvs/test_asvs_v3.py::test_asvs_3_5_3",
            "tests/api/test_pages.py::TestVerifyEmail::test_opening_changes_nothing_and_the_button_does",
        ),
    ),
    Row(
        "3.5.4",
        2,
        "a host name of its own",
        (
            "deploy/Caddyfile",
            "deploy/kubernetes/ingress.yaml",
        ),
    ),
    Row(
        "3.7.2",
        2,
        "redirects stay with us",
        ("tests/asvs/test_asvs_v3.py::test_asvs_3_7_2",),
    ),
    Row(
        "4.1.1",
        1,
        "content types are right",
        (
            "tests/asvs/test_asvs_v4.py::test_asvs_4_1_1",
            "tests/api/test_openapi_fuzz.py::test_every_answer_is_documented",
        ),
    ),
    Row(
        "4.1.2",
        2,
        "no quiet redirect from http",
        Partly(
            "the service itself redirects nobody; the sample proxies redirect browsers and clients alike",
            ("tests/asvs/test_asvs_v4.py::test_asvs_4_1_2",),
        ),
    ),
    Row(
        "4.1.3",
        2,
        "clients cannot forge what proxies say",
        (
            "tests/test_client_address.py::TestClientAddress::test_an_untrusted_peer_cannot_forward",
            "tests/test_client_address.py::TestClientAddressMiddleware::test_no_other_header_counts",
            "tests/test_rate_limit.py::TestAddresses::test_without_trusted_proxies_no_header_helps",
            "tests/api/test_email_verification.py::TestLinks::test_lead_to_the_public_url_whatever_the_client_says",
        ),
    ),
    Row(
        "4.2.1",
        2,
        "messages have one length only",
        Partly(
            "no smuggling tool runs against a chain of proxies",
            (
                "tests/middleware/test_body_limit.py::TestDeclaredBody::test_twice",
                "tests/middleware/test_body_limit.py::TestDeclaredBody::test_next_to_transfer_encoding",
                "tests/middleware/test_body_limit.py::TestDeclaredBody::test_malformed",
            ),
        ),
    ),
)
