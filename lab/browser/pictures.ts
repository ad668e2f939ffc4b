import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';

/** What a page looks like, as the colors of a coarse grid over it. */
interface Picture {
  /** What the fonts of its machine measure: with others all text is elsewhere, and nothing can be compared. */
  readonly fonts: string;
  readonly columns: number;
  readonly rows: number;
  /** Red, green and blue of each cell, row by row, in base64. */
  readonly colors: string;
}

const cellPx = 24;
/** Of 255, in one of red, green and blue: another Chromium smooths edges differently. */
const toleranceMax = 12;
const differentShareMax = 0.004;
const folder = join(import.meta.dirname, 'pictures');
const seen = join(import.meta.dirname, '../../.fleetwire/pictures');

/**
 * How the page differs from its picture in lab/browser/pictures; empty where it does not. Above the bound it names the first cells, and the
 * screenshot is in .fleetwire/pictures. With FLEETWIRE_PICTURES=write it writes the picture instead.
 * @param live selectors of what changes from run to run: it is painted over
 */
export async function differences(page: Page, name: string, live: readonly string[] = []): Promise<string[]> {
  const screenshot = await page.screenshot({
    animations: 'disabled',
    caret: 'hide',
    mask: live.map((selector) => page.locator(selector)),
    maskColor: '#808080',
  });
  const picture = { fonts: await fontsOf(page), ...(await coarse(page, screenshot)) };
  const file = join(folder, `${name}.json`);
  if (process.env['FLEETWIRE_PICTURES'] === 'write') {
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, `${JSON.stringify(picture, undefined, 2)}\n`);
    return [];
  }
  if (!existsSync(file)) return [`there is no picture ${name}: write it with FLEETWIRE_PICTURES=write, and look at it`];
  const wanted = JSON.parse(readFileSync(file, 'utf8')) as Picture;
  if (wanted.fonts !== picture.fonts) {
    console.log(`browser: the picture ${name} is NOT COMPARED: this machine has other fonts than the one that took it`);
    return [];
  }
  if (wanted.columns !== picture.columns || wanted.rows !== picture.rows)
    return [`${picture.columns} × ${picture.rows} cells instead of ${wanted.columns} × ${wanted.rows}`];
  const [before, now] = [wanted, picture].map(({ colors }) => Buffer.from(colors, 'base64'));
  const cells = Array.from({ length: picture.columns * picture.rows }, (_, cell) => cell).filter((cell) =>
    [0, 1, 2].some((channel) => Math.abs(before![3 * cell + channel]! - now![3 * cell + channel]!) > toleranceMax),
  );
  if (cells.length <= differentShareMax * picture.columns * picture.rows) return [];
  mkdirSync(seen, { recursive: true });
  writeFileSync(join(seen, `${name}.png`), screenshot);
  return [
    `${cells.length} of ${picture.columns * picture.rows} cells differ; see ${join(seen, `${name}.png`)}`,
    ...cells
      .slice(0, 8)
      .map((cell) => `at ${(cell % picture.columns) * cellPx}, ${Math.floor(cell / picture.columns) * cellPx} px`),
  ];
}

/** The widths of a text in the fonts that the page gets here. */
function fontsOf(page: Page): Promise<string> {
  return page.evaluate(() => {
    const ruler = new OffscreenCanvas(1, 1).getContext('2d')!;
    const mono = getComputedStyle(document.documentElement).getPropertyValue('--mono');
    return [getComputedStyle(document.body).fontFamily, mono]
      .map((family) => {
        ruler.font = `100px ${family}`;
        return ruler.measureText('Readings 1,248 since 14:32:10').width.toFixed(0);
      })
      .join(' ');
  });
}

/** Scaled by a page of its own, which no policy of the dashboard applies to. */
async function coarse(page: Page, screenshot: Buffer): Promise<Omit<Picture, 'fonts'>> {
  const painter = await page.context().newPage();
  try {
    return await painter.evaluate(
      async ([base64, cell]) => {
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.codePointAt(0)!);
        const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
        const [columns, rows] = [Math.floor(image.width / cell), Math.floor(image.height / cell)];
        const whole = new OffscreenCanvas(image.width, image.height).getContext('2d')!;
        whole.drawImage(image, 0, 0);
        let colors = '';
        for (let row = 0; row < rows; row += 1)
          for (let column = 0; column < columns; column += 1) {
            const { data } = whole.getImageData(column * cell, row * cell, cell, cell);
            const sums = [0, 0, 0];
            for (let at = 0; at < data.length; at += 4)
              for (const channel of [0, 1, 2]) sums[channel]! += data[at + channel]!;
            for (const sum of sums) colors += String.fromCodePoint(Math.round((4 * sum) / data.length));
          }
        return { columns, rows, colors: btoa(colors) };
      },
      [screenshot.toString('base64'), cellPx] as const,
    );
  } finally {
    await painter.close();
  }
}
