import { crc32, deflateSync, inflateSync } from 'node:zlib';

const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const colorsMax = 256;

/** A picture of a page has few colors: with a palette of them it is half as large. PNG Specification (Third Edition), 9 and 11. @param png of 8 bits, not interlaced */
export function smallPng(png: Buffer): Buffer {
  const { width, height, pixels } = decode(png);
  const counts = new Map<number, number>();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  const palette = paletteOf(counts);
  const indexes = new Map(palette.map((color, index) => [color, index]));
  const rows = Buffer.alloc(height * (width + 1));
  for (const [at, pixel] of pixels.entries()) {
    let index = indexes.get(pixel);
    if (index === undefined) indexes.set(pixel, (index = nearestOf(palette, pixel)));
    rows[at + Math.floor(at / width) + 1] = index;
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const colors = Buffer.from(palette.flatMap((color) => [color >> 16, (color >> 8) & 255, color & 255]));
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('PLTE', colors),
    chunk('IDAT', deflateSync(rows, { level: 9, memLevel: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** One after the other, the color that is missed most: by how many pixels, and by how much. A thin line keeps its color so. */
function paletteOf(counts: ReadonlyMap<number, number>): number[] {
  const colors = [...counts.keys()];
  const missed = colors.map(() => Infinity);
  const palette: number[] = [];
  const size = Math.min(colorsMax, colors.length);
  while (palette.length < size) {
    let [chosen, most] = [0, -1];
    for (const [index, color] of colors.entries()) {
      const weight = missed[index]! * counts.get(color)!;
      if (weight > most) [chosen, most] = [index, weight];
    }
    const added = colors[chosen]!;
    palette.push(added);
    for (const [index, color] of colors.entries()) missed[index] = Math.min(missed[index]!, distance(color, added));
  }
  return palette;
}

function distance(a: number, b: number): number {
  return ((a >> 16) - (b >> 16)) ** 2 + (((a >> 8) & 255) - ((b >> 8) & 255)) ** 2 + ((a & 255) - (b & 255)) ** 2;
}

function chunk(type: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, sum]);
}

function nearestOf(palette: readonly number[], pixel: number): number {
  let [nearest, least] = [0, Infinity];
  for (const [index, color] of palette.entries()) {
    const far = distance(color, pixel);
    if (far < least) [nearest, least] = [index, far];
  }
  return nearest;
}

/** Red, green and blue of each pixel in 24 bits, row by row. */
function decode(png: Buffer): { width: number; height: number; pixels: Uint32Array } {
  const data: Buffer[] = [];
  for (let at = signature.length; at < png.length; at += 12 + png.readUInt32BE(at))
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT')
      data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const bytes = png[25] === 6 ? 4 : 3;
  const filtered = inflateSync(Buffer.concat(data));
  const stride = width * bytes;
  const flat = Buffer.alloc(height * stride);
  for (let row = 0; row < height; row += 1) {
    const filter = filtered[row * (stride + 1)]!;
    for (let column = 0; column < stride; column += 1) {
      const at = row * stride + column;
      const left = column < bytes ? 0 : flat[at - bytes]!;
      const up = row === 0 ? 0 : flat[at - stride]!;
      const corner = column < bytes || row === 0 ? 0 : flat[at - stride - bytes]!;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter]!;
      flat[at] = filtered[row * (stride + 1) + 1 + column]! + guess;
    }
  }
  const pixels = new Uint32Array(width * height);
  for (let at = 0; at < pixels.length; at += 1)
    pixels[at] = (flat[at * bytes]! << 16) | (flat[at * bytes + 1]! << 8) | flat[at * bytes + 2]!;
  return { width, height, pixels };
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
