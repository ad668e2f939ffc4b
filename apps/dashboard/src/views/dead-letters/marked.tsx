import { markErrors } from './edit.ts';

/** A text with what its error speaks of marked. */
export function Marked({ text, message }: { readonly text: string; readonly message: string }) {
  return (
    <>
      {markErrors(text, message).map((part, index) =>
        part.isError ? <mark key={index}>{part.text}</mark> : part.text,
      )}
    </>
  );
}
