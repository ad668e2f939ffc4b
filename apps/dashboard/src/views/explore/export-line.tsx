import type { ComponentChildren } from 'preact';
import { Icon } from '../../icons.tsx';

/** An export of the list: its name and state, how far it is, and what can be done with it. */
export function ExportLine({
  name,
  note,
  isFailed,
  share,
  isKnown,
  facts,
  children,
}: {
  readonly name: string;
  readonly note: string;
  readonly isFailed: boolean;
  /** 0 to 1; undefined once it has ended. */
  readonly share: number | undefined;
  /** Whether the share says anything. */
  readonly isKnown: boolean;
  readonly facts: string;
  readonly children: ComponentChildren;
}) {
  return (
    <div class="job" role="listitem">
      <p>
        <b>{name}</b>{' '}
        <span class={isFailed ? 'warn' : 'dim'}>
          {isFailed && <Icon name="warn" />} {note}
        </span>
      </p>
      {share !== undefined && (
        <svg
          class="prog"
          viewBox="0 0 300 10"
          preserveAspectRatio="none"
          role="img"
          aria-label={isKnown ? `${Math.floor(share * 100)} percent` : 'Coming'}
        >
          <rect class="all" x=".5" y=".5" width="299" height="9" rx="2" />
          <rect class="sto" x="1" y="1" width={Math.max(2, 298 * share)} height="8" rx="2" />
        </svg>
      )}
      <p class="dim sm0">
        {facts} {children}
      </p>
    </div>
  );
}
