/** JSON, with its values in a colour. */
export function Code({
  value,
  label,
  isShort = false,
}: {
  readonly value: unknown;
  readonly label: string;
  readonly isShort?: boolean;
}) {
  const text = isShort
    ? (JSON.stringify(value) ?? '').replace(/,("(?:metrics|args)":)/, ',\n $1')
    : (JSON.stringify(value, undefined, 1) ?? '');
  return (
    <pre class="code wrap" tabIndex={0} role="region" aria-label={label}>
      {text.split(/("(?:[^"\\]|\\.)*"(?:\s*:)?|-?\d[\d.eE+-]*|true|false|null)/g).map((part, index) =>
        index % 2 === 1 && !/:\s*$/.test(part) ? (
          <span class="s" key={index}>
            {part}
          </span>
        ) : (
          part
        ),
      )}
    </pre>
  );
}
