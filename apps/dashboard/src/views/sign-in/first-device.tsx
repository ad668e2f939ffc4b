import '../../styles/sign-in.css';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { type Failure, answerOf, api, failureOf } from '../../api.ts';
import { Problem } from '../../area.tsx';
import { now } from '../../clock.ts';
import { copy } from '../../download.ts';
import { Icon } from '../../icons.tsx';
import { hasRole, session } from '../../session.ts';
import { Hops } from '../console/hops.tsx';
import { followFirstReading } from './first-reading.ts';
import { firstReadingHops } from './sentences.ts';
import { type Language, howToRun, shortened, threeLines } from './three-lines.ts';

const tokenDays = 30;
const typingMs = 600;
const deviceId = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
const languages: readonly Language[] = ['Shell', 'Node', 'Python'];

/** The token of a device; `token` is undefined where the installation asks for none. */
interface Minted {
  readonly deviceId: string;
  readonly token: string | undefined;
}

/**
 * The way to the first stored reading: a name, three lines with a fresh token, and a wire that lights up. It stays until its viewer leaves
 * it, also after the reading is stored.
 */
export function FirstDevice({ onDone }: { readonly onDone: () => void }) {
  const [name, setName] = useState('bench-1');
  const [language, setLanguage] = useState<Language>('Shell');
  const [minted, setMinted] = useState<Minted>();
  const [failure, setFailure] = useState<Failure>();
  const [said, say] = useState('');
  const isValid = deviceId.test(name);
  const mayMint = hasRole('admin');

  // A token for the name, once it has rested.
  useEffect(() => {
    setMinted(undefined);
    setFailure(undefined);
    say('');
    if (!isValid || !mayMint) return;
    const call = new AbortController();
    const timer = setTimeout(
      () =>
        void mint(name, call.signal).then(
          setMinted,
          (error: unknown) => call.signal.aborted || setFailure(failureOf(error)),
        ),
      typingMs,
    );
    return () => {
      clearTimeout(timer);
      call.abort();
    };
  }, [name, mayMint]);

  const following = useMemo(() => (isValid ? followFirstReading(name) : undefined), [name, isValid]);
  useEffect(() => () => following?.end(), [following]);
  const reading = following?.reading.value;
  const isStored = reading?.storedAt !== undefined;
  const text = minted === undefined ? undefined : threeLines(language, { origin: location.origin, ...minted });
  const shown = text === undefined ? undefined : shortened(text, minted!.token);

  return (
    <section class="doorbox wide wizard">
      <p class="dim sm0">
        {isStored
          ? 'The first reading is stored.'
          : 'No device has sent a reading yet. This page stays until the first one is stored.'}
      </p>
      <h1>Connect the first device</h1>
      <ol class="steps">
        <li>
          <b id="first-name">Name it</b>
          <span class="row">
            <input
              class="field mono w3"
              aria-labelledby="first-name"
              aria-describedby="first-name-help"
              aria-invalid={!isValid}
              spellcheck={false}
              autocomplete="off"
              value={name}
              onInput={(event) => setName(event.currentTarget.value.trim())}
            />
            <span id="first-name-help" class={isValid ? 'dim' : 'crit'}>
              letters, digits and . _ : -
            </span>
          </span>
        </li>
        <li>
          <b>Run three lines</b>
          <span class="row">
            <span class="seg-ctl" role="group" aria-label="Language">
              {languages.map((one) => (
                <button key={one} type="button" aria-pressed={one === language} onClick={() => setLanguage(one)}>
                  {one}
                </button>
              ))}
            </span>
            <span class="grow" />
            <span role="status" class="dim sm0">
              {said}
            </span>
            <button
              class="btn sm"
              type="button"
              disabled={text === undefined}
              onClick={() =>
                void copy(text!).then((done) => say(done ? 'Copied' : 'The browser did not allow to copy'))
              }
            >
              <Icon name="copy" />
              {minted?.token === undefined ? 'Copy' : 'Copy with token'}
            </button>
          </span>
          {failure !== undefined && <Problem failure={failure} />}
          <pre class="code" tabIndex={0} role="region" aria-label={`Three lines of ${language}`}>
            {shown === undefined ? (
              mayMint && isValid && failure === undefined ? (
                'Minting a token…\n\n'
              ) : (
                `fleetwire token mint --keys keys.json \\\n  --role device --subject ${isValid ? name : 'bench-1'}`
              )
            ) : (
              <>
                {shown.before}
                {shown.shown !== '' && <span class="s">{shown.shown}</span>}
                {shown.after}
              </>
            )}
          </pre>
          <span class="dim sm0">
            {!mayMint || failure !== undefined ? (
              'A token is minted by the role admin, or with this command where the private keys are.'
            ) : minted !== undefined && minted.token === undefined ? (
              <>This installation asks for no token. {howToRun[language]}</>
            ) : (
              <>
                The token is for <b>{name}</b> alone and ends in {tokenDays} days. It is shown only now.{' '}
                {howToRun[language]}
              </>
            )}
          </span>
        </li>
        <li>
          <b>Watch it arrive</b>
          <div role="status" data-arrived={isStored ? 'stored' : reading === undefined ? 'waiting' : 'acknowledged'}>
            <Hops hops={firstReadingHops(reading, now.value)} isBig />
          </div>
          {reading?.dead !== undefined && <p class="crit sm0">{reading.dead}</p>}
        </li>
      </ol>
      {isStored ? (
        <p class="acts2 arrived">
          <button class="btn main big" type="button" onClick={onDone}>
            Open the fleet
          </button>
          <span class="okc">
            <Icon name="ok" /> stored
          </span>
          <span class="dim sm0">
            <a class="link" href={`/devices/${encodeURIComponent(name)}`}>
              {name}
            </a>{' '}
            has its first reading.
          </span>
        </p>
      ) : (
        <p class="dim sm0">
          Nothing after 30 s?{' '}
          <a class="link" href="/guide/docs/device-protocol">
            Why a reading may not arrive
          </a>
          , or{' '}
          <button class="link" type="button" onClick={onDone}>
            skip to the fleet
          </button>
          .
        </p>
      )}
    </section>
  );
}

async function mint(subject: string, signal: AbortSignal): Promise<Minted> {
  const state = session.peek();
  // A session without an end: the server asks for no token.
  if (state.kind === 'signed-in' && state.expiresAt === null) return { deviceId: subject, token: undefined };
  const body = { subject, role: 'device' as const, expiresInSeconds: tokenDays * 86_400 };
  const { token } = await answerOf(api.POST('/api/v1/tokens', { body, signal }));
  return { deviceId: subject, token };
}
