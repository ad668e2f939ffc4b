import '../../styles/sign-in.css';
import { useLocation } from 'preact-iso';
import { useEffect, useState } from 'preact/hooks';
import { type Failure, failureOf } from '../../api.ts';
import { Problem } from '../../area.tsx';
import { Icon, Mark } from '../../icons.tsx';
import { session, signIn, takeCode } from '../../session.ts';

/** Sign-in by the one-time link that `npm start` prints, or by a token. Nothing of it is kept in the browser. */
export default function SignIn() {
  const { route } = useLocation();
  const [failure, setFailure] = useState<Failure>();
  const [busy, setBusy] = useState(false);
  const state = session.value;
  // The page stands here because the server has answered that there is no session.
  const isReachable = state.kind === 'signed-out' && (failure === undefined || failure.status !== undefined);

  async function enter(by: { token: string } | { code: string }): Promise<void> {
    setBusy(true);
    setFailure(undefined);
    try {
      await signIn(by);
      if (location.pathname === '/sign-in') route('/', true);
    } catch (error) {
      setFailure(failureOf(error));
    } finally {
      setBusy(false);
    }
  }

  useEffect(() => {
    document.title = 'Sign in · Fleetwire';
    const code = takeCode();
    if (code !== undefined) void enter({ code });
  }, []);

  return (
    <div class="doorpage">
      <header class="top doortop">
        <span class="brand">
          <Mark />
          Fleetwire
        </span>
        <span class="tools">
          {isReachable && (
            <span class="nw" role="status">
              <Icon name="ok" tone="okc" /> Server reachable
            </span>
          )}
          <a class="link" href="/guide/">
            Documentation
          </a>
        </span>
      </header>
      <main id="main" class="doormain">
        <section class="doorbox">
          <h1>Sign in</h1>
          {state.kind === 'signed-out' && state.why === 'ended' && (
            <p role="status">Your session has ended. What you were looking at opens again after you sign in.</p>
          )}
          <p class="dim">
            <code>npm start</code> prints a link that signs you in once. Without it, paste a token.
          </p>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              const token = (event.currentTarget.elements.namedItem('token') as HTMLTextAreaElement).value.trim();
              if (token !== '') void enter({ token });
            }}
          >
            <label for="token" class="lbl">
              Token
            </label>
            <textarea
              id="token"
              name="token"
              rows={4}
              spellcheck={false}
              autocomplete="off"
              placeholder="eyJhbGciOiJFZERTQSIsImtpZCI6…"
              aria-describedby="token-help"
              onKeyDown={(event) => {
                if (event.key !== 'Enter') return;
                event.preventDefault();
                event.currentTarget.form?.requestSubmit();
              }}
            />
            <p id="token-help" class="dim sm0">
              It is exchanged for a session cookie and not kept in this browser.
            </p>
            {failure !== undefined && <Problem failure={failure} />}
            <div class="acts2">
              <button class="btn main big" disabled={busy}>
                Sign in
              </button>
              <span class="dim sm0">Ends when you sign out or the token expires, and after 12 h by default.</span>
            </div>
          </form>
          <dl class="roles">
            <dt>analyst</dt>
            <dd>Fleet, Device, Explore</dd>
            <dt>operator</dt>
            <dd>the same, and Pipeline, Dead letters, Console, commands</dd>
            <dt>admin</dt>
            <dd>the same, and tokens and erasure</dd>
          </dl>
          <p class="sm0 dim">To mint a token:</p>
          <pre class="code mintline">
            {'npx fleetwire token mint --keys keys.json \\\n  --role operator --subject you'}
          </pre>
        </section>
      </main>
    </div>
  );
}
