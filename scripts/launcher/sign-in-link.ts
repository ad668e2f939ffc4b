import { StartError } from '@fleetwire/platform/processes/program';

/**
 * A link to the dashboard that signs in once. What follows `#` is sent to no server and logged by none.
 * @throws StartError where query-api makes no code
 */
export async function createSignInLink({
  api,
  door,
  token,
}: {
  readonly api: string;
  /** The address that the browser opens. */
  readonly door: string;
  /** The session is its. */
  readonly token: string;
}): Promise<string> {
  const answer = await fetch(`${api}/api/v1/session/codes`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
  });
  const body = (await answer.json()) as { readonly code?: string; readonly detail?: string };
  if (body.code === undefined) throw new StartError(`query-api made no sign-in link: ${body.detail}`);
  return `${door}/sign-in#code=${body.code}`;
}
