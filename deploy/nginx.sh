#!/bin/sh
# Runs nginx in its container. nginx looks up the names of the services only when it loads its configuration; this script looks them up
# every few seconds, and reloads nginx when an instance was added or has another address.
set -eu
home=/tmp/fleetwire
certificate=/run/secrets/tls_certificate key=/run/secrets/tls_key
mkdir -p "$home"

sed -e "s/\${NGINX_REQUESTS_PER_SECOND_MAX}/${NGINX_REQUESTS_PER_SECOND_MAX:-1000}/g" \
    -e "s/\${NGINX_CONNECTIONS_PER_ADDRESS_MAX}/${NGINX_CONNECTIONS_PER_ADDRESS_MAX:-10000}/g" \
    -e "s/\${NGINX_SHUTDOWN_TIMEOUT_SECONDS}/${NGINX_SHUTDOWN_TIMEOUT_SECONDS:-600}/g" \
    /run/fleetwire/nginx.conf >"$home/nginx.conf"

if [ -s "$certificate" ] && [ -s "$key" ]; then
  echo "listen 8000 ssl backlog=4096; ssl_certificate $certificate; ssl_certificate_key $key;"
elif [ -s "$certificate" ] || [ -s "$key" ]; then
  echo 'TLS needs both TLS_CERTIFICATE_FILE and TLS_KEY_FILE' >&2
  exit 1
else
  echo 'listen 8000 backlog=4096;'
fi >"$home/listen.conf"

# An origin is a URL without a path.
echo "${ALLOWED_ORIGINS:-}" | tr ', ' '\n\n' | sed -n 's#^\([a-z]*://[^/"]*\)/*$#"\1" $http_origin;#p' >"$home/origins.conf"

# SERVICE: writes its instances; false where they are the same as before. A name that does not resolve changes nothing: its instances are
# stopped, or the resolver is.
resolve() {
  addresses=$(getent ahostsv4 "$1" | cut -d ' ' -f 1 | sort -u) || addresses=
  [ -n "$addresses" ] || [ ! -e "$home/$1.conf" ] || return 1
  for address in ${addresses:-127.0.0.1:9}; do
    case $address in *:*) ;; *) address=$address:8080 ;; esac
    echo "server $address max_fails=2 fail_timeout=5s;"
  done >"$home/$1.new"
  cmp -s "$home/$1.new" "$home/$1.conf" && return 1
  mv "$home/$1.new" "$home/$1.conf"
}
resolve_all() {
  changed=1
  for service in ingest-ws query-api; do ! resolve "$service" || changed=0; done
  return "$changed"
}

resolve_all || true
nginx -p "$home/" -c "$home/nginx.conf" -e stderr &
nginx=$!
# Requests in flight finish; sockets are cut, and devices reconnect.
trap 'kill -QUIT $nginx; sleep 3 & wait $!; kill -TERM $nginx 2>/dev/null || true; wait $nginx; exit 0' TERM INT QUIT
while kill -0 "$nginx" 2>/dev/null; do
  sleep 3 & wait $!
  ! resolve_all || kill -HUP "$nginx"
done
wait "$nginx"
