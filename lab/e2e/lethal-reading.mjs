// Preloaded into a worker: it ends the process at once, as a fault in native code or a bug of ours would, when a reading with the metric
// "lethal" is written (its metrics are serialised), or, with LETHAL_AT=parse, as soon as its message is read.
const { parse, stringify } = JSON;
const die = () => process.kill(process.pid, 'SIGKILL');

if (process.env.LETHAL_AT === 'parse') {
  JSON.parse = (text, ...rest) => {
    if (typeof text === 'string' && text.includes('"lethal"')) die();
    return parse(text, ...rest);
  };
} else {
  JSON.stringify = (value, ...rest) => {
    if (typeof value === 'object' && value !== null && Object.hasOwn(value, 'lethal')) die();
    return stringify(value, ...rest);
  };
}
