#!/usr/bin/env bash
# Proves the deployment on this machine, beside anything else that runs here: start, send, read back, kill the worker and one of two
# ingest-ws under load, count, restart, remove. Everything passes through nginx. Exits with 0 if every acknowledged reading is stored exactly once. Leaves no container, volume or image behind.
set -euo pipefail
cd "$(dirname "$0")"

export COMPOSE_PROJECT_NAME=fleetwire-smoke-$$ FLEETWIRE_IMAGE=fleetwire:smoke-$$ FLEETWIRE_SECRETS=./secrets-smoke-$$
export HTTP_BIND=127.0.0.1 HTTP_PORT=0 TLS_CERTIFICATE_FILE= TLS_KEY_FILE= TRUST_PROXY_HOPS=1 QUERY_API_KEYS=verifying RETENTION_DAYS=
devices=5 readings_each=100 readings_per_second=25
sent=$((devices * readings_each))
log=$(mktemp)

step() { printf '%3ds  %s\n' "$SECONDS" "$*"; }
fail() { step "FAILED: $*" >&2; exit 1; }
quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; fail "$*"; }; }
eventually() { for _ in $(seq 120); do "$@" && return; sleep 0.5; done; fail "not within a minute: $*"; }
address() { docker compose port nginx 8000; } # a free port, a different one after each restart
token() { docker compose run --rm -T cli token mint --keys /run/keys/keys.json --expires 1h "$@" 2>>"$log"; }
stored() { docker compose exec -T postgres psql -U fleetwire -Atc "select $1 from telemetry where device_id like 'load-%'"; }
is_stored() { [ "$(stored 'count(*)')" -ge "$1" ]; }
reads_back() {
  curl -fsS -H "authorization: Bearer $device" "http://$(address)/api/v1/devices/kiln-1/readings" 2>>"$log" | grep -q '"celsius":812.5'
}

clean_up() {
  local code=$?
  [ "$code" = 0 ] || docker compose logs --tail 20 >&2 || true
  step 'remove the containers and volumes'
  docker compose --profile cli down --volumes --remove-orphans --timeout 10 >"$log" 2>&1 || { cat "$log" >&2; code=1; }
  docker image rm "$FLEETWIRE_IMAGE" >/dev/null 2>&1 || true
  rm -rf "$FLEETWIRE_SECRETS" "$log" "$log.fleet"
  [ "$code" = 0 ] && step 'passed' || step "failed ($code)"
  exit "$code"
}
trap clean_up EXIT

step 'build the image and create the secrets'
quietly ./init.sh
step 'start, and wait until all services are healthy'
quietly docker compose up -d --wait --scale ingest-ws=2

step 'send a reading as a device and read it back'
device=$(token --role device --subject kiln-1)
quietly curl -fsS -H "authorization: Bearer $device" -d '{"metrics":{"celsius":812.5}}' "http://$(address)/api/v1/telemetry"
eventually reads_back

step 'the page, the documentation, and a problem document of nginx'
for path in / /docs /redoc /openapi.json; do quietly curl -fsS "http://$(address)$path"; done
curl -sS "http://$(address)/metrics" | grep -q '"status":404' || fail 'nginx leads to /metrics, or has no problem document'

step 'the dashboard, and an export job'
curl -fsS "http://$(address)/" 2>>"$log" | grep -q '/assets/' || fail 'the image has no dashboard'
analyst=$(token --role analyst --subject smoke)
job=$(curl -fsS -H "authorization: Bearer $analyst" -H 'content-type: application/json' -d '{"devices":["kiln-1"],"format":"csv"}' \
  "http://$(address)/api/v1/exports" | sed 's/.*"id":"\([^"]*\)".*/\1/') || fail 'no export job was made'
exported() { curl -fsS -H "authorization: Bearer $analyst" "http://$(address)/api/v1/exports/$job/file" 2>>"$log" | grep -q 812.5; }
eventually exported

step "$devices devices send $sent readings; the worker and one of two ingest-ws are killed while they do"
docker compose run --rm -T --entrypoint node cli lab/fleet/main.ts --url ws://nginx:8000/ws --keys /run/keys/keys.json \
  --prefix load- --devices $devices --count $readings_each --rate $readings_per_second >"$log.fleet" 2>&1 &
fleet=$!
eventually is_stored 50
quietly docker kill "$COMPOSE_PROJECT_NAME-persistence-worker-1" "$COMPOSE_PROJECT_NAME-ingest-ws-2"
wait "$fleet" || { cat "$log.fleet" >&2; fail 'not all readings were acknowledged'; }
led_to=$(docker compose logs --no-log-prefix nginx | grep '"path":"/ws"' | grep -o '"upstream":"[0-9.]*' | sort -u | wc -l)
[ "$led_to" = 2 ] || fail "nginx led the devices to $led_to instances of ingest-ws instead of 2"
step "all $sent acknowledged, $(stored 'count(*)') stored; the worker is started again"
quietly docker compose start persistence-worker
eventually is_stored $sent
counted=$(stored 'count(*), count(distinct (device_id, epoch, seq))')
[ "$counted" = "$sent|$sent" ] || fail "$sent were sent; stored and distinct are $counted"
step "$sent stored, each once"

step 'restart each service, then read back again'
quietly docker compose restart ingest-ws persistence-worker query-api nginx
quietly docker compose up -d --wait
reads_back || fail 'the reading is missing after the restart'
