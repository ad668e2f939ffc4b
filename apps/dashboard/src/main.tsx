import './styles/tokens.css';
import './styles/base.css';
import './styles/shell.css';
import './styles/parts.css';
import './styles/table.css';
import './styles/chart.css';
import { render } from 'preact';
import { App, loadView } from './app.tsx';
import { listenToKeys } from './keyboard.ts';
import { writeQueryBeforeLeaving } from './query.ts';
import { loadSession } from './session.ts';

// Side by side: who is signed in, and the code of the view.
void loadSession();
loadView(location.pathname);
listenToKeys();
writeQueryBeforeLeaving();
render(<App />, document.getElementById('app')!);
