import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PublishWindow } from '../src/publish-window.ts';

function readyWindow(bounds: { messagesInFlightMax?: number; bytesInFlightMax?: number } = {}): PublishWindow {
  const window = new PublishWindow({ messagesInFlightMax: 3, bytesInFlightMax: 1_000, ...bounds });
  window.setChannelReady(true);
  return window;
}

describe('publish window', () => {
  it('is not writable without a channel, however empty it is', () => {
    const window = new PublishWindow({ messagesInFlightMax: 3, bytesInFlightMax: 1_000 });
    expect(window.isWritable).toBe(false);
    window.setChannelReady(true);
    expect(window.isWritable).toBe(true);
    window.setChannelReady(false);
    expect(window.isWritable).toBe(false);
  });

  it('is full at its bound of messages, and writable again after one is released', () => {
    const window = readyWindow();
    for (let count = 0; count < 3; count += 1) {
      expect(window.isWritable).toBe(true);
      window.admit(1);
    }
    expect(window.isWritable).toBe(false);
    window.release(1);
    expect(window.isWritable).toBe(true);
  });

  it('is full at its bound of bytes, and admits one message of any size below it', () => {
    const window = readyWindow();
    window.admit(999);
    expect(window.isWritable).toBe(true);
    window.admit(5_000);
    expect(window.isWritable).toBe(false);
    window.release(999);
    expect(window.isWritable).toBe(false);
    window.release(5_000);
    expect(window.isWritable).toBe(true);
  });

  it('counts messages without content', () => {
    const window = readyWindow({ messagesInFlightMax: 1 });
    window.admit(0);
    expect(window.isWritable).toBe(false);
  });

  it('is empty after everything admitted was released, in whatever order', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(2_000), { maxLength: 50 }), fc.infiniteStream(fc.boolean()), (sizes, releasing) => {
        const window = readyWindow();
        const inFlight: number[] = [];
        for (const bytes of sizes) {
          if (window.isWritable) {
            window.admit(bytes);
            inFlight.push(bytes);
          }
          if (releasing.next().value && inFlight.length > 0) window.release(inFlight.pop()!);
          expect(window.messages).toBe(inFlight.length);
          expect(window.messages).toBeLessThanOrEqual(3);
          expect(window.bytes).toBe(inFlight.reduce((sum, one) => sum + one, 0));
        }
        while (inFlight.length > 0) window.release(inFlight.shift()!);
        expect(window).toMatchObject({ messages: 0, bytes: 0, isWritable: true });
      }),
    );
  });
});
