import { signal } from '@preact/signals';
import { ApiProblem, callJson, onSignedOut } from './api.ts';

export type Role = 'device' | 'analyst' | 'operator' | 'admin';

export interface Session {
  readonly subject: string;
  readonly role: Role;
  /** Null where the server asks for no token. */
  readonly expiresAt: string | null;
}

export type SessionState =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'signed-out'; readonly why?: 'ended' }
  | { readonly kind: 'unreachable' }
  | ({ readonly kind: 'signed-in' } & Session);

export const session = signal<SessionState>({ kind: 'unknown' });

/** May the signed-in caller do what needs one of these roles? The server decides; this hides what it would refuse. */
export function hasRole(...roles: readonly Role[]): boolean {
  const state = session.value;
  return state.kind === 'signed-in' && roles.includes(state.role);
}

/** The roles that operate the installation: queues, dead letters, commands, the registry. */
export const isOperator = (): boolean => hasRole('operator', 'admin');

/** Asks the server who is signed in. */
export async function loadSession(): Promise<void> {
  try {
    session.value = { kind: 'signed-in', ...(await callJson<Session>('GET', '/api/v1/session')) };
  } catch (error) {
    if (error instanceof ApiProblem && error.status === 401) session.value = { kind: 'signed-out' };
    else session.value = { kind: 'unreachable' };
  }
}

/** @throws {ApiProblem} where the token or code is refused */
export async function signIn(by: { readonly token: string } | { readonly code: string }): Promise<void> {
  session.value = { kind: 'signed-in', ...(await callJson<Session>('POST', '/api/v1/session', by)) };
}

/** @throws {ApiProblem} where the session may go on on the server */
export async function signOut(): Promise<void> {
  await callJson('DELETE', '/api/v1/session').catch((error: unknown) => {
    // It had ended before.
    if (!(error instanceof ApiProblem) || error.status !== 401) throw error;
  });
  session.value = { kind: 'signed-out' };
}

/** The code of a one-time link, taken out of the address so that it is neither kept nor sent on. */
export function takeCode(): string | undefined {
  const code = /^#code=([\w.-]+)$/.exec(location.hash)?.[1];
  if (code !== undefined) history.replaceState(history.state, '', location.pathname + location.search);
  return code;
}

onSignedOut(() => {
  if (session.peek().kind === 'signed-in') session.value = { kind: 'signed-out', why: 'ended' };
});
