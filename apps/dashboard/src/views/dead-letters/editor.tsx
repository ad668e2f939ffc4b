import { useEffect, useState } from 'preact/hooks';
import { type Failure, answerOf, api, failureOf } from '../../api.ts';
import { Problem } from '../../area.tsx';
import { serverNow } from '../../clock.ts';
import { count, plural } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import { Decide, type Decision } from './decide.tsx';
import { checkEdit, diffLines, editableText, missingIdentity } from './edit.ts';
import { Marked } from './marked.tsx';
import type { Details } from './types.ts';

const linesMax = 24;

/** A copy of the reading, edited as text with the difference above it; and what can be done with the letter. */
export function Editor({
  letter,
  onChanged,
}: {
  readonly letter: Details;
  readonly onChanged: (replayId?: string) => void;
}) {
  const original = editableText(letter);
  const [text, setText] = useState(original);
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  const [said, say] = useState('');
  const [deciding, decide] = useState<Decision>();
  useEffect(() => setText(original), [letter.id]);
  const { id, status, deviceId, epoch, seq, error } = letter;
  const isOpen = status === 'open';
  const isChanged = text !== original;
  const checked = checkEdit(text, letter, serverNow());
  const canEdit = isOpen;

  async function run(work: () => Promise<string | undefined>): Promise<void> {
    setBusy(true);
    setFailure(undefined);
    say('');
    try {
      onChanged(await work());
    } catch (failed) {
      setFailure(failureOf(failed));
    } finally {
      setBusy(false);
    }
  }

  const replay = () =>
    run(async () => {
      if (isChanged && checked.ok) {
        const params = { path: { id } };
        const made = await answerOf(
          api.PATCH('/api/v1/dead-letters/{id}', { params, body: { replacement: checked.replacement } }),
        );
        say('The edited copy is on its way.');
        return made.id;
      }
      const made = await answerOf(api.POST('/api/v1/dead-letters/replays', { body: { ids: [id] } }));
      say('The reading is on its way as it is.');
      return made.id;
    });

  const dryRun = () =>
    run(async () => {
      const made = await answerOf(api.POST('/api/v1/dead-letters/replays', { body: { ids: [id], dryRun: true } }));
      const { matched } = made.counts;
      say(`Dry run: ${plural(matched, 'reading')} would be published; nothing was.`);
      return undefined;
    });

  return (
    <div class="editor">
      <pre class="code diff" tabIndex={0} aria-label="What the edit changes">
        {diffLines(original, text).map(({ kind, text: line }, index) => (
          <span key={index} class={kind === 'removed' ? 'del' : kind === 'added' ? 'add' : undefined}>
            {kind === 'removed' ? '− ' : kind === 'added' ? '+ ' : '  '}
            {kind === 'added' ? line : <Marked text={line} message={error.message} />}
          </span>
        ))}
      </pre>
      {canEdit && (
        <>
          <label class="lbl2" for="copy-text">
            The copy
          </label>
          <textarea
            id="copy-text"
            spellcheck={false}
            rows={Math.min(linesMax, text.split('\n').length)}
            value={text}
            aria-invalid={isChanged && !checked.ok}
            aria-describedby="copy-says"
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </>
      )}
      <p class="dim sm" id="copy-says" role="status">
        {identityText(missingIdentity(letter), { deviceId, epoch, seq })}{' '}
        {!canEdit ? (
          statusText(status)
        ) : checked.ok ? (
          <>
            Valid reading <Icon name="ok" tone="okc" />
          </>
        ) : (
          <span class={isChanged ? 'crit' : 'warn'}>
            <Icon name={isChanged ? 'crit' : 'warn'} /> {checked.text}.
          </span>
        )}
      </p>
      {said !== '' && (
        <p class="sm" role="status">
          <Icon name="ok" tone="okc" /> {said}
        </p>
      )}
      {failure !== undefined && <Problem failure={failure} />}
      <div class="acts2">
        {isOpen && (
          <button
            class="btn main"
            type="button"
            disabled={isBusy || (isChanged && !checked.ok)}
            onClick={() => void replay()}
          >
            {isChanged ? 'Replay edited copy' : 'Replay as it is'}
          </button>
        )}
        {isOpen && (
          <button class="btn" type="button" disabled={isBusy} onClick={() => void dryRun()}>
            Dry run
          </button>
        )}
        {isOpen && isChanged && (
          <button class="btn" type="button" onClick={() => setText(original)}>
            Undo
          </button>
        )}
        {(isOpen || status === 'discarded') && (
          <button class="btn" type="button" disabled={isBusy} onClick={() => decide(isOpen ? 'discard' : 'restore')}>
            {isOpen ? 'Discard…' : 'Restore…'}
          </button>
        )}
      </div>
      {deciding !== undefined && (
        <Decide
          decision={deciding}
          what={deviceId === null ? 'this dead letter' : `the reading ${seq === null ? '' : count(seq)} of ${deviceId}`}
          send={async (reason) => {
            const request = { params: { path: { id } }, body: { reason } };
            await answerOf(
              deciding === 'discard'
                ? api.POST('/api/v1/dead-letters/{id}/discard', request)
                : api.POST('/api/v1/dead-letters/{id}/restore', request),
            );
          }}
          onClose={() => decide(undefined)}
          onDone={() => {
            decide(undefined);
            onChanged();
          }}
        />
      )}
    </div>
  );
}

function identityText(
  missing: readonly string[],
  { deviceId, epoch, seq }: Pick<Details, 'deviceId' | 'epoch' | 'seq'>,
): string {
  if (missing.length > 0) return `Fill in ${missing.join(', ')}: the message has none.`;
  return `Identity stays: device ${deviceId}, epoch ${epoch}, seq ${count(seq ?? 0)}.`;
}

function statusText(status: Details['status']): string {
  switch (status) {
    case 'stored':
      return 'It is stored.';
    case 'replaying':
      return 'It was published again; the outcome is not known yet.';
    case 'discarded':
      return 'It was discarded; restore it to replay it.';
    case 'open':
      return '';
  }
}
