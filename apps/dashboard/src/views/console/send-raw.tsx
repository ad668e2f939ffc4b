import { useEffect, useState } from 'preact/hooks';

type Check = (text: string, now: number) => string | undefined;

const example = '{"type":"telemetry","deviceId":"bench-1","metrics":{"temperature":21.5}}';

/** Any frame by hand, checked against the contract while it is typed. What is wrong can be sent all the same, to see the answer. */
export function SendRaw({ onSend }: { readonly onSend: (text: string) => void }) {
  const [text, setText] = useState(example);
  const [check, setCheck] = useState<Check>();
  useEffect(() => {
    let here = true;
    void import('./frame-check.ts').then(({ issueOfFrame }) => here && setCheck(() => issueOfFrame));
    return () => void (here = false);
  }, []);
  const issue = text.trim() === '' ? 'is empty' : check?.(text, Date.now());
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim() !== '') onSend(text);
      }}
    >
      <label for="raw" class="seen-not">
        Frame as JSON
      </label>
      <textarea
        id="raw"
        rows={7}
        spellcheck={false}
        value={text}
        aria-invalid={issue !== undefined}
        aria-describedby="raw-issue"
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.currentTarget.form!.requestSubmit();
        }}
      />
      <p id="raw-issue" class={`sm0 ${issue === undefined ? 'dim' : 'crit'}`} role="status">
        {check === undefined
          ? 'Loading the schema…'
          : issue === undefined
            ? 'Valid by the schema of the protocol.'
            : `Not valid: ${issue}`}
      </p>
      <div class="acts2">
        <button class={`btn${issue === undefined ? ' main' : ''}`} disabled={text.trim() === ''}>
          {issue === undefined ? 'Send' : 'Send it all the same'}
        </button>
      </div>
    </form>
  );
}
