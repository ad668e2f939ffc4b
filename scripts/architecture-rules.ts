/**
 * Which folder may import which, and which text is allowed where. `architecture.ts` checks each source file against this.
 * Folders are relative to the repository. Those under `libs`, `services`, `apps` and `cli` are packages and import each other as
 * `@fleetwire/<last part of the folder>/…`; the folders of the root package (`scripts`, `lab`) import each other by relative paths.
 */
export const mayImport: Record<string, readonly string[]> = {
  'libs/contracts': [],
  'libs/runtime': [],
  'libs/auth': ['libs/contracts'],
  'libs/client': [],
  'libs/broker': ['libs/contracts'],
  'libs/store': ['libs/contracts'],
  'libs/live': ['libs/contracts', 'libs/broker', /* variables and metrics */ 'libs/runtime'],
  /* tokens and keys for the services that it runs, as programs */ 'libs/platform': ['libs/contracts', 'libs/auth'],
  'services/ingest-ws': ['libs/contracts', 'libs/auth', 'libs/broker', 'libs/live', 'libs/runtime'],
  'services/persistence-worker': ['libs/contracts', 'libs/broker', 'libs/store', 'libs/runtime'],
  'services/query-api': ['libs/contracts', 'libs/auth', 'libs/broker', 'libs/live', 'libs/store', 'libs/runtime'],
  cli: ['libs/contracts', 'libs/auth', 'libs/client'],
  'apps/dashboard': ['libs/client', /* the backoff of devices, and words of the protocol */ 'libs/contracts'],
  scripts: [],
  'scripts/launcher': ['libs/contracts', 'libs/auth', 'libs/platform', 'cli'],
  // The laboratory works with public endpoints. Each import of a library beyond that has its reason beside it.
  'lab/fleet': ['libs/contracts', 'libs/auth', 'cli'],
  'lab/bench': [
    'libs/contracts',
    'libs/platform',
    'libs/runtime',
    'cli',
    'lab/fleet',
    /* the bare broker and database it compares with */ 'libs/broker',
    'libs/store',
  ],
  'lab/bench/peers': [],
  'lab/chaos': [
    'libs/platform',
    'cli',
    'lab/fleet',
    /* the names of the queues it breaks */ 'libs/broker',
    /* the audit reads the tables directly */ 'libs/store',
  ],
  'lab/fuzz': [
    /* the schema of a frame */ 'libs/contracts',
    'libs/platform',
    'cli',
    /* the audit straight from the tables */ 'libs/store',
  ],
  'lab/scaling': [
    /* the reconnect backoff of devices */ 'libs/contracts',
    /* the micro-batcher of production */ 'libs/runtime',
    /* random numbers from a seed */ 'lab/fleet',
    /* the ids of measured costs */ 'lab/bench',
    'cli',
  ],
};

/** The end-to-end tests, also those in a browser, may import everything. */
export const importsEverything = ['lab/e2e', 'lab/browser'];

/** Packages that may only be a development dependency of other packages; only tests import them. */
export const developmentOnly = ['libs/platform'];

/** Folders of the root package that the image contains: like the sources of packages, they import only production dependencies. */
export const shippedByRoot = ['lab/fleet'];

/** Modules of a permitted package that the sources of a folder must not import. */
export const forbidden: Record<string, { specifiers: RegExp; why: string }> = {
  'services/query-api': {
    specifiers: /^@fleetwire\/broker\/(retrying-)?publish/,
    why: 'the query API publishes nothing',
  },
};

/** Third-party packages that one package of ours wraps (the first folder), and the other folders that may import them. */
export const wrapped: Record<string, readonly string[]> = {
  amqplib: ['libs/broker', 'lab/bench/peers'],
  pg: ['libs/store', 'libs/platform', 'lab/bench', 'lab/bench/peers'],
  kysely: ['libs/store'],
};

/** Text that is allowed in some files only. Tests are exempt: they end processes and set environment variables on purpose. */
export const confined: { what: string; pattern: RegExp; allowed: RegExp; instead: string }[] = [
  {
    what: 'process.exit',
    pattern: /\bprocess\.exit\(/,
    allowed:
      /^libs\/runtime\/|^libs\/platform\/src\/testing\/global-setup\.ts$|^(lab|scripts)\/.*\/([a-z-]+-)?main\.ts$/,
    instead: 'only runtime ends the process',
  },
  {
    what: 'a signal handler',
    pattern: /\bprocess\s*\.(on|once|addListener)\(\s*['"`]SIG/,
    allowed:
      /^libs\/runtime\/|^libs\/platform\/src\/testing\/global-setup\.ts$|^scripts\/[^/]+$|^lab\/fleet\/simulate\.ts$|^(cli|lab|scripts)\/.*\/([a-z-]+-)?main\.ts$/,
    instead: 'only runtime handles signals',
  },
  {
    what: 'process.env',
    pattern: /\bprocess\.env\b/,
    allowed: /\/([a-z-]+-)?main\.ts$|^libs\/platform\/|^scripts\/[^/]+$|^[^/]+\.config\.ts$/,
    instead: 'main.ts reads the environment and passes a configuration to the rest',
  },
];
