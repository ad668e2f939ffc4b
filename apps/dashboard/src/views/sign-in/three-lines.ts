/** What the lines need: where to send, as which device, and by which token. Without a token the installation asks for none. */
interface Target {
  readonly origin: string;
  readonly deviceId: string;
  readonly token: string | undefined;
}

export type Language = 'Shell' | 'Node' | 'Python';

const metrics = '{"metrics":{"temperature":21.5}}';

/** A first reading in three lines, to be pasted into a shell, saved as first.mjs for Node, or as first.py for Python. */
export function threeLines(language: Language, { origin, deviceId, token }: Target): string {
  const url = `${origin}/api/v1/telemetry`;
  // A token is of its device. Where none is asked for, the reading says whose it is.
  const body = token === undefined ? `{"deviceId":"${deviceId}","metrics":{"temperature":21.5}}` : metrics;
  switch (language) {
    case 'Shell':
      return token === undefined
        ? `export FLEETWIRE=${origin}\ncurl -sS "$FLEETWIRE/api/v1/telemetry" \\\n  -H 'content-type: application/json' -d '${body}'`
        : `export DEVICE_TOKEN=${token}\ncurl -sS ${url} -H "authorization: Bearer $DEVICE_TOKEN" \\\n  -H 'content-type: application/json' -d '${body}'`;
    case 'Node':
      return [
        `const headers = { 'content-type': 'application/json'${token === undefined ? '' : `, authorization: 'Bearer ${token}'`} };`,
        `const answer = await fetch('${url}', { method: 'POST', headers, body: '${body}' });`,
        'console.log(answer.status, await answer.text());',
      ].join('\n');
    case 'Python':
      return [
        'import urllib.request',
        `headers = {"content-type": "application/json"${token === undefined ? '' : `, "authorization": "Bearer ${token}"`}}`,
        `print(urllib.request.urlopen(urllib.request.Request("${url}", b'${body}', headers)).read().decode())`,
      ].join('\n');
  }
}

/** How the lines are run. */
export const howToRun: Readonly<Record<Language, string>> = {
  Shell: 'Paste the lines into a terminal.',
  Node: 'Save the lines as first.mjs and run node first.mjs.',
  Python: 'Save the lines as first.py and run python3 first.py.',
};

/** A token as it is shown: its beginning. */
export function shortened(
  text: string,
  token: string | undefined,
): { readonly before: string; readonly shown: string; readonly after: string } {
  if (token === undefined) return { before: text, shown: '', after: '' };
  const at = text.indexOf(token);
  return { before: text.slice(0, at), shown: `${token.slice(0, 46)}…`, after: text.slice(at + token.length) };
}
