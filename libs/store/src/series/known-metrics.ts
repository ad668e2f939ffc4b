import type pg from 'pg';

/** Those of the metrics that one of the devices has in its latest state: that it ever sent, unless only with a wrong clock. */
export async function knownMetrics(
  client: pg.PoolClient,
  { deviceKeys, metrics }: { readonly deviceKeys: readonly number[]; readonly metrics: readonly string[] },
): Promise<Set<string>> {
  const { rows } = await client.query<{ name: string }>(
    `select name from unnest($1::text[]) as wanted (name)
     where exists (select from device_latest where device_key = any($2::int4[]) and metrics ? name)`,
    [metrics, deviceKeys],
  );
  return new Set(rows.map(({ name }) => name));
}
