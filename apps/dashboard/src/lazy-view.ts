import { type ComponentType, h } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { lazy } from 'preact-iso';
import { sleep } from './sleep.ts';

const askAgainMs = 3_000;
const reloadedAtKey = 'fleetwire.reloaded';
/** A file that is missing from the new page too does not make it load again and again without a pause. */
const betweenReloadsMs = 15_000;

/**
 * A view whose code is loaded when it is opened. After an upgrade the server has the files of another build: the page is then loaded again, as soon
 * as the server answers, and the view that was open stays until then.
 */
export function lazyView<View>(load: () => Promise<{ default: View }>) {
  return lazy<View>(() => load().catch(reload<{ default: View }>));
}

/** A part of a view whose code is loaded after the view is on the screen. Nothing stands in its place until then. */
export function laterPart<Props extends object>(load: () => Promise<ComponentType<Props>>): ComponentType<Props> {
  let loaded: ComponentType<Props> | undefined;
  return (props: Props) => {
    const [, draw] = useState(0);
    useEffect(() => {
      if (loaded === undefined)
        void load()
          .catch(reload<ComponentType<Props>>)
          .then((part) => {
            loaded = part;
            draw(1);
          });
    }, []);
    return loaded === undefined ? null : h(loaded, props);
  };
}

async function reload<Module>(): Promise<Module> {
  const reloadedAt = Number(sessionStorage.getItem(reloadedAtKey) ?? 0);
  await sleep(Math.max(0, reloadedAt + betweenReloadsMs - Date.now()));
  while (!(await isServed())) await sleep(askAgainMs);
  sessionStorage.setItem(reloadedAtKey, String(Date.now()));
  location.reload();
  return new Promise<never>(() => {});
}

async function isServed(): Promise<boolean> {
  return fetch('/', { method: 'HEAD', cache: 'no-store' }).then(
    ({ ok }) => ok,
    () => false,
  );
}
