/**
 * Who may import whom, and what may stand where. `architecture.ts` holds each source file against this.
 * Folders are relative to the repository; a package's tests may also import the test kit.
 */
export const mayImport: Record<string, readonly string[]> = {
  'libs/contracts': [],
  'libs/service-kit': [],
  'libs/broker': ['contracts'],
  'libs/store': ['contracts'],
  'libs/backing-services': [],
  'libs/test-kit': ['backing-services'],
  'services/ingest-ws': ['contracts', 'broker', 'service-kit'],
  'services/persistence-worker': ['contracts', 'broker', 'store', 'service-kit'],
  'services/query-api': ['contracts', 'broker', 'store', 'service-kit'],
  // Tools work with public endpoints. What they borrow from a library has its reason beside it.
  'tools/launcher': ['contracts', 'backing-services', /* tokens */ 'service-kit'],
  'tools/simulator': ['contracts', /* tokens */ 'service-kit'],
  'tools/fleetwire': ['contracts', /* tokens and keys */ 'service-kit', /* the command line's manners */ 'simulator'],
  'tools/bench': [
    'contracts',
    'backing-services',
    'service-kit',
    'simulator',
    /* the floors it measures against */ 'broker',
    'store',
  ],
  'tools/chaos': [
    'contracts',
    'backing-services',
    'service-kit',
    'simulator',
    /* the names of what it breaks */ 'broker',
    /* migrations, and the audit straight from the tables */ 'store',
    /* the fault proxy */ 'test-kit',
  ],
  'tools/scaling': [/* the micro-batcher, as production has it */ 'service-kit', /* numbers from a seed */ 'simulator'],
  'tools/setup': [],
};

/** The end-to-end tests put everything together. */
export const importsEverything = ['e2e'];

/** Our packages that may be a development dependency only. */
export const developmentOnly = ['test-kit'];

/** Third-party packages that one of ours wraps, and who may import them beside it. */
export const wrapped: Record<string, readonly string[]> = {
  amqplib: ['libs/broker'],
  pg: ['libs/store', 'libs/test-kit', 'tools/bench'],
  kysely: ['libs/store'],
};

/** Text that may stand only in some places. Tests are exempt: they end processes and set variables to prove what happens then. */
export const confined: { what: string; pattern: RegExp; allowed: RegExp; instead: string }[] = [
  {
    what: 'process.exit',
    pattern: /\bprocess\.exit\(/,
    allowed: /^libs\/service-kit\/|^libs\/test-kit\/src\/global-setup\.ts$|^tools\/[^/]+\/src\/([a-z-]+-)?main\.ts$/,
    instead: 'the process ends in service-kit',
  },
  {
    what: 'a signal handler',
    pattern: /\bprocess\s*\.(on|once|addListener)\(\s*['"`]SIG/,
    allowed:
      /^libs\/service-kit\/|^libs\/test-kit\/src\/global-setup\.ts$|^tools\/setup\/|^tools\/simulator\/src\/simulate\.ts$|^tools\/[^/]+\/src\/([a-z-]+-)?main\.ts$/,
    instead: 'signals are handled in service-kit',
  },
  {
    what: 'process.env',
    pattern: /\bprocess\.env\b/,
    allowed: /\/src\/([a-z-]+-)?main\.ts$|^libs\/(test-kit|backing-services)\/|^tools\/setup\/|^[^/]+\.config\.ts$/,
    instead: 'main.ts reads the environment and passes a configuration on',
  },
];
