import { type Kysely, sql } from 'kysely';

/**
 * How far the device events have been published, and the numbers of readings that producers add over HTTP:
 * docs/decisions/0030-device-registry.md and 0031-producers.md.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create table device_event_outbox (only_row bool primary key default true check (only_row), position jsonb not null)`.execute(
    db,
  );
  await sql`insert into device_event_outbox (position) values ('{"store":null,"done":"3:3:"}')`.execute(db);
  await createProducers(db);
}

async function createProducers(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table producer_streams (
      device_id text collate "C" not null,
      client text collate "C" not null,
      next_seq int8 not null default 0,
      primary key (device_id, client)
    )`.execute(db);
  await sql`
    create table producer_requests (
      device_id text collate "C" not null,
      client text collate "C" not null,
      key text collate "C" not null,
      digest text not null,
      first_seq int8 not null,
      created_at timestamptz not null default now(),
      primary key (device_id, client, key)
    )`.execute(db);
  await sql`create index on producer_requests (device_id, client, created_at)`.execute(db);
  // A function, because the second of two requests with one key must see what the first has written: each statement in it sees that.
  await sql`
    create function producer_numbers(
      p_device text, p_client text, p_key text, p_digest text, p_readings int4, p_days int4, out first_seq int8, out digest text
    ) language plpgsql as $$
      begin
        insert into producer_streams (device_id, client) values (p_device, p_client) on conflict do nothing;
        perform from producer_streams s where s.device_id = p_device and s.client = p_client for update;
        if p_key is not null then
          delete from producer_requests r
            where r.device_id = p_device and r.client = p_client and r.created_at < now() - p_days * interval '1 day';
          select r.first_seq, r.digest into first_seq, digest from producer_requests r
            where r.device_id = p_device and r.client = p_client and r.key = p_key;
          if found then return; end if;
        end if;
        update producer_streams s set next_seq = s.next_seq + p_readings where s.device_id = p_device and s.client = p_client
          returning s.next_seq - p_readings into first_seq;
        digest := p_digest;
        if p_key is not null then
          insert into producer_requests (device_id, client, key, digest, first_seq) values (p_device, p_client, p_key, p_digest, first_seq);
        end if;
      end
    $$`.execute(db);
}
