import fc from 'fast-check';
import { nastyText } from './nasty.ts';

export interface RawInput {
  readonly group: 'raw HTTP' | 'upgrades' | 'raw WebSocket';
  readonly service: 'query-api' | 'ingest-ws';
  /** Written to the connection as they are; {@link tokenPlaceholder} is replaced. After the last one the connection's sending side ends. */
  readonly chunks: readonly Buffer[];
}

/** Stands for the token of an admin. */
export const tokenPlaceholder = '@token';

const services = fc.constantFrom<RawInput['service']>('query-api', 'ingest-ws');
const latin1 = (text: string) => Buffer.from(text, 'latin1');
const oneOf = (...texts: readonly string[]) => fc.constantFrom(...texts);
const raw = nastyText.map((text) => Buffer.from(text).toString('latin1'));

/** Lines of HTTP, some of them broken: no grammar of the messages themselves, only what parsers disagree about. */
const requestLine = fc.oneof(
  oneOf(
    'GET / HTTP/1.1',
    'GET // HTTP/1.1',
    'GET http://[ HTTP/1.1',
    'GET http://[::1 HTTP/1.1',
    'GET * HTTP/1.1',
    'OPTIONS * HTTP/1.1',
  ),
  oneOf(
    'GET /readyz HTTP/1.0',
    'GET /readyz HTTP/0.9',
    'GET /readyz HTTP/2.0',
    'GET /readyz',
    'GET',
    '',
    'PRI * HTTP/2.0',
    'get / HTTP/1.1',
  ),
  oneOf(
    'POST /api/v1/telemetry HTTP/1.1',
    'POST /api/v1/tokens HTTP/1.1',
    'PATCH /api/v1/dead-letters/1 HTTP/1.1',
    'CONNECT a:1 HTTP/1.1',
  ),
  fc.tuple(oneOf('GET', 'POST', 'XYZZY', '\x00'), raw).map(([method, path]) => `${method} /${path} HTTP/1.1`),
  oneOf(
    'x'.repeat(20_000),
    `GET /${'a'.repeat(20_000)} HTTP/1.1`,
    'GET /\xff\xfe HTTP/1.1',
    'GET\t/\tHTTP/1.1',
    ' GET / HTTP/1.1',
  ),
);
const headerLine = fc.oneof(
  oneOf(
    'Host: localhost',
    'Host: a',
    'Host:',
    'Host: \x00',
    'Content-Length: 5',
    'Content-Length: 6',
    'Content-Length: -1',
    'Content-Length: 1e9',
  ),
  oneOf(
    'Content-Length: 99999999999999999999',
    'Content-Length: 5, 6',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: gzip, chunked',
  ),
  oneOf(
    'Transfer-Encoding: xchunked',
    'Transfer-Encoding : chunked',
    'Expect: 100-continue',
    'Expect: 200-ok',
    'Connection: close',
    'TE: trailers',
  ),
  oneOf(
    'Connection: Upgrade',
    'Upgrade: h2c',
    'Upgrade: websocket',
    'no colon',
    ': no name',
    ' folded: yes',
    'a b: c',
    'X: \x01',
    'X: a\rb',
    'X: a\nb',
  ),
  oneOf(
    `Authorization: Bearer ${tokenPlaceholder}`,
    'Authorization: Bearer',
    'Authorization: Basic x',
    'Content-Type: application/json',
  ),
  oneOf('Content-Encoding: gzip', 'Content-Encoding: br', `Cookie: ${'c'.repeat(20_000)}`, `${'h'.repeat(9_000)}: 1`),
  raw.map((text) => `X-Fuzz: ${text}`),
);
const content = fc.oneof(
  oneOf(
    '',
    '{}',
    '[1,2]',
    'hello',
    '5\r\nhello\r\n0\r\n\r\n',
    '5\r\nhel',
    'zz\r\nhello',
    '-1\r\n',
    'FFFFFFFFFFFFFFFFF\r\n',
    '0\r\nX: 1\r\n\r\n',
  ),
  oneOf(
    '0\r\n\r\nGET /readyz HTTP/1.1\r\nHost: a\r\n\r\n',
    '\x1f\x8b\x08\x00',
    'GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(20),
  ),
  raw,
);
const newline = fc.oneof(
  { weight: 8, arbitrary: oneOf('\r\n') },
  { weight: 1, arbitrary: oneOf('\n', '\r', '\r\r\n', '\n\r') },
);

/** Requests that an HTTP client would refuse to send. */
const brokenHttp: fc.Arbitrary<RawInput> = fc
  .tuple(services, requestLine, fc.array(headerLine, { maxLength: 6 }), newline, content, cuts())
  .map(([service, line, lines, end, body, cut]) => ({
    group: 'raw HTTP',
    service,
    chunks: cut(latin1([line, ...lines, '', body].join(end))),
  }));

const goodUpgrade = {
  target: '/ws?epoch=boot-1',
  Host: 'localhost',
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Protocol': 'fleetwire.v1.json',
  Authorization: `Bearer ${tokenPlaceholder}`,
};
type UpgradeField = keyof typeof goodUpgrade;

const brokenFields: Readonly<Record<UpgradeField, fc.Arbitrary<string>>> = {
  target: fc.oneof(
    oneOf(
      '//',
      '/ws//',
      'http://[',
      'http://a:b@c/ws',
      '/ws?epoch=%00',
      '/ws?epoch=%ff',
      '/ws?epoch=',
      '/ws?epoch=a&epoch=b',
      '/ws?token=x',
    ),
    oneOf(
      '*',
      '/',
      '/ws/../ws',
      '/WS',
      '//ws',
      '///',
      '/\\',
      'ws://x',
      '/ws?%',
      `/ws?epoch=${'e'.repeat(9_000)}`,
      '/api/v1/telemetry',
    ),
    raw.map((text) => `/ws?epoch=${text.replace(/[\s\0]/g, '')}`),
    raw.map((text) => `/${text.replace(/[\s\0]/g, '')}`),
  ),
  Host: oneOf('', 'evil.example', '[', ':', 'a:99999'),
  Connection: oneOf('upgrade, close', 'keep-alive, Upgrade', 'Upgrade, Upgrade'),
  Upgrade: oneOf('WebSocket', 'websocket, h2c', 'h2c', 'tls/1.0'),
  'Sec-WebSocket-Version': oneOf('8', '0', '', '13, 8', '99999999999', 'x'),
  'Sec-WebSocket-Key': oneOf('', 'x', '=', 'a'.repeat(5_000), 'dGhlIHNhbXBsZSBub25jZQ'),
  'Sec-WebSocket-Protocol': oneOf(
    '',
    ',',
    'fleetwire.token.',
    'fleetwire.token.x',
    'fleetwire.v2',
    'a, a',
    'a b',
    '"',
    'p'.repeat(5_000),
  ),
  Authorization: oneOf(
    '',
    'Bearer',
    'Bearer x',
    'Bearer x.y.z',
    'Basic eDp5',
    `Bearer ${tokenPlaceholder}x`,
    `bearer ${tokenPlaceholder}`,
  ),
};

const upgradeHead = (fields: typeof goodUpgrade): string => {
  const { target, ...lines } = fields;
  return [`GET ${target} HTTP/1.1`, ...Object.entries(lines).map(([name, value]) => `${name}: ${value}`), '', ''].join(
    '\r\n',
  );
};

const upgrades: fc.Arbitrary<RawInput> = fc
  .tuple(
    fc.array(fc.constantFrom(...(Object.keys(goodUpgrade) as UpgradeField[])), { minLength: 1, maxLength: 2 }),
    fc.record(brokenFields),
    fc.oneof(
      { weight: 9, arbitrary: fc.constant<RawInput['service']>('ingest-ws') },
      { weight: 1, arbitrary: services },
    ),
  )
  .map(([names, broken, service]) => {
    const replaced = Object.fromEntries(names.map((name) => [name, broken[name]]));
    return { group: 'upgrades', service, chunks: [latin1(upgradeHead({ ...goodUpgrade, ...replaced }))] };
  });

const payload = fc.oneof(
  oneOf(
    '',
    '{"type":"ping"}',
    '{"type":"telemetry","value":1}',
    '{',
    '\xff\xfe',
    '\xed\xa0\x80',
    '\x03\xe8',
    '\x03\xe8bye',
    '\x00\x00',
    '\x0f\xff',
  ),
  raw,
);

/** One WebSocket frame (RFC 6455, 5.2); each field may be wrong. */
const webSocketFrame = fc
  .record({
    fin: fc.boolean(),
    reserved: fc.oneof(
      { weight: 6, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 7 }) },
    ),
    opcode: fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, { weight: 2, arbitrary: fc.nat(15) }),
    isMasked: fc.integer({ min: 0, max: 7 }).map((drawn) => drawn > 0),
    text: payload,
    claimed: fc.oneof(
      { weight: 6, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.constantFrom(0, 1, 125, 126, 65_535, 65_536, 262_145, 2 ** 31, 2 ** 53 - 1) },
    ),
  })
  .map(({ fin, reserved, opcode, isMasked, text, claimed }) => {
    const body = latin1(text);
    const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode;
    const length = lengthField(claimed ?? body.length, isMasked);
    const mask = Buffer.from('a1b2c3d4', 'hex');
    const masked = isMasked ? Buffer.concat([mask, body.map((byte, index) => byte ^ mask[index % 4]!)]) : body;
    return Buffer.concat([Buffer.from([first]), length, masked]);
  });

function lengthField(length: number, isMasked: boolean): Buffer {
  const flag = isMasked ? 0x80 : 0;
  if (length < 126) return Buffer.from([flag | length]);
  const field = Buffer.alloc(length < 65_536 ? 3 : 9);
  field[0] = flag | (length < 65_536 ? 126 : 127);
  if (length < 65_536) field.writeUInt16BE(length, 1);
  else field.writeBigUInt64BE(BigInt(length), 1);
  return field;
}

const brokenWebSocket: fc.Arbitrary<RawInput> = fc
  .tuple(fc.array(webSocketFrame, { minLength: 1, maxLength: 6 }), cuts())
  .map(([sent, cut]) => ({
    group: 'raw WebSocket',
    service: 'ingest-ws',
    chunks: [latin1(upgradeHead(goodUpgrade)), ...cut(Buffer.concat(sent))],
  }));

/** Cuts bytes into one to three writes. */
function cuts(): fc.Arbitrary<(bytes: Buffer) => Buffer[]> {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  return fc.array(share, { maxLength: 2 }).map((shares) => (bytes) => {
    const places = [
      0,
      ...shares.map((each) => Math.floor(each * bytes.length)).toSorted((a, b) => a - b),
      bytes.length,
    ];
    return places.slice(1).map((place, index) => bytes.subarray(places[index], place));
  });
}

export const rawInputs: fc.Arbitrary<RawInput> = fc.oneof(brokenHttp, upgrades, brokenWebSocket);
