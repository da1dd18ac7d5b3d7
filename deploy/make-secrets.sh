#!/bin/sh
# Writes ./secrets for compose.yaml, once: ./make-secrets.sh [URL of the mail server]
#
# Keep a copy of secrets/secret_key where your backups are, but not with them: without it the second factors
# and signing keys in a backup cannot be read, and with it they can.
set -eu
umask 077
cd "$(dirname "$0")"

if [ -e secrets ]; then
    echo "secrets/ exists already; nothing was changed" >&2
    exit 1
fi
mail_url="${1:-}"
if [ -z "$mail_url" ]; then
    printf 'URL of the mail server, such as smtp+starttls://user:password@mail.example.com:587: ' >&2
    read -r mail_url
fi

random() { openssl rand -hex 32; }

database_password="$(random)"
owner_password="$(random)"
valkey_password="$(random)"

mkdir secrets.new
cd secrets.new
random > secret_key
printf '%s\n' "$mail_url" > mail_url
printf '%s' "$database_password" > database_password
printf '%s' "$owner_password" > database_owner_password
echo "postgresql://authapi:$database_password@postgres:5432/authapi" > database_url
echo "postgresql://authapi_owner:$owner_password@postgres:5432/authapi" > database_owner_url
echo "redis://:$valkey_password@valkey:6379/0" > rate_limit_url
cat > valkey_conf <<CONF
requirepass $valkey_password
save ""
appendonly no
maxmemory 64mb
maxmemory-policy volatile-ttl
CONF
# Mounted as they are into containers whose accounts are not yours; nobody else enters the folder itself.
chmod 0444 ./*
cd ..
mv secrets.new secrets
echo "secrets/ is ready" >&2
