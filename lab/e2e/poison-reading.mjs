// Preloaded into a worker. It kills the process, as a fault in native code would, when a reading with the metric "poison" is stored (when its
// metrics are serialised), or, with POISON_AT=parse, when its message is parsed.
const { parse, stringify } = JSON;
const crash = () => process.kill(process.pid, 'SIGKILL');

if (process.env.POISON_AT === 'parse') {
  JSON.parse = (text, ...rest) => {
    if (typeof text === 'string' && text.includes('"poison"')) crash();
    return parse(text, ...rest);
  };
} else {
  JSON.stringify = (value, ...rest) => {
    if (typeof value === 'object' && value !== null && Object.hasOwn(value, 'poison')) crash();
    return stringify(value, ...rest);
  };
}
