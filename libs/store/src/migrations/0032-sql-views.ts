import { type Kysely, sql } from 'kysely';

/**
 * The schema `api_v1`, for SQL of users, and the role `fleetwire_sql`, which may read it and nothing else: docs/sql.md,
 * docs/decisions/0047-sql-and-grafana.md. Columns may be added at the end; a change of meaning makes api_v2.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create schema api_v1`.execute(db);
  await sql`comment on schema api_v1 is 'Stable views for SQL; docs/sql.md'`.execute(db);
  await createReadings(db);
  await createValues(db);
  await createDevices(db);
  await createRole(db);
}

async function createReadings(db: Kysely<unknown>): Promise<void> {
  await sql`
    create view api_v1.readings as
    select d.device_id, s.epoch, r.seq, r.ts, r.received_at,
      coalesce((select jsonb_object_agg(n.name, n.value) from unnest(sh.names, r.numbers) as n (name, value)), '{}')
        || coalesce(r.others, '{}') as metrics,
      r.ts > r.received_at + interval '5 minutes' as is_ahead
    from public.readings r
    join public.devices d on d.device_key = r.device_key
    join public.streams s on s.stream_key = r.stream_key
    join public.shapes sh on sh.shape_key = r.shape_key`.execute(db);
  await comment(db, 'view', 'api_v1.readings', 'One row for each reading, with all its metrics. Name a range of ts');
  await comment(db, 'column', 'api_v1.readings.epoch', 'What seq counts within: usually a boot of the device');
  await comment(db, 'column', 'api_v1.readings.ts', 'Time of the device');
  await comment(db, 'column', 'api_v1.readings.received_at', 'When the reading arrived at Fleetwire');
  await comment(
    db,
    'column',
    'api_v1.readings.is_ahead',
    'ts is so far after received_at that the clock of the device is wrong',
  );
}

async function createValues(db: Kysely<unknown>): Promise<void> {
  await sql`
    create view api_v1.values as
    select d.device_id, v.metric, r.ts, v.value,
      case when jsonb_typeof(v.other) = 'string' then v.other #>> '{}' end as value_text,
      case when jsonb_typeof(v.other) = 'boolean' then v.other::bool end as value_bool,
      case when jsonb_typeof(v.other) in ('object', 'array', 'null') then v.other end as value_json,
      s.epoch, r.seq, r.received_at
    from public.readings r
    join public.devices d on d.device_key = r.device_key
    join public.streams s on s.stream_key = r.stream_key
    join public.shapes sh on sh.shape_key = r.shape_key
    cross join lateral (
      select n.name as metric, n.value, null::jsonb as other from unnest(sh.names, r.numbers) as n (name, value)
      union all
      select o.key, case when jsonb_typeof(o.value) = 'number' then o.value::float8 end, o.value from jsonb_each(r.others) as o
    ) as v`.execute(db);
  await comment(db, 'view', 'api_v1.values', 'One row for each metric of each reading. Name a range of ts');
  await comment(
    db,
    'column',
    'api_v1.values.value',
    'The number; null where the value is a text, a boolean, an object or a list',
  );
}

async function createDevices(db: Kysely<unknown>): Promise<void> {
  await sql`
    create view api_v1.devices as
    select d.device_id, d.name, d.type, d.tags, d.location, d.metadata, d.status, p.status as presence,
      d.first_seen_at, l.received_at as last_seen_at, l.ts as last_ts, d.expected_interval_ms * interval '1 millisecond' as expected_interval
    from public.devices d
    left join public.device_latest l on l.device_key = d.device_key
    left join public.presence p on p.device_id = d.device_id`.execute(db);
  await comment(db, 'view', 'api_v1.devices', 'One row for each device, as it is now');
  await comment(db, 'column', 'api_v1.devices.presence', 'online, stale or offline; null where nothing is known');
}

function comment(db: Kysely<unknown>, kind: 'view' | 'column', name: string, text: string): Promise<unknown> {
  return sql`comment on ${sql.raw(kind)} ${sql.raw(name)} is ${sql.lit(text)}`.execute(db);
}

/**
 * Without a password and without login: an administrator decides who may connect. Roles are of the whole cluster: it may be there already, be
 * created by another database at the same moment, or be beyond the rights of this user, who then creates it by hand and grants the same.
 */
async function createRole(db: Kysely<unknown>): Promise<void> {
  await sql`
    do $$
    begin
      if not exists (select from pg_roles where rolname = 'fleetwire_sql') then
        create role fleetwire_sql nologin connection limit 8;
        alter role fleetwire_sql set default_transaction_read_only = on;
        alter role fleetwire_sql set statement_timeout = '60s';
        alter role fleetwire_sql set idle_in_transaction_session_timeout = '60s';
        alter role fleetwire_sql set search_path = api_v1;
      end if;
    exception when unique_violation or duplicate_object or insufficient_privilege then
      null;
    end
    $$`.execute(db);
  await sql`
    do $$
    begin
      if exists (select from pg_roles where rolname = 'fleetwire_sql') then
        grant usage on schema api_v1 to fleetwire_sql;
        grant select on all tables in schema api_v1 to fleetwire_sql;
      end if;
    end
    $$`.execute(db);
}
