// Builds apps/dashboard into its folder dist, where query-api finds it: `node scripts/dashboard.mjs`. Set-up calls it, and builds only what has
// changed. Plain JavaScript without dependencies, as bootstrap.mjs is.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { nodeBinary, root } from './prepare.mjs';
import { runStep } from './step.mjs';
import { explainFailure } from './toolchain.mjs';

const app = join(root, 'apps/dashboard');
const built = join(app, 'dist');
const stampFile = join(root, '.fleetwire/dashboard.json');
/** What the build reads, relative to the repository. */
const sources = ['apps/dashboard', 'libs/client/src', 'libs/contracts/src', 'pnpm-lock.yaml', 'scripts/dashboard.mjs'];
const unread = new Set(['node_modules', 'dist', 'dist.new', 'test']);
/** Smaller files are not worth a second copy. */
const compressedBytesMin = 1_000;

/** Quick where nothing has changed since the last build. */
export async function buildDashboard() {
  if (!existsSync(join(app, 'package.json'))) return;
  const stamp = stampOfSources();
  if (existsSync(join(built, 'index.html')) && readStamp() === stamp) return;
  const next = `${built}.new`;
  const args = [join(app, 'node_modules/vite/bin/vite.js'), 'build', '--outDir', next, '--emptyOutDir'];
  await runStep('building the dashboard', nodeBinary(), args, { cwd: app, env: process.env }, explainFailure);
  compressFiles(next);
  rmSync(built, { recursive: true, force: true });
  renameSync(next, built);
  mkdirSync(join(root, '.fleetwire'), { recursive: true });
  writeFileSync(stampFile, JSON.stringify({ stamp }));
}

function stampOfSources() {
  const hash = createHash('sha256');
  for (const source of sources)
    for (const file of filesIn(join(root, source))) hash.update(file).update('\0').update(readFileSync(file));
  return hash.digest('hex');
}

function filesIn(path) {
  if (!existsSync(path)) return [];
  try {
    const entries = readdirSync(path).sort();
    return entries.filter((name) => !unread.has(name)).flatMap((name) => filesIn(join(path, name)));
  } catch (error) {
    if (error.code === 'ENOTDIR') return [path];
    throw error;
  }
}

/** query-api sends these in place of the files, to clients that accept them. */
function compressFiles(folder) {
  for (const file of filesIn(folder)) {
    const content = readFileSync(file);
    if (content.length < compressedBytesMin || !/\.(?:html|js|css|svg|json|map)$/.test(file)) continue;
    const quality = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
    writeFileSync(`${file}.br`, brotliCompressSync(content, { params: quality }));
    writeFileSync(`${file}.gz`, gzipSync(content, { level: 9 }));
  }
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, 'utf8')).stamp;
  } catch {
    return undefined;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(stampFile, { force: true });
  await buildDashboard();
}
