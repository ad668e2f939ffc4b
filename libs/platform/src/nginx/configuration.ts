import { limits } from '@fleetwire/contracts/limits';
import { problemLocations } from './problem-locations.ts';
import { assetPaths, filePaths, keptPaths, pagePaths, routeLines, streamPaths } from './routes.ts';

/** A bound, or the text that a script replaces by it. */
type Bound = number | string;

export interface NginxOptions {
  /** The `listen` directive with its certificate lines; see {@link listenLines}. */
  readonly listen: readonly string[];
  /** The lines of each upstream; see {@link serverLines}. */
  readonly ingest: readonly string[];
  readonly queryApi: readonly string[];
  /** A file, relative to nginx's prefix. */
  readonly accessLog: string;
  /** Answered by `/healthz`, so that another program on the port is not taken for this nginx. */
  readonly instance: string;
  readonly workers?: number;
  /** Web pages of these origins can read the problem documents of nginx too; see {@link originLines}. */
  readonly origins?: readonly string[];
  /** The user of the workers where nginx is started as root; nginx's own default without it. */
  readonly user?: string;
  /** Requests of one address, or IPv6 network of 64 bits, in a second; as many again are accepted in a burst. */
  readonly requestsPerSecondMax?: Bound;
  /** Requests and sockets of one address at the same time. */
  readonly connectionsPerAddressMax?: Bound;
  /** How long a worker that a reload has replaced may keep its sockets. */
  readonly shutdownTimeoutSeconds?: Bound;
  /** ingest-ws sends a ping in this interval, and cuts a socket that is silent for two of them. */
  readonly heartbeatIntervalMs?: number;
  /** Longest time between two bytes of an answer of the HTTP API. */
  readonly answerTimeoutSeconds?: number;
}

export interface TlsFiles {
  /** PEM: the certificate, followed by those of its authorities. */
  readonly certificateFile: string;
  readonly keyFile: string;
}

const nginxDefaults = {
  requestsPerSecondMax: 1_000,
  connectionsPerAddressMax: 10_000,
  shutdownTimeoutSeconds: 600,
};

/** Above what nginx itself needs for 10,000 sockets in one worker: each takes two connections. */
const workerConnections = 32_768;
/** A service closes an idle connection after 65 s; nginx must be the first to close it. */
const idleSeconds = 60;

/** @param address `8000` or `127.0.0.1:8000` */
export function listenLines(address: string, tls?: TlsFiles): string[] {
  // Without a backlog above the default (511), a fleet that reconnects overflows it.
  if (tls === undefined) return [`listen ${address} backlog=4096;`];
  return [
    `listen ${address} ssl backlog=4096;`,
    `ssl_certificate "${tls.certificateFile}";`,
    `ssl_certificate_key "${tls.keyFile}";`,
  ];
}

/** Passive health: after two failures within 5 s an instance gets no requests for 5 s, unless it is the only one. */
export function serverLines(addresses: readonly string[]): string[] {
  return addresses.map((address) => `server ${address} max_fails=2 fail_timeout=5s;`);
}

/** @param allowedOrigins ALLOWED_ORIGINS of the services: URLs, separated by commas */
export function originLines(allowedOrigins: string): string[] {
  const urls = allowedOrigins.split(',').map((text) => URL.parse(text.trim()));
  return urls.flatMap((url) => (url === null ? [] : [`"${url.origin}" $http_origin;`]));
}

/** The configuration of nginx in front of the services: it balances, limits, caches and compresses, and decides nothing. */
export function nginxConfiguration(options: NginxOptions): string {
  const {
    listen,
    ingest,
    queryApi,
    accessLog,
    instance,
    workers = 2,
    origins = [],
    user,
    requestsPerSecondMax = nginxDefaults.requestsPerSecondMax,
    connectionsPerAddressMax = nginxDefaults.connectionsPerAddressMax,
    shutdownTimeoutSeconds = nginxDefaults.shutdownTimeoutSeconds,
    heartbeatIntervalMs = 30_000,
    answerTimeoutSeconds = 60,
  } = options;
  const socketTimeoutSeconds = Math.ceil((2 * heartbeatIntervalMs) / 1_000) + 15;
  const own = [
    'add_header X-Request-Id $fleetwire_request_id always;',
    'add_header X-Content-Type-Options nosniff always;',
    'add_header Access-Control-Allow-Origin $fleetwire_origin always;',
    'add_header Access-Control-Expose-Headers "Retry-After, X-Request-Id" always;',
    'add_header Vary Origin always;',
  ];
  return `# Generated from libs/platform/src/nginx/configuration.ts. Paths are relative to nginx's prefix.
daemon off;
worker_processes ${workers};
worker_rlimit_nofile ${2 * workerConnections};
# A reload leaves sockets on their old worker for this long; then it cuts them, and devices reconnect.
worker_shutdown_timeout ${shutdownTimeoutSeconds}s;
${user === undefined ? '' : `user ${user};\n`}pid nginx.pid;
# Messages of a lower level quote the request with its query, which may contain a token; the access log has the failures.
error_log stderr crit;

events {
  worker_connections ${workerConnections};
}

http {
  client_body_temp_path temp_body;
  proxy_temp_path temp_proxy;
  fastcgi_temp_path temp_fastcgi;
  uwsgi_temp_path temp_uwsgi;
  scgi_temp_path temp_scgi;

  server_tokens off;
  tcp_nodelay on;
  keepalive_timeout 65s;
  client_header_timeout 10s;
  client_body_timeout 30s;
  send_timeout 60s;
  # A token of up to 16 KB fits into one header.
  large_client_header_buffers 4 16k;
  # The limit of the services: limits.payloadBytesMax.
  client_max_body_size ${limits.payloadBytesMax};
  client_body_buffer_size ${limits.payloadBytesMax};

  # No query, header or referer: they may contain a token. A path that contains one is not logged either.
  map $uri $fleetwire_path {
    "~eyJ[A-Za-z0-9_-]*\\." "[contains a token]";
    "~^(?<fleetwire_before_query>[^?;]*)" $fleetwire_before_query;
  }
  map $http_traceparent $fleetwire_traceparent {
    "~^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$" $http_traceparent;
  }
  log_format fleetwire escape=json '{"time":"$time_iso8601","requestId":"$fleetwire_request_id","traceparent":"$fleetwire_traceparent",'
    '"address":"$remote_addr","method":"$request_method","path":"$fleetwire_path","protocol":"$server_protocol","status":$status,'
    '"bytesReceived":$request_length,"bytesSent":$bytes_sent,"seconds":$request_time,"upstream":"$upstream_addr",'
    '"upstreamStatus":"$upstream_status","upstreamSeconds":"$upstream_response_time","cache":"$upstream_cache_status"}';
  access_log ${accessLog} fleetwire;

  # The id of the request, in its headers, its answer and every log: the client's own where it is one.
  map $http_x_request_id $fleetwire_request_id {
    "~^[\\w.:-]{1,128}$" $http_x_request_id;
    default $request_id;
  }
  # Only for the documents of nginx itself: the services do this for theirs.
  map $http_origin $fleetwire_origin {
${indent(['default "";', ...origins], 4)}
  }
  map $http_upgrade $fleetwire_connection {
    "" "";
    default upgrade;
  }

  # Limits count by address; of an IPv6 address by its network of 64 bits, as one client has all of it.
  map $remote_addr $fleetwire_client {
    "~^(?<fleetwire_network>(?:[0-9a-f]+:){4})" $fleetwire_network;
    "~^(?<fleetwire_start>(?:[0-9a-f]+:){0,3}):" $fleetwire_start;
    default $remote_addr;
  }
  limit_req_zone $fleetwire_client zone=requests:8m rate=${requestsPerSecondMax}r/s;
  limit_conn_zone $fleetwire_client zone=connections:8m;
  limit_req_status 429;
  limit_conn_status 429;
  map $limit_conn_status $fleetwire_limit {
    REJECTED "More than ${connectionsPerAddressMax} requests and sockets of your address are open (NGINX_CONNECTIONS_PER_ADDRESS_MAX); close some of them";
    default "More than ${requestsPerSecondMax} requests of your address in a second (NGINX_REQUESTS_PER_SECOND_MAX); send fewer, or several readings in one request";
  }

  # The services: where a path below /api/ leads.
  map "$request_method $uri" $fleetwire_upstream {
${indent(routeLines(), 4)}
    default query_api;
  }
  upstream ingest_ws {
    zone ingest_ws 128k;
    least_conn;
${indent(ingest, 4)}
    keepalive 32;
    keepalive_timeout ${idleSeconds}s;
  }
  upstream query_api {
    zone query_api 128k;
    least_conn;
${indent(queryApi, 4)}
    keepalive 32;
    keepalive_timeout ${idleSeconds}s;
  }

  # Kept answers: only those that query-api allows to keep (s-maxage), of ranges that end at a fixed time, and only for requests with the same
  # Authorization header and address. The services say so with Vary, of which nginx stores a hash; an answer without it is not kept.
  proxy_cache_path cache levels=1:2 keys_zone=answers:8m max_size=256m inactive=15m use_temp_path=off;
  map "$request_method $uri $arg_to" $fleetwire_may_keep {
    "~^(GET|HEAD) /api(/v1)?(${keptPaths.join('|')}) (?!now)." 1;
    default 0;
  }
  map $upstream_http_vary $fleetwire_shared_answer {
    "~*authorization" 0;
    default 1;
  }
  # The time of a kept answer that is given because query-api is unavailable.
  map $upstream_cache_status $fleetwire_stale_since {
    STALE $upstream_http_date;
  }

  gzip on;
  gzip_comp_level 4;
  gzip_min_length 1024;
  gzip_proxied any;
  gzip_vary on;
  gzip_types application/json application/problem+json application/javascript text/javascript text/css text/plain image/svg+xml;

  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:tls:4m;
  ssl_session_timeout 1h;

  proxy_http_version 1.1;
  proxy_connect_timeout 2s;
  proxy_next_upstream_timeout 10s;
  proxy_next_upstream_tries 3;
  proxy_buffer_size 16k;
  proxy_buffers 16 16k;
  proxy_busy_buffers_size 64k;
  proxy_max_temp_file_size 64m;

  server {
${indent(listen, 4)}
    limit_req zone=requests burst=${requestsPerSecondMax} nodelay;
    limit_conn connections ${connectionsPerAddressMax};

    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_set_header X-Request-Id $fleetwire_request_id;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_hide_header X-Request-Id;
    add_header X-Request-Id $fleetwire_request_id always;
    add_header X-Fleetwire-Stale $fleetwire_stale_since always;

    location = / {
      proxy_pass http://query_api;
      proxy_read_timeout ${answerTimeoutSeconds}s;
    }
    location = /healthz {
      access_log off;
      default_type application/json;
      return 200 '{"status":"ok","instance":"${instance}"}';
    }

    location = /ws {
      proxy_pass http://ingest_ws;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $fleetwire_connection;
      proxy_set_header X-Request-Id $fleetwire_request_id;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      # A draining instance answers upgrades with 503.
      proxy_next_upstream error timeout http_503;
      # Above two heartbeats, after which ingest-ws itself cuts a silent socket.
      proxy_read_timeout ${socketTimeoutSeconds}s;
      proxy_send_timeout ${socketTimeoutSeconds}s;
    }
    # nginx removes If-None-Match and Range where it may keep an answer; therefore only in a location of its own.
    error_page 418 = @kept_answers;
    recursive_error_pages on;
    location /api/ {
      if ($fleetwire_may_keep) {
        return 418;
      }
      proxy_pass http://$fleetwire_upstream;
      proxy_read_timeout ${answerTimeoutSeconds}s;
      proxy_send_timeout 30s;
    }
    location @kept_answers {
      proxy_pass http://$fleetwire_upstream;
      proxy_read_timeout ${answerTimeoutSeconds}s;
      proxy_cache answers;
      # The host, because services without tokens check it; the client, so that clients elsewhere cannot make its requests wait.
      proxy_cache_key $http_host|$fleetwire_client|$request_uri;
      proxy_cache_revalidate on;
      proxy_no_cache $fleetwire_shared_answer;
      # Equal requests wait for the first of them.
      proxy_cache_lock on;
      proxy_cache_lock_timeout 5s;
      proxy_cache_lock_age 5s;
    }
    # The file of an export job is on the disk of one instance; one without it answers 404, and the next one is asked.
    location ~ ^/api(/v1)?(${filePaths.join('|')})$ {
      proxy_pass http://query_api;
      proxy_next_upstream error timeout http_404;
      proxy_read_timeout ${answerTimeoutSeconds}s;
    }
    # So are the files of the dashboard in an upgrade: the page may be of an instance of one release, and the request reach one of another.
    location ~ ^(${assetPaths.join('|')})/ {
      proxy_pass http://query_api;
      proxy_next_upstream error timeout http_404;
      proxy_read_timeout ${answerTimeoutSeconds}s;
    }
    location ~ ^/api(/v1)?(${streamPaths.join('|')})$ {
      proxy_pass http://query_api;
      proxy_buffering off;
      proxy_read_timeout ${socketTimeoutSeconds}s;
    }
    location ~ ^(${pagePaths.map((path) => path.replaceAll('.', '\\.')).join('|')})(/|$) {
      proxy_pass http://query_api;
      proxy_read_timeout ${answerTimeoutSeconds}s;
    }
    location / {
      return 404;
    }

${indent(problemLocations({ bodyBytesMax: limits.payloadBytesMax }, own), 4)}
  }
}
`;
}

function indent(lines: readonly string[], spaces: number): string {
  return lines.map((line) => ' '.repeat(spaces) + line).join('\n');
}
