"""As many users as one likes, with what they leave behind after a year, made by the database itself.

The rows are what the service would have written, apart from digests, which are made up: nobody holds the tokens
or the keys behind them. Everybody has the same password.
"""

import asyncpg

# One row of every kind for each user, spread over the last year in the order of creation.
_INSTANT = "now() - interval '360 days' * (1 - n / {users}::float8) - interval '1 hour'"
# A UUIDv7 (RFC 9562) of that instant, as every key is; PostgreSQL 18 alone has a function for it.
_ID = (
    "(lpad(to_hex((extract(epoch from {at}) * 1000)::bigint), 12, '0') || '7' ||"
    " substr(md5({salt} || n), 1, 3) || '8' || substr(md5({salt} || n), 4, 15))::uuid"
)
_FIRST = (
    "(array['Ada','Grace','Alan','Edsger','Barbara','Donald','Frances','Tony','Radia','Ken'])[1 + n % 10]"
)
_LAST = (
    "(array['Lovelace','Hopper','Turing','Dijkstra','Liskov','Knuth','Allen','Hoare','Perlman'])[1 + n % 9]"
)

_STATEMENTS = {
    "people": """
        CREATE TEMPORARY TABLE people AS
        SELECT n, {at} AS at, {user_id} AS id, {session_id} AS session_id,
               {first} || ' ' || {last} || ' ' || n AS full_name
        FROM generate_series(1, {users}) AS n
    """,
    "users": """
        INSERT INTO users (id, email, email_canonical, email_verified_at, full_name, full_name_key, locale,
            discoverable, disabled_at, deleted_at, registered_ip, created_at, updated_at)
        SELECT id, 'user' || n || '@example.com',
            CASE WHEN n % 1000 = 3 THEN id || '@deleted.invalid' ELSE 'user' || n || '@example.com' END,
            at, full_name, lower(full_name), 'en', n % 10 = 0,
            CASE WHEN n % 100 = 7 THEN now() END, CASE WHEN n % 1000 = 3 THEN now() END,
            '203.0.113.' || n % 250, at, at
        FROM people
    """,
    "password_credentials": """
        INSERT INTO password_credentials (id, user_id, password_hash, created_at, updated_at)
        SELECT id, id, '{password_hash}', at, at FROM people
    """,
    "user_roles": """
        INSERT INTO user_roles (user_id, role_id, assigned_at)
        SELECT p.id, r.id, at FROM people p JOIN roles r ON r.name = CASE p.n % 1000 WHEN 11 THEN 'auditor'
            ELSE 'user' END
    """,
    "user_sessions": """
        INSERT INTO user_sessions (id, user_id, generation, rotated_at, last_used_at, auth_time, expires_at,
            idle_expires_at, amr, client_id, ip, user_agent, created_at, updated_at)
        SELECT session_id, id, 3, at, at, at, now() + interval '20 days', now() + interval '10 days', '["pwd"]',
            'authapi', '203.0.113.' || n % 250, 'Mozilla/5.0 (X11; Linux x86_64) Chrome/130', at, at
        FROM people
    """,
    "audit_events": """
        INSERT INTO audit_events (id, occurred_at, action, outcome, reason, actor_id, subject_id,
            user_session_id, ip, user_agent, request_id, details, sequence, chain_hash, personal_hash)
        SELECT {event_id}, at,
            CASE WHEN n % 3 = 0 THEN 'user.registered' WHEN n % 20 = 1 THEN 'user.login.failed'
                ELSE 'user.login.succeeded' END,
            CASE WHEN n % 20 = 1 AND n % 3 <> 0 THEN 'failure' ELSE 'success' END, NULL,
            id, id, session_id, '203.0.113.' || n % 250, 'Mozilla/5.0 (X11; Linux x86_64) Chrome/130',
            md5(n::text), '{{}}', n, sha256(('c' || n)::bytea), sha256(('p' || n)::bytea)
        FROM people
    """,
    "audit_anchors": """
        INSERT INTO audit_anchors (name, sequence, chain_hash)
        SELECT 'head', {users}, sha256(('c' || {users})::bytea)
    """,
    "mail_messages": """
        INSERT INTO mail_messages (id, kind, recipient, user_id, message_id, state, attempts, next_attempt_at,
            give_up_at, sent_at, created_at, updated_at)
        SELECT id, 'verify_email', 'user' || n || '@example.com', id, n || '@example.com',
            CASE WHEN n % 500 = 1 THEN 'dead' ELSE 'sent' END, 1, at, at, at, at,
            greatest(at, now() - interval '20 days')
        FROM people
    """,
    "one_time_tokens": """
        INSERT INTO one_time_tokens (id, purpose, token_hash, user_id, data, expires_at, consumed_at, attempts,
            created_at, updated_at)
        SELECT id, 'verify_email', sha256(('t' || n)::bytea), id, '{{}}', now() + interval '1 hour', at, 0, at, at
        FROM people
    """,
    "known_devices": """
        INSERT INTO known_devices (id, user_id, generation, last_used_at, expires_at, created_at, updated_at)
        SELECT id, id, 1, at, now() + interval '100 days', at, at FROM people
    """,
    "login_throttles": """
        INSERT INTO login_throttles (key_hash, failures, window_started_at, expires_at)
        SELECT sha256(('k' || n)::bytea), 1, now(), now() + interval '1 hour' FROM people
    """,
    "revocations": """
        INSERT INTO revocations (transaction_id, user_session_id, created_at, expires_at)
        SELECT 1, session_id, at, now() + interval '1 minute' FROM people LIMIT greatest(2000, {users} / 100)
    """,
}


def email(number: int) -> str:
    """The address of the user with a number from 1 on."""
    return f"user{number}@example.com"


async def make_crowd(dsn: str, *, users: int, password_hash: str) -> None:
    """Fill a database of the current schema (`postgresql://…`), and let the planner know what is in it.

    Numbers that end in 07 are disabled, in 003 deleted, in 0 discoverable, in 011 auditors.
    """
    at = _INSTANT.format(users=users)
    values = {
        "users": users,
        "password_hash": password_hash,
        "at": at,
        "first": _FIRST,
        "last": _LAST,
        "user_id": _ID.format(at=at, salt="'u'"),
        "session_id": _ID.format(at=at, salt="'s'"),
        "event_id": _ID.format(at="at", salt="'e'"),
    }
    connection = await asyncpg.connect(dsn, timeout=30)
    try:
        # References are right by construction; checking them takes as long as everything else.
        await connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        for statement in _STATEMENTS.values():
            await connection.execute(statement.format(**values))
        await connection.execute("DROP TABLE people")
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()
