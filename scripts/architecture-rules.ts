/**
 * Who may import whom, and what may stand where. `architecture.ts` holds each source file against this.
 * A room is a folder, relative to the repository. Rooms under `libs`, `services` and `cli` are packages and import each other as
 * `@fleetwire/<last part of the folder>/…`; the rooms of the root package import each other by relative paths.
 */
export const mayImport: Record<string, readonly string[]> = {
  'libs/contracts': [],
  'libs/runtime': [],
  'libs/auth': ['libs/contracts'],
  'libs/broker': ['libs/contracts'],
  'libs/store': ['libs/contracts'],
  'libs/platform': [],
  'services/ingest-ws': ['libs/contracts', 'libs/auth', 'libs/broker', 'libs/runtime'],
  'services/persistence-worker': ['libs/contracts', 'libs/broker', 'libs/store', 'libs/runtime'],
  'services/query-api': ['libs/contracts', 'libs/auth', 'libs/broker', 'libs/store', 'libs/runtime'],
  cli: ['libs/contracts', 'libs/auth'],
  scripts: [],
  'scripts/launcher': ['libs/contracts', 'libs/auth', 'libs/platform', 'cli'],
  // The laboratory works with public endpoints. What it borrows from a library has its reason beside it.
  'lab/fleet': ['libs/contracts', 'libs/auth', 'cli'],
  'lab/bench': [
    'libs/contracts',
    'libs/auth',
    'libs/platform',
    'libs/runtime',
    'cli',
    'lab/fleet',
    /* the floors it measures against */ 'libs/broker',
    'libs/store',
  ],
  'lab/bench/peers': [],
  'lab/chaos': [
    'libs/contracts',
    'libs/auth',
    'libs/platform',
    'cli',
    'lab/fleet',
    /* the names of what it breaks */ 'libs/broker',
    /* migrations, and the audit straight from the tables */ 'libs/store',
  ],
  'lab/scaling': [
    /* the reconnect backoff of devices */ 'libs/contracts',
    /* the micro-batcher, as production has it */ 'libs/runtime',
    /* numbers from a seed */ 'lab/fleet',
    'cli',
  ],
};

/** The end-to-end tests put everything together. */
export const importsEverything = ['lab/e2e'];

/** Packages that are only a development dependency of other packages; their tests may import it. */
export const developmentOnly = ['libs/platform'];

/** Third-party packages that one of ours wraps, and who may import them beside it. */
export const wrapped: Record<string, readonly string[]> = {
  amqplib: ['libs/broker', 'lab/bench/peers'],
  pg: ['libs/store', 'libs/platform', 'lab/bench', 'lab/bench/peers'],
  kysely: ['libs/store'],
};

/** Text that may stand only in some places. Tests are exempt: they end processes and set variables to prove what happens then. */
export const confined: { what: string; pattern: RegExp; allowed: RegExp; instead: string }[] = [
  {
    what: 'process.exit',
    pattern: /\bprocess\.exit\(/,
    allowed:
      /^libs\/runtime\/|^libs\/platform\/src\/testing\/global-setup\.ts$|^(lab|scripts)\/.*\/([a-z-]+-)?main\.ts$/,
    instead: 'the process ends in runtime',
  },
  {
    what: 'a signal handler',
    pattern: /\bprocess\s*\.(on|once|addListener)\(\s*['"`]SIG/,
    allowed:
      /^libs\/runtime\/|^libs\/platform\/src\/testing\/global-setup\.ts$|^scripts\/[^/]+$|^lab\/fleet\/simulate\.ts$|^(cli|lab|scripts)\/.*\/([a-z-]+-)?main\.ts$/,
    instead: 'signals are handled in runtime',
  },
  {
    what: 'process.env',
    pattern: /\bprocess\.env\b/,
    allowed: /\/([a-z-]+-)?main\.ts$|^libs\/platform\/|^scripts\/[^/]+$|^[^/]+\.config\.ts$/,
    instead: 'main.ts reads the environment and passes a configuration on',
  },
];
