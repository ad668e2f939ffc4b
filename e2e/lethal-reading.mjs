// Preloaded into a worker: a reading with the metric "lethal" ends the process at once, as a fault in native code or a bug of ours would.
const parse = JSON.parse;
JSON.parse = (text, reviver) => {
  if (typeof text === 'string' && text.includes('"lethal"')) process.kill(process.pid, 'SIGKILL');
  return parse(text, reviver);
};
