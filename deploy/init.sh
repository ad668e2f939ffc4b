#!/bin/sh
# Creates the secrets of a deployment: passwords, connection URLs, and signing keys. The keys are made by the command line in the image,
# which this script builds. When run again, it keeps existing secrets and copies the public half of the signing keys to the services.
set -eu
cd "$(dirname "$0")"
secrets=${FLEETWIRE_SECRETS:-./secrets}
umask 077

# Containers run as the owner of the secrets, so that no other user needs to read them; for root that is the image's user `node`.
owner=${FLEETWIRE_USER:-$(sed -n 's/^FLEETWIRE_USER=//p' .env 2>/dev/null || true)}
if [ -z "$owner" ]; then
  owner=$(id -u):$(id -g)
  [ "$(id -u)" != 0 ] || owner=1000:1000
  echo "FLEETWIRE_USER=$owner" >>.env
fi

keep() { [ -s "$secrets/$1" ] || printf '%s\n' "$2" >"$secrets/$1"; } # NAME CONTENT
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
secret() { cat "$secrets/$1"; }

mkdir -p "$secrets/signing" "$secrets/verifying"
for name in rabbitmq postgres reader operator sql grafana; do keep "${name}_password" "$(password)"; done
keep amqp_url "amqp://fleetwire:$(secret rabbitmq_password)@rabbitmq:5672/fleetwire"
keep management_url "http://fleetwire:$(secret rabbitmq_password)@rabbitmq:15672"
keep database_url "postgres://fleetwire:$(secret postgres_password)@postgres:5432/fleetwire"
keep reader_database_url "postgres://fleetwire_reader:$(secret reader_password)@postgres:5432/fleetwire"
keep operator_database_url "postgres://fleetwire_operator:$(secret operator_password)@postgres:5432/fleetwire"
[ "$(id -u)" != 0 ] || chown -R "$owner" "$secrets"

if [ ! -s "$secrets/signing/keys.json" ]; then
  docker compose build
  docker compose run --rm -T cli keys generate --out /run/keys/keys.json
fi
cp -p "$secrets/signing/keys.public.json" "$secrets/verifying/keys.json.new"
mv "$secrets/verifying/keys.json.new" "$secrets/verifying/keys.json"
