import { useState } from 'preact/hooks';
import { answerOf, api, failureOf, type Failure } from '../../api.ts';
import { Area, Problem } from '../../area.tsx';
import { Dialog } from '../../dialog.tsx';
import { count, plural } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import type { Resource } from '../../resource.ts';
import { hourAndMinute } from '../../times.ts';
import type { Report } from './facts.ts';
import { type Acknowledgeable, acknowledgeable, equationOf, minutesOf, stripText } from './reconciliation.ts';

/** The reconciliation report of the last hour as the equation it is. */
export function Accounting({
  report,
  queued,
  now,
}: {
  readonly report: Resource<Report> | undefined;
  readonly queued: number | undefined;
  readonly now: number;
}) {
  const [isOpen, setOpen] = useState(false);
  return (
    <section class="accounting">
      <Area title="Accounting, last hour" right="by minute of arrival" resource={report} staleMs={60_000}>
        {(data) => {
          if (data === undefined) return null;
          const open = acknowledgeable(data, now);
          return (
            <>
              <table class="sum" aria-label="Accounting, last hour">
                <tbody>
                  {equationOf(data.total, queued).map(({ label, value, isResult, warns }) => (
                    <tr key={label} class={isResult ? 'line' : ''}>
                      <td class={warns ? 'warn' : ''}>
                        {warns && <Icon name="warn" label="Warning" />} {isResult || warns ? <b>{label}</b> : label}
                      </td>
                      <td class={warns ? 'warn' : ''}>{isResult || warns ? <b>{count(value)}</b> : count(value)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
              <Strip report={data} now={now} />
              <p class="dim sm">{data.explanation}.</p>
              {data.acknowledgements.map(({ id, acknowledgedBy, missing, surplus, reason }) => (
                <p key={id} class="dim sm">
                  <Icon name="ok" tone="okc" label="Acknowledged" /> {plural(missing + surplus, 'reading')} acknowledged
                  by {acknowledgedBy}: “{reason}”
                </p>
              ))}
              {open !== undefined && (
                <button class="btn sm ack" type="button" onClick={() => setOpen(true)}>
                  Acknowledge the kill…
                </button>
              )}
              {isOpen && open !== undefined && (
                <AcknowledgeDialog
                  covers={open}
                  onClose={() => setOpen(false)}
                  onDone={() => {
                    setOpen(false);
                    report?.refresh();
                  }}
                />
              )}
            </>
          );
        }}
      </Area>
    </section>
  );
}

/** One mark for each minute of the hour. */
function Strip({ report, now }: { readonly report: Report; readonly now: number }) {
  const minutes = minutesOf(report.data, now);
  return (
    <div class="mins">
      <svg class="chart" viewBox="0 0 330 12" role="img" aria-label={stripText(minutes)}>
        {minutes.map(({ at, state }, index) => {
          const x = index * 5.5;
          if (state === 'incomplete')
            return (
              <path key={at} class="warn-mark" d={`M${x + 2.25} 2l4.5 8h-9z`}>
                <title>{hourAndMinute(at)} incomplete</title>
              </path>
            );
          const looks = { balanced: 'c-on', settling: 'pend', unbalanced: 'crit-mark', none: 'lane' } as const;
          return (
            <rect key={at} class={looks[state]} x={x} y="1" width="4.5" height="10">
              <title>
                {hourAndMinute(at)} {state === 'none' ? 'no readings' : state}
              </title>
            </rect>
          );
        })}
      </svg>
      <p class="ticks">
        {[0, 30, 59].map((index) => (
          <span key={index}>{hourAndMinute(minutes[index]!.at)}</span>
        ))}
      </p>
    </div>
  );
}

/** Asks for the reason, and names what is acknowledged. */
function AcknowledgeDialog({
  covers,
  onClose,
  onDone,
}: {
  readonly covers: Acknowledgeable;
  readonly onClose: () => void;
  readonly onDone: () => void;
}) {
  const [reason, setReason] = useState('');
  const [failure, setFailure] = useState<Failure>();
  const [isSending, setSending] = useState(false);
  const { from, to, missing, surplus, edges } = covers;

  async function send(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    setSending(true);
    setFailure(undefined);
    try {
      const body = { from: new Date(from).toISOString(), to: new Date(to).toISOString(), reason: reason.trim() };
      await answerOf(api.POST('/api/v1/ledger/acknowledgements', { body }));
      onDone();
    } catch (error) {
      setFailure(failureOf(error));
      setSending(false);
    }
  }

  return (
    <Dialog title="Acknowledge the kill" onClose={onClose}>
      <form onSubmit={(event) => void send(event)}>
        <p>
          This covers the minutes {hourAndMinute(from)} to {hourAndMinute(to)} with {plural(missing, 'missing reading')}{' '}
          and {plural(surplus, 'surplus reading')}. They stay in the report and no longer count as open.
        </p>
        {edges.map((text) => (
          <p key={text} class="dim">
            {text}
          </p>
        ))}
        <label class="lbl" for="acknowledge-reason">
          Reason
        </label>
        <textarea
          id="acknowledge-reason"
          rows={3}
          required
          maxLength={1_000}
          value={reason}
          placeholder="host rack-3 lost power"
          onInput={(event) => setReason(event.currentTarget.value)}
        />
        {failure !== undefined && <Problem failure={failure} />}
        <div class="acts2">
          <button class="btn main" type="submit" disabled={isSending || reason.trim() === ''}>
            Acknowledge
          </button>
          <button class="btn" type="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
