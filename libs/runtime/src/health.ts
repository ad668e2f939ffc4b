import { Router } from 'express';
import { Gauge, type Registry } from 'prom-client';

/** Reads state in memory, without I/O. `true` means ready; a text says what is wrong; a warning is shown, and does not turn readiness off. */
type ReadinessCheck = () => true | string | { readonly warning: string };

interface Readiness {
  readonly ready: boolean;
  readonly draining: boolean;
  readonly checks: Readonly<Record<string, 'ok' | (string & {})>>;
}

export interface Health {
  addCheck(name: string, check: ReadinessCheck): void;
  /** From now on `/readyz` answers 503; call it first when stopping. */
  setDraining(): void;
  readiness(): Readiness;
  /** `/healthz` (the process alone), `/readyz` (its dependencies) and `/metrics`. */
  readonly router: Router;
}

export function createHealth({ registry }: { readonly registry: Registry }): Health {
  const checks = new Map<string, ReadinessCheck>();
  let draining = false;

  const readiness = (): Readiness => {
    const results = [...checks].map(([name, check]) => [name, check()] as const);
    const ready = !draining && results.every(([, result]) => typeof result !== 'string');
    return { ready, draining, checks: Object.fromEntries(results.map(([name, result]) => [name, describe(result)])) };
  };

  registry.registerMetric(
    new Gauge({
      name: 'fleetwire_ready',
      help: '1 while /readyz answers 200',
      registers: [],
      collect() {
        this.set(readiness().ready ? 1 : 0);
      },
    }),
  );

  const router = Router();
  router.get('/healthz', (_request, response) => {
    response.json({ status: 'ok', uptimeSeconds: Math.round(process.uptime()) });
  });
  router.get('/readyz', (_request, response) => {
    const state = readiness();
    response.status(state.ready ? 200 : 503).json(state);
  });
  router.get('/metrics', async (_request, response) => {
    response.type(registry.contentType).send(await registry.metrics());
  });

  return {
    addCheck: (name, check) => void checks.set(name, check),
    setDraining: () => void (draining = true),
    readiness,
    router,
  };
}

function describe(result: ReturnType<ReadinessCheck>): string {
  if (result === true) return 'ok';
  return typeof result === 'string' ? result : `ok, but ${result.warning}`;
}
