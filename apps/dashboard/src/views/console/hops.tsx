import '../../styles/hops.css';
/** A station on the way of a reading. */
export interface Hop {
  readonly label: string;
  readonly note: string;
  readonly state: 'done' | 'waiting' | 'failed';
}

/** The way of something that was sent, as a wire that lights up; the last station is green when it is reached. */
export function Hops({ hops, isBig = false }: { readonly hops: readonly Hop[]; readonly isBig?: boolean }) {
  const [width, height, radius, y] = isBig ? [660, 76, 9, 24] : [334, 58, 6, 14];
  const left = radius + 4;
  const step = (width - 2 * left) / (hops.length - 1);
  const x = (index: number) => left + index * step;
  const reached = hops.filter(({ state }) => state === 'done').length;
  const lastDone = Math.max(0, reached - 1);
  const waits = hops.some(({ state }) => state === 'waiting') && reached > 0;
  const label = hops
    .map(({ label: name, note, state }) =>
      `${name}${state === 'done' ? '' : state === 'failed' ? ' failed' : ' not yet'} ${note}`.trim(),
    )
    .join(', ');
  const anchor = (index: number) => (index === 0 ? 'start' : index === hops.length - 1 ? 'end' : 'middle');
  const textX = (index: number) =>
    index === 0 ? x(0) - radius : index === hops.length - 1 ? x(index) + radius : x(index);
  return (
    <>
      <svg
        class={`hops${isBig ? ' bigh no-phone' : ''}`}
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-label={label}
      >
        {reached > 1 && <path d={`M${x(0)} ${y}H${x(lastDone)}`} stroke="var(--wire)" stroke-width={isBig ? 4 : 3} />}
        {waits && lastDone < hops.length - 1 && (
          <path class="flowline" d={`M${x(lastDone) + radius + 3} ${y}H${x(lastDone + 1) - radius - 3}`} />
        )}
        {hops.map((hop, index) => (
          <g key={hop.label}>
            <circle
              cx={x(index)}
              cy={y}
              r={radius}
              class={`hop ${hop.state}${index === hops.length - 1 ? ' last' : ''}`}
            />
            <text
              x={textX(index)}
              y={y + (isBig ? 30 : 24)}
              class={isBig ? 'mid' : 'strong'}
              text-anchor={anchor(index)}
            >
              {hop.label}
            </text>
            <text x={textX(index)} y={y + (isBig ? 46 : 39)} text-anchor={anchor(index)}>
              {hop.note}
            </text>
          </g>
        ))}
      </svg>
      {isBig && (
        <ol class="only-phone wz">
          {hops.map((hop) => (
            <li key={hop.label} class={hop.state === 'done' ? 't3' : 'dash'}>
              <i class={`node ${hop.state}`} />
              <b>{hop.label}</b>
              <span>{hop.note}</span>
            </li>
          ))}
        </ol>
      )}
    </>
  );
}
