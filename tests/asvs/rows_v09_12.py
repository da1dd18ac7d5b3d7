"""Tokens, cryptography and transport: rows of ASVS 5.0 and their evidence."""

from tests.asvs.evidence import Deviation, Partly, Row

ROWS = (
    Row(
        "9.1.1",
        1,
        "signatures are checked before anything else",
        (
            "tests/security/test_hostile_tokens.py::TestCorpus::test_every_token_is_refused_for_its_own_fault",
            "tests/security/test_hostile_tokens.py::TestCorpus::test_every_character_counts",
        ),
    ),
    Row(
        "9.1.2",
        1,
        "one algorithm a key, never none",
        (
            "tests/security/test_access_tokens.py::TestDecode::test_a_key_has_one_algorithm",
            "tests/security/test_hostile_tokens.py::TestCorpus::test_every_token_is_refused_for_its_own_fault",
        ),
    ),
    Row(
        "9.1.3",
        1,
        "keys come from us alone",
        (
            "tests/security/test_access_tokens.py::TestDecode::test_key_is_found_by_kid_alone",
            "tests/api/test_hostile_tokens_http.py::test_every_hostile_token_is_refused",
        ),
    ),
    Row(
        "9.2.1",
        1,
        "times in tokens are enforced",
        (
            "tests/security/test_access_tokens.py::TestTime::test_expiry_with_leeway",
            "tests/security/test_access_tokens.py::TestDecode::test_nbf_is_honoured",
            "tests/security/test_hostile_tokens.py::TestAnything::test_signed_claims_of_wrong_shape",
        ),
    ),
    Row(
        "9.2.2",
        2,
        "a token is for one purpose",
        ("tests/test_token_purposes.py::test_a_token_opens_no_other_door",),
    ),
    Row(
        "9.2.3",
        2,
        "the audience is checked",
        (
            "tests/security/test_access_tokens.py::TestDecode::test_issuer_and_audience",
            "tests/verify/test_keys.py::TestVerification::test_what_is_not_for_this_service",
        ),
    ),
    Row(
        "9.2.4",
        2,
        "every token names its audience",
        Partly(
            "each has one; all services of an installation share it",
            (
                "tests/security/test_access_tokens.py::TestEncode::test_claims_of_a_user",
                "tests/security/test_access_tokens.py::TestEncode::test_claims_of_a_service_client",
            ),
        ),
    ),
    Row(
        "10.1.1",
        2,
        "tokens go only where they are needed",
        ("tests/api/test_sessions.py::TestCookie::test_the_cookie_holds_the_token",),
    ),
    Row(
        "10.3.1",
        2,
        "services take tokens for themselves only",
        (
            "tests/verify/test_keys.py::TestVerification::test_what_is_not_for_this_service",
            "tests/security/test_access_tokens.py::TestDecode::test_issuer_and_audience",
        ),
    ),
    Row(
        "10.3.2",
        2,
        "claims of the token decide",
        (
            "tests/api/admin/test_guards.py::TestFreshRights::test_a_token_that_is_narrowed",
            "tests/api/test_gateway.py::TestVerify::test_insufficient_scope_says_so",
        ),
    ),
    Row(
        "10.3.3",
        2,
        "users are known by their id",
        Partly(
            "tests show that an ended account's token is dead; none registers the same address again afterwards",
            ("tests/api/test_profile.py::TestCredentials::test_of_a_deleted_account",),
        ),
    ),
    Row(
        "10.3.4",
        2,
        "strength and age of a login are checked",
        (
            "tests/api/test_mfa.py::TestStepUp::test_an_old_login_is_challenged",
            "tests/api/test_mfa.py::TestStepUp::test_a_login_from_before_the_enrollment_needs_the_factor",
        ),
    ),
    Row(
        "10.4.5",
        1,
        "refresh tokens rotate, reuse ends the session",
        (
            "tests/api/test_sessions.py::TestRefresh::test_the_previous_token_after_the_grace_ends_the_session",
            "tests/api/test_sessions.py::TestRefresh::test_fifty_at_once_rotate_once",
            "tests/races/test_refresh_races.py::test_every_token_rotates_once",
        ),
    ),
    Row(
        "10.4.8",
        2,
        "refresh tokens end at last",
        ("tests/api/test_sessions.py::TestRefresh::test_idle_and_absolute_lifetime",),
    ),
    Row(
        "10.4.9",
        2,
        "users revoke their tokens",
        (
            "tests/api/test_introspection.py::TestRevoke::test_either_token_ends_the_session",
            "tests/api/test_sessions.py::TestSessions::test_list_and_end",
        ),
    ),
    Row(
        "11.1.1",
        2,
        "the life of keys is written down",
        (
            "SECURITY.md#cryptography",
            "tests/flows/test_key_rotation.py::test_keys_rotate_under_load",
        ),
    ),
    Row(
        "11.1.2",
        2,
        "an inventory of cryptography",
        (
            "SECURITY.md#cryptography",
            "tests/asvs/test_asvs_v11.py::test_asvs_11_1_2",
        ),
    ),
    Row(
        "11.2.1",
        2,
        "implementations of cryptography are validated",
        Deviation(
            "python-jose brings ecdsa along; it is never used, the start asserts the backend of pyca/cryptography",
            (
                "tests/security/test_signing_keys.py::TestBackend::test_is_cryptography",
                "tests/security/test_signing_keys.py::TestBackend::test_slow_and_leaky_backends_are_refused",
            ),
        ),
    ),
    Row(
        "11.2.2",
        2,
        "algorithms and keys can be exchanged",
        (
            "tests/services/test_key_rotation.py::TestAlgorithm::test_to_another_one_without_a_pause",
            "tests/flows/test_key_rotation.py::test_keys_rotate_under_load",
            "tests/security/test_passwords.py::TestReplacement::test_a_cheaper_hash_is_replaced",
            "tests/services/test_secret_rotation.py::test_nobody_is_logged_out",
        ),
    ),
    Row(
        "11.2.3",
        2,
        "128 bits of security or more",
        (
            "tests/security/test_signing_keys.py::TestPem::test_short_rsa_key",
            "tests/security/test_signing_keys.py::TestSharedSecret::test_too_short",
            "tests/security/test_derived_keys.py::TestDeriveKey::test_weak_secret",
        ),
    ),
    Row(
        "11.3.1",
        1,
        "no insecure modes or paddings",
        ("tests/asvs/test_asvs_v11.py::test_asvs_11_3_1",),
    ),
    Row(
        "11.3.2",
        1,
        "secrets at rest have approved ciphers",
        (
            "tests/security/test_sealing.py::TestSealer::test_round_trip",
            "tests/security/test_sealing.py::TestSealer::test_shape",
        ),
    ),
    Row(
        "11.3.3",
        2,
        "encryption is authenticated",
        (
            "tests/security/test_sealing.py::TestSealer::test_every_flipped_bit_is_noticed",
            "tests/security/test_sealing.py::TestSealer::test_belongs_to_its_context",
        ),
    ),
    Row(
        "11.4.1",
        1,
        "approved hash functions",
        ("tests/asvs/test_asvs_v11.py::test_asvs_11_4_1",),
    ),
    Row(
        "11.4.2",
        2,
        "passwords are hashed slowly",
        (
            "tests/security/test_passwords.py::TestHash::test_is_bcrypt_sha256_of_the_configured_cost",
            "tests/test_production_checks.py::TestProductionProblems::test_each_is_named_alone",
            "tests/security/test_passwords.py::TestReplacement::test_a_cheaper_hash_is_replaced",
        ),
    ),
    Row(
        "11.4.3",
        2,
        "signatures use long digests",
        (
            "tests/security/test_access_tokens.py::TestDecode::test_a_key_has_one_algorithm",
            "tests/security/test_signing_keys.py::TestGenerate::test_es256_is_p256",
        ),
    ),
    Row(
        "11.5.1",
        2,
        "what cannot be guessed is random",
        (
            "tests/asvs/test_asvs_v11.py::test_asvs_11_5_1",
            "tests/security/test_opaque_tokens.py::TestGenerate::test_no_two_alike",
        ),
    ),
    Row(
        "11.6.1",
        2,
        "approved algorithms for signing keys",
        (
            "tests/security/test_signing_keys.py::TestGenerate::test_es256_is_p256",
            "tests/security/test_signing_keys.py::TestGenerate::test_rs256_has_3072_bits_and_f4",
            "tests/security/test_signing_keys.py::TestPem::test_small_exponent",
        ),
    ),
    Row(
        "12.1.1",
        1,
        "current versions of TLS only",
        Partly(
            "the sample proxy's defaults are 1.2 and 1.3; no scanner runs against it",
            ("deploy/Caddyfile",),
        ),
    ),
    Row(
        "12.1.2",
        2,
        "strong cipher suites",
        Partly(
            "the sample proxy's defaults; no scanner runs against it",
            ("deploy/Caddyfile",),
        ),
    ),
    Row(
        "12.2.1",
        1,
        "TLS for everything outside",
        (
            "deploy/Caddyfile",
            "tests/test_production_checks.py::TestProductionProblems::test_each_is_named_alone",
        ),
    ),
    Row(
        "12.2.2",
        1,
        "certificates that everybody trusts",
        (
            "deploy/Caddyfile",
            "deploy/kubernetes/ingress.yaml",
        ),
    ),
    Row(
        "12.3.1",
        2,
        "TLS to database, Redis and mail server",
        Partly(
            "enforced for mail in production; for PostgreSQL and Redis the URL decides",
            (
                "tests/mail/test_transport.py::TestTls::test_no_fallback_if_starttls_is_taken_away",
                "tests/mail/test_transport.py::TestTls::test_no_fallback_to_plain_text",
                "tests/test_production_checks.py::TestProductionProblems::test_each_is_named_alone",
            ),
        ),
    ),
    Row(
        "12.3.2",
        2,
        "certificates are verified",
        Partly(
            "tested for mail; for PostgreSQL and Redis it is their drivers' doing, if the URL asks for it",
            (
                "tests/mail/test_transport.py::TestTls::test_a_certificate_that_nobody_trusts_is_refused",
                "tests/mail/test_transport.py::TestTls::test_a_certificate_of_another_host_is_refused",
            ),
        ),
    ),
    Row(
        "12.3.3",
        2,
        "TLS between internal services",
        Deviation(
            "the samples speak plain HTTP between proxy and service, in a network of their own",
            ("deploy/compose.yaml",),
        ),
    ),
    Row(
        "12.3.4",
        2,
        "internal certificates from one authority",
        Partly(
            "SSL_CERT_FILE names it for mail; nothing is pinned for database and Redis",
            ("tests/mail/test_transport.py::TestTls::test_a_certificate_that_the_system_trusts",),
        ),
    ),
)
