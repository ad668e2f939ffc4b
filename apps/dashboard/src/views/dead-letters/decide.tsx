import { useState } from 'preact/hooks';
import { type Failure, failureOf } from '../../api.ts';
import { Problem } from '../../area.tsx';
import { Dialog } from '../../dialog.tsx';

export type Decision = 'discard' | 'restore';

const words = {
  discard: {
    title: 'Discard',
    says: 'It is not stored, and no longer counts as open. It can be restored for 90 days, unless another time is configured.',
    button: 'Discard',
    placeholder: 'a test bench',
  },
  restore: {
    title: 'Restore',
    says: 'It is open again, and can be replayed.',
    button: 'Restore',
    placeholder: 'the sensor was right',
  },
} as const;

/** Asks for the reason of a decision, which is kept in the history. */
export function Decide({
  decision,
  what,
  send,
  onClose,
  onDone,
}: {
  readonly decision: Decision;
  /** What it is about: `the reading 41,205 of frz-0204`. */
  readonly what: string;
  readonly send: (reason: string) => Promise<void>;
  readonly onClose: () => void;
  readonly onDone: () => void;
}) {
  const [reason, setReason] = useState('');
  const [isSending, setSending] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  const { title, says, button, placeholder } = words[decision];

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    setSending(true);
    setFailure(undefined);
    try {
      await send(reason.trim());
      onDone();
    } catch (error) {
      setFailure(failureOf(error));
      setSending(false);
    }
  }

  return (
    <Dialog title={`${title} ${what}`} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <p class="dim">{says}</p>
        <label class="lbl" for="decision-reason">
          Reason
        </label>
        <textarea
          id="decision-reason"
          rows={3}
          required
          maxLength={1_000}
          placeholder={placeholder}
          value={reason}
          onInput={(event) => setReason(event.currentTarget.value)}
        />
        {failure !== undefined && <Problem failure={failure} />}
        <div class="acts2">
          <button class="btn main" type="submit" disabled={isSending || reason.trim() === ''}>
            {button}
          </button>
          <button class="btn" type="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
