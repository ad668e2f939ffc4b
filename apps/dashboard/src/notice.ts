import { useEffect, useRef, useState } from 'preact/hooks';

/** A text that is shown for a time. A later one takes its place, for a time of its own. */
export function useNotice(shownMs: number): readonly [text: string, say: (text: string) => void] {
  const [text, setText] = useState('');
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const say = (next: string): void => {
    clearTimeout(timer.current);
    setText(next);
    timer.current = setTimeout(() => setText(''), shownMs);
  };
  return [text, say];
}
