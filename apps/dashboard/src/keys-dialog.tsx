import { Dialog } from './dialog.tsx';
import { shortcuts } from './keyboard.ts';

const ofTables = [
  ['j k, arrows', 'Next or previous row'],
  ['Enter', 'Open the row'],
  ['x', 'Select the row'],
  ['[ ]', 'Sort by another column'],
];
const ofCharts = [
  ['← →', 'One bucket; with Shift ten'],
  ['Home End', 'First or last bucket'],
  ['↑ ↓', 'Another series'],
  ['n p', 'Next or previous event'],
  ['Enter', 'Pin the cursor'],
  ['T', 'Table of the chart'],
  ['c', 'Copy the value'],
];

/** All keys of the page that is open. */
export function KeysDialog({ onClose }: { readonly onClose: () => void }) {
  return (
    <Dialog title="Keys" onClose={onClose}>
      <div class="keys">
        <KeyList title="This page" keys={shortcuts.value.map(({ keys, does }) => [keys, does])} />
        <KeyList title="Tables" keys={ofTables} />
        <KeyList title="Charts, focused with Tab" keys={ofCharts} />
      </div>
      <form method="dialog" class="acts2">
        <button class="btn">Close</button>
      </form>
    </Dialog>
  );
}

function KeyList({ title, keys }: { readonly title: string; readonly keys: readonly (readonly string[])[] }) {
  return (
    <section>
      <h3>{title}</h3>
      <dl>
        {keys.map(([key, does]) => (
          <div key={key}>
            <dt>
              <kbd class="kbd">{key}</kbd>
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
