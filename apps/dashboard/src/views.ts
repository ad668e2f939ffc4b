import type { ViewIcon } from './icons.tsx';
import type { Role } from './session.ts';

/** The views of the top bar, with who may open them and the key that does after `g`. */
export interface View {
  readonly path: string;
  readonly label: string;
  /** In the bar of a phone. */
  readonly short: string;
  readonly key: string;
  readonly icon: ViewIcon;
  readonly roles: readonly Role[];
}

const operators: readonly Role[] = ['operator', 'admin'];
const readers: readonly Role[] = ['analyst', ...operators];

export const views: readonly View[] = [
  { path: '/', label: 'Fleet', short: 'Fleet', key: 'f', icon: 'n-fleet', roles: readers },
  { path: '/pipeline', label: 'Pipeline', short: 'Pipeline', key: 'p', icon: 'n-pipe', roles: operators },
  { path: '/dead-letters', label: 'Dead letters', short: 'Dead', key: 'd', icon: 'n-dead', roles: operators },
  { path: '/explore', label: 'Explore', short: 'Explore', key: 'e', icon: 'n-exp', roles: readers },
  { path: '/console', label: 'Console', short: 'Console', key: 'c', icon: 'n-con', roles: operators },
];

/** The view that a path belongs to; devices belong to Fleet. */
export function viewOf(path: string): View | undefined {
  if (path === '/' || path.startsWith('/devices/')) return views[0];
  return views.find((view) => view.path !== '/' && (path === view.path || path.startsWith(`${view.path}/`)));
}

/** An address as it is read; undefined where a % in it is not followed by a byte of a text. */
export function decoded(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

/** `Pipeline needs the role operator; this session is analyst.` */
export function whyForbidden(view: View, role: Role): string | undefined {
  return view.roles.includes(role)
    ? undefined
    : `${view.label} needs the role ${view.roles[0]}; this session is ${role}.`;
}
