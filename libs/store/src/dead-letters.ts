import type { DeadLetter } from '@fleetwire/contracts/dead-letter';
import { replayHeader } from '@fleetwire/contracts/event';
import type pg from 'pg';
import { int4Array, timestamptzArray } from './binary-arrays.ts';

/** Beyond it headers are not kept: they explain a dead letter, they are not what died. */
const headersCharactersMax = 16_384;

/**
 * Keeps dead letters. One that is there already only has its attempts and its last failure brought up to date; where it failed at
 * another time than we knew, and not merely came twice, it has arrived again (`last_arrived_at`).
 * The books count each with the minute in which its reading arrived: again where that arrived again, but not where it was replayed.
 * @returns how many were new
 */
export async function insertDeadLetters(pool: pg.Pool, deadLetters: readonly DeadLetter[]): Promise<number> {
  // Each id once, as one statement cannot update a row twice; sorted, as all writers lock them in this order.
  const letters = [...mergedById(deadLetters).values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  if (letters.length === 0) return 0;
  const { rows } = await pool.query<{ added: number }>(
    `with known_before as (
       select id, received_at from dead_letters where id = any($1::text[])
     ), kept as (
       insert into dead_letters as known (id, reason, error_code, error_message, fingerprint, attempts, first_failed_at,
         last_failed_at, device_id, epoch, seq, received_at, payload, payload_encoding, headers)
       select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int4[], $7::timestamptz[],
         $8::timestamptz[], $9::text[], $10::text[], $11::int8[], $12::timestamptz[], $13::bytea[], $14::text[], $15::text[])
       on conflict (id) do update set
         attempts = greatest(known.attempts, excluded.attempts),
         last_failed_at = greatest(known.last_failed_at, excluded.last_failed_at),
         last_arrived_at = case when excluded.last_failed_at = known.last_failed_at then known.last_arrived_at else now() end
       returning xmax = 0 as added
     ), booked as (
       insert into books_dead as known (minute, device_id, dead)
       select floor(extract(epoch from n.received_at) / 60)::int4, coalesce(n.device_id, ''), count(*)
       from unnest($1::text[], $9::text[], $12::timestamptz[], $16::bool[]) as n (id, device_id, received_at, is_replay)
       left join known_before k on k.id = n.id
       where not n.is_replay and n.received_at is not null and (k.id is null or k.received_at is distinct from n.received_at)
       group by 1, 2 order by 1, 2
       on conflict (minute, device_id) do update set dead = known.dead + excluded.dead
     )
     select count(*) filter (where added) as added from kept`,
    [
      letters.map(({ id }) => id),
      letters.map(({ reason }) => reason),
      letters.map(({ error }) => storableText(error.code)),
      letters.map(({ error }) => storableText(error.message)),
      letters.map(({ fingerprint }) => storableText(fingerprint)),
      int4Array(letters.map(({ attempts }) => attempts)),
      timestamptzArray(letters.map(({ firstFailedAt }) => firstFailedAt)),
      timestamptzArray(letters.map(({ lastFailedAt }) => lastFailedAt)),
      letters.map(({ deviceId }) => (deviceId === undefined ? null : storableText(deviceId))),
      letters.map(({ epoch }) => (epoch === undefined ? null : storableText(epoch))),
      letters.map(({ seq }) => (Number.isSafeInteger(seq) ? seq : null)),
      letters.map(({ receivedAt }) => storableTime(receivedAt)),
      letters.map(({ payload, payloadEncoding }) =>
        Buffer.from(payload, payloadEncoding === 'base64' ? 'base64' : 'utf8'),
      ),
      letters.map(({ payloadEncoding }) => payloadEncoding),
      letters.map(({ headers }) => storableHeaders(headers)),
      letters.map(({ headers }) => headers?.[replayHeader] !== undefined),
    ],
  );
  return rows[0]?.added ?? 0;
}

function mergedById(deadLetters: readonly DeadLetter[]): Map<string, DeadLetter> {
  const byId = new Map<string, DeadLetter>();
  for (const letter of deadLetters) {
    const known = byId.get(letter.id);
    const attempts = Math.max(known?.attempts ?? 0, letter.attempts);
    const lastFailedAt = Math.max(known?.lastFailedAt ?? letter.lastFailedAt, letter.lastFailedAt);
    byId.set(letter.id, { ...(known ?? letter), attempts, lastFailedAt });
  }
  return byId;
}

/** A dead letter must never fail on what made the reading fail: Postgres takes neither NUL nor half a surrogate pair in text. */
function storableText(text: string): string {
  return text.replaceAll('\0', '\u{FFFD}').toWellFormed();
}

/** As text: `jsonb` would refuse what may stand in a header. */
function storableHeaders(headers: DeadLetter['headers']): string | null {
  const text = headers === undefined ? '{}' : JSON.stringify(headers);
  return text === '{}' || text.length > headersCharactersMax ? null : text;
}

/** Of a message that nobody could read, the time may be any number. */
function storableTime(epochMs: number | undefined): string | null {
  const time = new Date(epochMs ?? Number.NaN);
  return time.getTime() >= 0 && time.getUTCFullYear() <= 9_999 ? time.toISOString() : null;
}
