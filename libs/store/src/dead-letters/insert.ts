import type { DeadLetter } from '@fleetwire/contracts/dead-letter';
import { replayHeader } from '@fleetwire/contracts/event';
import type pg from 'pg';

/** Longer headers are not kept: they help to understand a dead letter, and are no part of the reading. */
const headersCharactersMax = 16_384;

/**
 * Stores dead letters. Of one that is stored already, only attempts and last failure are updated; if that failure is a new one, and the
 * message was not merely delivered twice, the dead letter has arrived again (`last_arrived_at`).
 *
 * Reconciliation counts a dead letter under the minute in which the edge received its reading: once for each time that the edge received
 * it, and not for replays.
 * @returns how many were new
 */
export async function insertDeadLetters(pool: pg.Pool, deadLetters: readonly DeadLetter[]): Promise<number> {
  // One statement cannot update a row twice, so each id goes in once; sorted, because all writers must lock rows in the same order.
  const letters = [...mergedById(deadLetters).values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  if (letters.length === 0) return 0;
  const { rows } = await pool.query<{ added: number }>(insertStatement, [JSON.stringify(letters.map(toRecord))]);
  return rows[0]?.added ?? 0;
}

const insertStatement = `
  with letters as (
    select * from json_to_recordset($1) as l (
      id text, reason text, error_code text, error_message text, fingerprint text, attempts int4, first_failed_ms float8,
      last_failed_ms float8, device_id text, epoch text, seq int8, received_at timestamptz, payload text, payload_encoding text,
      headers text, is_replay bool
    )
  ), stored_before as (
    select id, received_at from dead_letters where id in (select id from letters)
  ), inserted as (
    insert into dead_letters as known (id, reason, error_code, error_message, fingerprint, attempts, first_failed_at, last_failed_at,
      device_id, epoch, seq, received_at, payload, payload_encoding, headers)
    select id, reason, error_code, error_message, fingerprint, attempts, to_timestamp(first_failed_ms / 1000),
      to_timestamp(last_failed_ms / 1000), device_id, epoch, seq, received_at, decode(payload, 'base64'), payload_encoding, headers
    from letters
    on conflict (id) do update set
      attempts = greatest(known.attempts, excluded.attempts),
      last_failed_at = greatest(known.last_failed_at, excluded.last_failed_at),
      last_arrived_at = case when excluded.last_failed_at = known.last_failed_at then known.last_arrived_at else now() end
    -- xmax is 0 in a row that this statement inserted, and not in one that it updated.
    returning xmax = 0 as is_new
  ), counted as (
    insert into books_dead as known (minute, device_id, dead)
    select floor(extract(epoch from l.received_at) / 60)::int4, coalesce(l.device_id, ''), count(*)
    from letters l left join stored_before s on s.id = l.id
    where not l.is_replay and l.received_at is not null and (s.id is null or s.received_at is distinct from l.received_at)
    group by 1, 2 order by 1, 2
    on conflict (minute, device_id) do update set dead = known.dead + excluded.dead
  )
  select count(*) filter (where is_new) as added from inserted`;

/** A dead letter as the statement reads it. The bytes of the payload travel in base64, as JSON text cannot hold all of them. */
function toRecord(letter: DeadLetter) {
  const { deviceId, epoch, seq, payload, payloadEncoding, headers } = letter;
  return {
    id: letter.id,
    reason: letter.reason,
    error_code: storableText(letter.error.code),
    error_message: storableText(letter.error.message),
    fingerprint: storableText(letter.fingerprint),
    attempts: letter.attempts,
    first_failed_ms: letter.firstFailedAt,
    last_failed_ms: letter.lastFailedAt,
    device_id: deviceId === undefined ? null : storableText(deviceId),
    epoch: epoch === undefined ? null : storableText(epoch),
    seq: Number.isSafeInteger(seq) ? seq : null,
    received_at: storableTime(letter.receivedAt),
    payload: payloadEncoding === 'base64' ? payload : Buffer.from(payload).toString('base64'),
    payload_encoding: payloadEncoding,
    headers: storableHeaders(headers),
    is_replay: headers?.[replayHeader] !== undefined,
  };
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

/** Postgres refuses NUL and half a surrogate pair in text. What made Postgres refuse the reading must not make it refuse its dead letter. */
function storableText(text: string): string {
  return text.replaceAll('\0', '\u{FFFD}').toWellFormed();
}

/** As text, because `jsonb` refuses values that a header may hold. */
function storableHeaders(headers: DeadLetter['headers']): string | null {
  const text = headers === undefined ? '{}' : JSON.stringify(headers);
  return text === '{}' || text.length > headersCharactersMax ? null : text;
}

/** The time in an unreadable message may be any number. */
function storableTime(epochMs: number | undefined): string | null {
  const time = new Date(epochMs ?? Number.NaN);
  return time.getTime() >= 0 && time.getUTCFullYear() <= 9_999 ? time.toISOString() : null;
}
