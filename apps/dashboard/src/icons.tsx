/** The marks of the design. They are defined once in the page, so that their colors follow the theme. */
export type IconName =
  | 'on'
  | 'stale'
  | 'off'
  | 'never'
  | 'warn'
  | 'crit'
  | 'ok'
  | 'info'
  | 'find'
  | 'pause'
  | 'play'
  | 'down'
  | 'next'
  | 'copy'
  | 'save'
  | 'plus'
  | 'close'
  | ViewIcon;
export type ViewIcon = 'n-fleet' | 'n-pipe' | 'n-dead' | 'n-exp' | 'n-con';

/** @param label says what the mark means where no word beside it does */
export function Icon({
  name,
  tone = '',
  label,
}: {
  readonly name: IconName;
  readonly tone?: string;
  readonly label?: string;
}) {
  const named =
    label === undefined ? ({ 'aria-hidden': 'true' } as const) : ({ role: 'img', 'aria-label': label } as const);
  return (
    <svg class={`i ${tone}`} {...named}>
      <use href={`#${name}`} />
    </svg>
  );
}

export function Mark() {
  return (
    <svg viewBox="0 0 26 16" aria-hidden="true">
      <path d="M0 8h6.5M19.5 8H26" stroke="currentColor" stroke-width="2" />
      <path
        d="M9.5 8c2-6 5-6 7 0-2 6-5 6-7 0z"
        fill="currentColor"
        fill-opacity=".3"
        stroke="currentColor"
        stroke-width="1.6"
      />
      <circle cx="8" cy="8" r="2" fill="currentColor" />
      <circle cx="18" cy="8" r="2" fill="currentColor" />
    </svg>
  );
}

const line = { fill: 'none', stroke: 'currentColor' } as const;

/** Symbols and hatches, inside of the themed root. */
export function IconDefinitions() {
  return (
    <svg class="defs" aria-hidden="true">
      <symbol id="on" viewBox="0 0 14 14">
        <circle cx="7" cy="7" r="4.5" fill="currentColor" />
      </symbol>
      <symbol id="stale" viewBox="0 0 14 14">
        <circle cx="7" cy="7" r="4.2" {...line} stroke-width="1.5" />
        <path d="M7 2.8a4.2 4.2 0 0 0 0 8.4z" fill="currentColor" />
      </symbol>
      <symbol id="off" viewBox="0 0 14 14">
        <circle cx="7" cy="7" r="4.2" {...line} stroke-width="1.4" />
        <path d="M4 10 10 4" {...line} stroke-width="1.4" />
      </symbol>
      <symbol id="never" viewBox="0 0 14 14">
        <circle cx="7" cy="7" r="4.2" {...line} stroke-width="1.4" stroke-dasharray="2 2" />
      </symbol>
      <symbol id="warn" viewBox="0 0 14 14">
        <path d="M7 1.8 13 12.2H1z" {...line} stroke-width="1.4" stroke-linejoin="round" />
        <path d="M7 5.4v3.2" {...line} stroke-width="1.5" />
        <circle cx="7" cy="10.3" r=".85" fill="currentColor" />
      </symbol>
      <symbol id="crit" viewBox="0 0 14 14">
        <path d="M4.4 1h5.2L13 4.4v5.2L9.6 13H4.4L1 9.6V4.4z" fill="currentColor" />
        <path d="M7 3.8v4" stroke="var(--surface)" stroke-width="1.6" />
        <circle cx="7" cy="10" r=".95" fill="var(--surface)" />
      </symbol>
      <symbol id="ok" viewBox="0 0 14 14">
        <path d="m2.5 7.5 3 3 6-7" {...line} stroke-width="1.6" />
      </symbol>
      <symbol id="info" viewBox="0 0 14 14">
        <circle cx="7" cy="7" r="5.3" {...line} stroke-width="1.3" />
        <path d="M7 6.4v3.6" {...line} stroke-width="1.5" />
        <circle cx="7" cy="4.2" r=".85" fill="currentColor" />
      </symbol>
      <symbol id="find" viewBox="0 0 14 14">
        <circle cx="6" cy="6" r="4" {...line} stroke-width="1.3" />
        <path d="m9 9 3.6 3.6" {...line} stroke-width="1.3" />
      </symbol>
      <symbol id="pause" viewBox="0 0 14 14">
        <path d="M4.5 2.5v9M9.5 2.5v9" {...line} stroke-width="2" />
      </symbol>
      <symbol id="play" viewBox="0 0 14 14">
        <path d="M4 2.5v9l7-4.500z" fill="currentColor" />
      </symbol>
      <symbol id="down" viewBox="0 0 14 14">
        <path d="m3.5 5.5 3.5 3.5 3.5-3.5" {...line} stroke-width="1.4" />
      </symbol>
      <symbol id="next" viewBox="0 0 14 14">
        <path d="m5.5 3.5 3.5 3.5-3.5 3.5" {...line} stroke-width="1.4" />
      </symbol>
      <symbol id="copy" viewBox="0 0 14 14">
        <path d="M4.5 4.5h7v7h-7zM2.5 9.5v-7h7" {...line} stroke-width="1.3" />
      </symbol>
      <symbol id="save" viewBox="0 0 14 14">
        <path d="M7 2v7m-3-3 3 3 3-3M2.5 12h9" {...line} stroke-width="1.4" />
      </symbol>
      <symbol id="plus" viewBox="0 0 14 14">
        <path d="M7 2.5v9M2.5 7h9" {...line} stroke-width="1.5" />
      </symbol>
      <symbol id="close" viewBox="0 0 14 14">
        <path d="m3.5 3.5 7 7m0-7-7 7" {...line} stroke-width="1.4" />
      </symbol>
      <symbol id="n-fleet" viewBox="0 0 20 20">
        <path d="M3 5h14M3 10h14M3 15h9" {...line} stroke-width="1.6" />
      </symbol>
      <symbol id="n-pipe" viewBox="0 0 20 20">
        <path d="M1 10h5m8 0h5" {...line} stroke-width="1.6" />
        <rect x="6" y="6.5" width="8" height="7" rx="1" {...line} stroke-width="1.6" />
      </symbol>
      <symbol id="n-dead" viewBox="0 0 20 20">
        <path d="M2.5 5h15v10h-15zM2.5 5.5 10 11l7.5-5.5" {...line} stroke-width="1.6" />
      </symbol>
      <symbol id="n-exp" viewBox="0 0 20 20">
        <path d="M2.5 2.5v15h15M5.5 13l4-5 3 3 4.500-6" {...line} stroke-width="1.6" />
      </symbol>
      <symbol id="n-con" viewBox="0 0 20 20">
        <path d="m3 5 5 5-5 5m7 0h7" {...line} stroke-width="1.6" />
      </symbol>
      <defs>
        <pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <rect width="6" height="6" fill="var(--sunken)" />
          <path d="M0 0v6" stroke="var(--edge)" stroke-width="1.4" />
        </pattern>
        <pattern id="hatchw" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <path d="M0 0v5" stroke="var(--warn-fill)" stroke-width="1.6" />
        </pattern>
      </defs>
    </svg>
  );
}
