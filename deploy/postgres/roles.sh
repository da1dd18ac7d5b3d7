#!/bin/sh
# Runs once, when the database is made. The service gets a role that reads and writes rows and nothing else:
# whoever takes it over cannot change tables, read files or run programs (ASVS 13.2.2).
set -eu

password_file="${AUTHAPI_PASSWORD_FILE:-/run/secrets/database_password}"

# From standard input, where no process list shows the password; psql quotes it.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<SQL
\\set password \`cat "$password_file"\`
CREATE ROLE authapi LOGIN PASSWORD :'password' CONNECTION LIMIT 200;

-- authapi asks for these itself, but cannot through PgBouncer.
ALTER ROLE authapi SET statement_timeout = '2s';
ALTER ROLE authapi SET lock_timeout = '2s';
ALTER ROLE authapi SET idle_in_transaction_session_timeout = '30s';

REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO authapi;
GRANT USAGE ON SCHEMA public TO authapi;

-- Of every table that a migration makes from now on.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO authapi;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO authapi;
SQL
