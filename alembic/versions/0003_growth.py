"""Indices for a million users; where the server has pg_trgm, one for searching within e-mails and names.

Runs alike on SQLite and PostgreSQL. Making an index lets everybody read its table and nobody write to it: about
two seconds each for a million rows, ten for the one that searches within words.

Revision: 0003, after 0002
"""

import logging

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

logger = logging.getLogger("alembic.runtime.migration")

UNSEALED = sa.text("sequence IS NULL")
REVOKED = sa.text("revoked_at IS NOT NULL")


def upgrade() -> None:
    op.create_index("ix_audit_events_outcome_id", "audit_events", ["outcome", "id"])
    op.create_index(
        "ix_audit_events_unsealed", "audit_events", ["id"], sqlite_where=UNSEALED, postgresql_where=UNSEALED
    )
    op.create_index("ix_mail_messages_updated_at", "mail_messages", ["updated_at"])
    op.create_index("ix_mail_messages_user_id", "mail_messages", ["user_id"])
    op.create_index("ix_user_sessions_idle_expires_at", "user_sessions", ["idle_expires_at"])
    op.create_index(
        "ix_user_sessions_revoked_at",
        "user_sessions",
        ["revoked_at"],
        sqlite_where=REVOKED,
        postgresql_where=REVOKED,
    )
    op.create_index(
        "ix_users_discoverable",
        "users",
        ["full_name_key", "id"],
        sqlite_where=sa.text("discoverable = 1"),
        postgresql_where=sa.text("discoverable"),
    )
    if op.get_bind().dialect.name == "postgresql":
        index_trigrams()


def index_trigrams() -> None:
    """Make the index that serves a search for any part of a word, if the server and the role allow it.

    Without it the service searches by the beginning of words, so nothing here may fail the migration.
    """
    connection = op.get_bind()
    available = sa.text("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'")
    if not connection.scalar(available):
        return
    try:
        with connection.begin_nested():
            connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
            connection.execute(
                sa.text(
                    "CREATE INDEX IF NOT EXISTS ix_users_trigrams ON users"
                    " USING gin (email_canonical gin_trgm_ops, full_name_key gin_trgm_ops)"
                )
            )
    except DBAPIError as error:
        logger.warning("users are searched by the beginning of words: no index of trigrams (%s)", error.orig)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # The extension stays: something else may have come to use it.
        op.execute("DROP INDEX IF EXISTS ix_users_trigrams")
    op.drop_index("ix_users_discoverable", "users")
    op.drop_index("ix_user_sessions_revoked_at", "user_sessions")
    op.drop_index("ix_user_sessions_idle_expires_at", "user_sessions")
    op.drop_index("ix_mail_messages_user_id", "mail_messages")
    op.drop_index("ix_mail_messages_updated_at", "mail_messages")
    op.drop_index("ix_audit_events_unsealed", "audit_events")
    op.drop_index("ix_audit_events_outcome_id", "audit_events")
