"""Authentication, sessions and authorization: rows of ASVS 5.0 and their evidence."""

from tests.asvs.evidence import Deviation, Partly, Row

ROWS = (
    Row(
        "6.1.1",
        1,
        "limits against guessing, without lockout, are written down",
        (
            "SECURITY.md#limits-and-lockout",
            "tests/api/test_login_throttle.py::TestOwner::test_gets_in_from_a_known_device",
        ),
    ),
    Row(
        "6.1.2",
        2,
        "words that passwords must not hold are written down",
        ("SECURITY.md#limits-and-lockout",),
    ),
    Row(
        "6.1.3",
        2,
        "every way in is written down",
        (
            "SECURITY.md#ways-to-a-token",
            "tests/asvs/test_asvs_v6.py::test_asvs_6_1_3",
        ),
    ),
    Row(
        "6.2.1",
        1,
        "passwords have eight characters or more",
        (
            "tests/security/test_password_policy.py::TestNist::test_fifteen_characters_and_not_one_less",
            "tests/security/test_password_policy.py::TestClassic::test_kinds",
        ),
    ),
    Row(
        "6.2.2",
        1,
        "users change their password",
        ("tests/asvs/test_asvs_v7.py::test_asvs_6_2_3",),
    ),
    Row(
        "6.2.3",
        1,
        "a change asks for the old password",
        ("tests/asvs/test_asvs_v7.py::test_asvs_6_2_3",),
    ),
    Row(
        "6.2.4",
        1,
        "common passwords are refused",
        ("tests/security/test_password_policy.py::TestCommon::test_the_whole_list_is_refused",),
    ),
    Row(
        "6.2.5",
        1,
        "no rules on kinds of characters",
        Deviation(
            "the default policy asks for three kinds, as clients expect; policy nist has no such rule",
            ("tests/security/test_password_policy.py::TestNist::test_one_kind_of_character_is_enough",),
        ),
    ),
    Row(
        "6.2.6",
        1,
        "password fields hide what is typed",
        ("tests/asvs/test_asvs_v6.py::test_asvs_6_2_6",),
    ),
    Row(
        "6.2.7",
        1,
        "pasting and password managers work",
        (
            "tests/api/test_pages.py::TestForgotPassword::test_password_managers_find_it",
            "tests/asvs/test_asvs_v6.py::test_asvs_6_2_6",
        ),
    ),
    Row(
        "6.2.8",
        1,
        "passwords are checked as they are",
        (
            "tests/security/test_passwords.py::TestHash::test_every_character_counts",
            "tests/security/test_passwords.py::TestHash::test_nothing_is_truncated",
        ),
    ),
    Row(
        "6.2.9",
        2,
        "long passwords are allowed",
        (
            "tests/security/test_password_policy.py::TestLength::test_1024_bytes",
            "tests/security/test_passwords.py::TestHash::test_takes_any_text_of_up_to_1024_bytes",
        ),
    ),
    Row(
        "6.2.10",
        2,
        "passwords do not expire",
        ("tests/asvs/test_asvs_v6.py::test_asvs_6_2_10",),
    ),
    Row(
        "6.2.11",
        2,
        "words of the context are refused",
        Partly(
            "the service's name and the user's data are; words of the operator have no setting",
            (
                "tests/security/test_password_policy.py::TestPersonal::test_context_words_of_the_operator",
                "tests/security/test_password_policy.py::TestPersonal::test_made_of_what_is_known_about_the_user",
            ),
        ),
    ),
    Row(
        "6.2.12",
        2,
        "breached passwords are refused",
        Partly(
            "off unless the operator names a list or a range API; 40,000 common ones are always refused",
            (
                "tests/security/test_password_policy.py::TestCommon::test_the_whole_list_is_refused",
                "tests/test_breached_passwords.py::TestRegistration::test_a_breached_password_is_refused_by_name",
                "tests/test_breached_passwords.py::TestRangeApi::test_a_server_that_is_away_stops_nobody",
            ),
        ),
    ),
    Row(
        "6.3.1",
        1,
        "guessing and stuffing are stopped",
        (
            "tests/api/test_login_throttle.py::TestManySources::test_at_most_a_hundred_a_day_however_patient",
            "tests/api/test_login_throttle.py::TestOwner::test_gets_in_from_a_known_device",
            "tests/api/test_login_throttle.py::TestOneSource::test_after_some_failures_each_costs_a_longer_wait",
        ),
    ),
    Row(
        "6.3.2",
        1,
        "no accounts to begin with",
        ("tests/asvs/test_asvs_v6.py::test_asvs_6_3_2",),
    ),
    Row(
        "6.3.3",
        2,
        "a second factor, resisting phishing",
        Partly(
            "everybody may use TOTP, a role can require it; no passkeys, so phishing is not resisted",
            (
                "tests/api/test_mfa.py::TestLogin::test_password_and_code",
                "tests/api/test_mfa.py::TestRequiredByRole::test_a_role_is_in_force_only_with_the_factor",
                "tests/api/test_mfa.py::TestLogin::test_every_other_path_refuses_a_password_alone",
            ),
        ),
    ),
    Row(
        "6.3.4",
        2,
        "no way in that is not written down",
        (
            "tests/asvs/test_asvs_v6.py::test_asvs_6_1_3",
            "tests/api/test_mfa.py::TestLogin::test_every_other_path_refuses_a_password_alone",
            "tests/test_conventions.py::TestRoutes::test_every_route_is_guarded_or_public_by_name",
        ),
    ),
    Row(
        "6.4.1",
        1,
        "first passwords and links are random and short-lived",
        (
            "tests/security/test_opaque_tokens.py::TestGenerate::test_token_and_digest",
            "tests/api/test_email_verification.py::TestVerify::test_the_link_of_the_mail_verifies_once",
            "tests/api/test_pages.py::TestEmailChangeAndInvitation::test_accept_invitation",
        ),
    ),
    Row(
        "6.4.2",
        1,
        "no hints, no secret questions",
        ("tests/asvs/test_asvs_v6.py::test_asvs_6_4_2",),
    ),
    Row(
        "6.4.3",
        2,
        "a reset does not get around the second factor",
        (
            "tests/api/test_password_reset.py::TestSecondFactor::test_of_a_verified_account_stays",
            "tests/api/test_password_reset.py::TestReset::test_replaces_the_password_and_ends_every_session",
        ),
    ),
    Row(
        "6.4.4",
        2,
        "a lost factor is replaced with as much care",
        (
            "tests/api/test_mfa.py::TestLogin::test_a_recovery_code_works_once",
            "tests/api/test_mfa.py::TestRemoval::test_needs_password_and_code",
        ),
    ),
    Row(
        "6.5.1",
        2,
        "codes work once",
        (
            "tests/api/test_mfa_replay.py::TestFiftyAtOnce::test_over_http_one_gets_in",
            "tests/api/test_mfa_replay.py::TestSteps::test_a_code_of_an_older_step_than_the_last_one",
            "tests/api/test_mfa.py::TestLogin::test_a_recovery_code_works_once",
        ),
    ),
    Row(
        "6.5.2",
        2,
        "recovery codes are stored as digests",
        ("tests/asvs/test_asvs_v7.py::test_asvs_6_5_2",),
    ),
    Row(
        "6.5.3",
        2,
        "codes and seeds are random",
        ("tests/asvs/test_asvs_v6.py::test_asvs_6_5_3",),
    ),
    Row(
        "6.5.4",
        2,
        "codes have twenty bits or more",
        ("tests/asvs/test_asvs_v7.py::test_asvs_6_5_2",),
    ),
    Row(
        "6.5.5",
        2,
        "codes live for minutes",
        (
            "tests/api/test_mfa.py::TestLogin::test_the_token_expires_and_belongs_to_its_user",
            "tests/asvs/test_asvs_v7.py::test_asvs_6_5_5",
            "tests/security/test_totp.py::TestSteps::test_one_of_drift_either_way",
        ),
    ),
    Row(
        "6.6.1",
        2,
        "no codes by telephone",
        ("tests/asvs/test_asvs_v6.py::test_asvs_6_6_1",),
    ),
    Row(
        "6.6.2",
        2,
        "a code belongs to its login",
        ("tests/api/test_mfa.py::TestLogin::test_the_token_expires_and_belongs_to_its_user",),
    ),
    Row(
        "6.6.3",
        2,
        "codes cannot be guessed",
        (
            "tests/api/test_mfa.py::TestLogin::test_five_wrong_codes_end_the_login",
            "tests/api/test_mfa.py::TestLogin::test_codes_are_throttled_over_logins",
        ),
    ),
    Row(
        "7.1.1",
        2,
        "lifetimes of sessions are written down",
        ("SECURITY.md#sessions",),
    ),
    Row(
        "7.1.2",
        2,
        "the number of sessions is written down",
        (
            "SECURITY.md#sessions",
            "tests/api/test_sessions.py::TestSessions::test_the_oldest_ends_beyond_the_cap",
        ),
    ),
    Row(
        "7.2.1",
        1,
        "tokens are verified at the server, on every route",
        (
            "tests/test_route_matrix.py::test_every_cell",
            "tests/test_conventions.py::TestRoutes::test_every_route_is_guarded_or_public_by_name",
        ),
    ),
    Row(
        "7.2.2",
        1,
        "sessions have tokens of their own",
        (
            "tests/security/test_opaque_tokens.py::TestGenerate::test_no_two_alike",
            "tests/api/test_sessions.py::TestSessions::test_list_and_end",
        ),
    ),
    Row(
        "7.2.3",
        1,
        "reference tokens are random and long",
        (
            "tests/security/test_opaque_tokens.py::TestGenerate::test_token_and_digest",
            "tests/security/test_opaque_tokens.py::TestGenerate::test_no_two_alike",
            "tests/security/test_opaque_tokens.py::TestRefreshTokenCodec::test_every_flipped_bit_is_noticed",
        ),
    ),
    Row(
        "7.2.4",
        1,
        "a login makes a new token and ends the old one",
        Partly(
            "a renewed login gives a new access token; the one before runs out within its hour",
            (
                "tests/api/test_sessions.py::TestReauthenticate::test_auth_time_moves_and_the_session_stays",
                "tests/api/test_sessions.py::TestRefresh::test_a_refresh_token_gets_the_next_pair",
            ),
        ),
    ),
    Row(
        "7.3.1",
        2,
        "idle sessions end",
        ("tests/api/test_sessions.py::TestRefresh::test_idle_and_absolute_lifetime",),
    ),
    Row(
        "7.3.2",
        2,
        "sessions end at last",
        ("tests/api/test_sessions.py::TestRefresh::test_idle_and_absolute_lifetime",),
    ),
    Row(
        "7.4.1",
        1,
        "logout ends access and refresh at once",
        (
            "tests/api/test_sessions.py::TestLogout::test_access_and_refresh_token_end_at_once",
            "tests/races/test_revocation_follower.py::TestNothingIsMissed::test_a_new_process_reads_what_still_matters",
        ),
    ),
    Row(
        "7.4.2",
        1,
        "disabling or deleting ends every session",
        (
            "tests/api/admin/test_users.py::TestDisable::test_locks_out_until_enabled",
            "tests/api/test_profile.py::TestDelete::test_nobody_can_use_it_and_the_trail_says_why",
            "tests/races/test_refresh_races.py::test_logins_while_the_user_is_disabled",
        ),
    ),
    Row(
        "7.4.3",
        2,
        "a changed factor ends the other sessions",
        Partly(
            "a new password does; a changed second factor leaves them, though what is sensitive asks for it anew",
            (
                "tests/asvs/test_asvs_v7.py::test_asvs_7_4_3",
                "tests/api/test_password_reset.py::TestReset::test_replaces_the_password_and_ends_every_session",
                "tests/api/test_mfa.py::TestStepUp::test_a_login_from_before_the_enrollment_needs_the_factor",
            ),
        ),
    ),
    Row(
        "7.4.4",
        2,
        "logging out is visible where one is logged in",
        Deviation("the pages are never logged in: they serve the links of mails"),
    ),
    Row(
        "7.4.5",
        2,
        "administrators end sessions",
        Partly(
            "those of one user; there is no call that ends those of all",
            ("tests/asvs/test_asvs_v7.py::test_asvs_7_4_5",),
        ),
    ),
    Row(
        "7.5.1",
        2,
        "sensitive changes ask for a fresh login",
        (
            "tests/api/test_mfa.py::TestStepUp::test_an_old_login_is_challenged",
            "tests/asvs/test_asvs_v7.py::test_asvs_7_5_1",
        ),
    ),
    Row(
        "7.5.2",
        2,
        "users see and end their sessions",
        (
            "tests/api/test_sessions.py::TestSessions::test_list_and_end",
            "tests/api/test_sessions.py::TestSessions::test_sessions_of_others_are_not_found",
        ),
    ),
    Row(
        "8.1.1",
        1,
        "who may do what is written down",
        (
            "SECURITY.md#who-may-do-what",
            "tests/test_route_matrix.py::test_the_table_holds_every_route",
        ),
    ),
    Row(
        "8.1.2",
        2,
        "who may see and set which field is written down",
        ("SECURITY.md#who-may-do-what",),
    ),
    Row(
        "8.2.1",
        1,
        "functions are guarded",
        (
            "tests/test_route_matrix.py::test_every_cell",
            "tests/api/admin/test_guards.py::TestEveryRoute::test_as_an_ordinary_user",
        ),
    ),
    Row(
        "8.2.2",
        1,
        "rows of others are not found",
        (
            "tests/api/test_sessions.py::TestSessions::test_sessions_of_others_are_not_found",
            "tests/api/test_profile.py::TestRead::test_the_account_of_the_database_not_of_the_token",
        ),
    ),
    Row(
        "8.2.3",
        2,
        "fields of others cannot be set",
        (
            "tests/api/test_profile.py::TestForeignFields::test_refused",
            "tests/asvs/test_asvs_v15.py::test_asvs_15_3_3_registration",
            "tests/api/test_profile.py::test_no_field_of_the_profile_is_a_secret",
        ),
    ),
    Row(
        "8.3.1",
        1,
        "rules are enforced at the server",
        (
            "tests/test_route_matrix.py::test_every_cell",
            "tests/api/admin/test_guards.py::TestFreshRights::test_a_demoted_administrator",
        ),
    ),
)
