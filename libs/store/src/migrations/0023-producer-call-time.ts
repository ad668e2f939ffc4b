import { type Kysely, sql } from 'kysely';

/** producer_numbers also says when the first call with the key was made: docs/decisions/0031-producers.md. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`drop function producer_numbers(text, text, text, text, int4, int4)`.execute(db);
  await sql`
    create function producer_numbers(
      p_device text, p_client text, p_key text, p_digest text, p_readings int4, p_days int4,
      out first_seq int8, out digest text, out called_at timestamptz
    ) language plpgsql as $$
      begin
        insert into producer_streams (device_id, client) values (p_device, p_client) on conflict do nothing;
        perform from producer_streams s where s.device_id = p_device and s.client = p_client for update;
        if p_key is not null then
          delete from producer_requests r
            where r.device_id = p_device and r.client = p_client and r.created_at < now() - p_days * interval '1 day';
          select r.first_seq, r.digest, r.created_at into first_seq, digest, called_at from producer_requests r
            where r.device_id = p_device and r.client = p_client and r.key = p_key;
          if found then return; end if;
        end if;
        update producer_streams s set next_seq = s.next_seq + p_readings where s.device_id = p_device and s.client = p_client
          returning s.next_seq - p_readings into first_seq;
        digest := p_digest;
        called_at := now();
        if p_key is not null then
          insert into producer_requests (device_id, client, key, digest, first_seq, created_at)
            values (p_device, p_client, p_key, p_digest, first_seq, called_at);
        end if;
      end
    $$`.execute(db);
}
