import { describe, expect, it } from 'vitest';
import { MessageSizes } from '../src/message-sizes.ts';

const readingBytes = 80;
const envelopeBytes = 200;

describe('the sizes of messages', () => {
  it('are unknown before the first reading', () => {
    const sizes = new MessageSizes();
    sizes.add(0, 250);
    expect(sizes.estimate()).toBeUndefined();
  });

  it('tell the bytes of a reading from those of an envelope', () => {
    const sizes = new MessageSizes();
    for (const readings of [1, 1, 2, 76, 5]) sizes.add(readings, envelopeBytes + readings * readingBytes);
    expect(sizes.estimate()?.bytesPerMessage).toBeCloseTo(envelopeBytes);
    expect(sizes.estimate()?.bytesPerReading).toBeCloseTo(readingBytes);
  });

  it('are the bytes per reading where all messages are alike', () => {
    const sizes = new MessageSizes();
    for (let message = 0; message < 3; message += 1) sizes.add(10, 1_000);
    expect(sizes.estimate()).toEqual({ bytesPerMessage: 0, bytesPerReading: 100 });
  });

  it('follow a change of the readings', () => {
    const sizes = new MessageSizes();
    for (let message = 0; message < 20_000; message += 1) sizes.add(10, 1_000);
    for (let message = 0; message < 100_000; message += 1) sizes.add(10, 3_000);
    expect(sizes.estimate()?.bytesPerReading).toBeGreaterThan(299);
  });
});
