/** Where telemetry goes: any URL of the server will do, its scheme and path are put right. */
export function endpointOf(url: string, isHttp: boolean): string {
  const endpoint = new URL(url);
  const isSecure = endpoint.protocol === 'wss:' || endpoint.protocol === 'https:';
  const scheme = isHttp ? 'http' : 'ws';
  return `${scheme}${isSecure ? 's' : ''}://${endpoint.host}${isHttp ? '/api/v1/telemetry' : '/ws'}`;
}
