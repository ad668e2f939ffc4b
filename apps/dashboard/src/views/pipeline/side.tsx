import type { components } from '@fleetwire/client/openapi';
import { Area } from '../../area.tsx';
import { rate } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import type { Resource } from '../../resource.ts';
import { shownInstances } from './facts.ts';
import { shortName } from './geometry.ts';
import { instanceText } from './sentences.ts';

/** The circuit breakers of the API before Postgres: a word, and colour only where one is not closed. */
export function Breakers({ status }: { readonly status: Resource<components['schemas']['Status']> | undefined }) {
  return (
    <Area title="Breakers" note="of the API before Postgres" resource={status} staleMs={15_000}>
      {(data) =>
        data === undefined ? null : (
          <table class="tight slim">
            <thead>
              <tr>
                <th>Questions</th>
                <th class="num">State</th>
              </tr>
            </thead>
            <tbody>
              {data.circuits.map(({ name, state }) => (
                <tr key={name}>
                  <td>{name}</td>
                  <td class={`num ${state === 'open' ? 'crit' : state === 'half-open' ? 'warn' : 'dim'}`}>
                    {state !== 'closed' && <Icon name={state === 'open' ? 'crit' : 'warn'} />} {state}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )
      }
    </Area>
  );
}

/** Every instance that runs, those that have stopped, and those that have ended within the hour. */
export function Instances({
  instances,
  now,
}: {
  readonly instances: Resource<components['schemas']['Instances']>;
  readonly now: number;
}) {
  const data = instances.state.value.data;
  return (
    <Area
      title="Instances"
      note={data?.complete === false ? 'others may have run' : undefined}
      resource={instances}
      staleMs={20_000}
    >
      {(known) =>
        known === undefined ? null : (
          <table class="tight slim instances">
            <thead>
              <tr>
                <th>Instance</th>
                <th>Version</th>
                <th class="num">Up for</th>
                <th class="num">Rate</th>
              </tr>
            </thead>
            <tbody>
              {shownInstances(known.data, now).map((one) => {
                const { tone, upFor, warns } = instanceText(one, now);
                const isUp = tone === 'on';
                return (
                  <tr key={one.instanceId}>
                    <td class="id" title={`${one.service} ${one.instanceId}`}>
                      <Icon name={tone} tone={isUp ? 'wirec' : 'dim3'} label={one.state} /> {shortName(one.name, 28)}
                    </td>
                    <td class="id dim">{one.version}</td>
                    <td class={`num ${warns ? 'warn' : 'dim'}`} title={isUp ? one.startedAt : one.lastSeenAt}>
                      {upFor}
                    </td>
                    <td class="num">{one.perSecond === null ? '—' : `${rate(one.perSecond)}/s`}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        )
      }
    </Area>
  );
}
