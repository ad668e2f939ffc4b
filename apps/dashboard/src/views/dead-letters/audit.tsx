import { useState } from 'preact/hooks';
import { Area } from '../../area.tsx';
import { now } from '../../clock.ts';
import type { Resource } from '../../resource.ts';
import { moment } from '../../times.ts';
import { auditLines } from './sentences.ts';
import type { Action, Group } from './types.ts';

const shownFirst = 6;

/** Who decided what, newest first. */
export function Audit({
  actions,
  groups,
}: {
  readonly actions: Resource<{ readonly data: readonly Action[] }>;
  readonly groups: readonly Group[];
}) {
  const [isAll, setAll] = useState(false);
  const all = auditLines(actions.state.value.data?.data ?? [], groups);
  const more =
    all.length <= shownFirst ? undefined : (
      <button class="link" type="button" aria-expanded={isAll} onClick={() => setAll(!isAll)}>
        {isAll ? 'fewer' : `the last ${all.length}`}
      </button>
    );
  return (
    <div class="sp">
      <Area title="Audit" right={more} resource={actions} staleMs={60_000}>
        {(data) => {
          if (data === undefined) return null;
          if (all.length === 0) return <p class="dim">Nothing has been decided yet.</p>;
          return (
            <table class="tight slim">
              <thead>
                <tr>
                  <th>Time</th>
                  <th>Who</th>
                  <th>What</th>
                </tr>
              </thead>
              <tbody>
                {all.slice(0, isAll ? undefined : shownFirst).map(({ at, actor, text }, index) => (
                  <tr key={index}>
                    <td class="id dim" title={at}>
                      {moment(at, now.value)}
                    </td>
                    <td>{actor}</td>
                    <td class="wrap">{text}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          );
        }}
      </Area>
    </div>
  );
}
