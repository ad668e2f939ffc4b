import type { AckMessage } from '@fleetwire/contracts/device-protocol';

/** FIN and the opcode of text (RFC 6455, 5.2). */
const finalText = 0x81;
const headerBytes = 2;
/** The longest payload whose length stands in the second byte. */
const shortPayloadBytesMax = 125;

/**
 * An ack as a whole WebSocket frame, as a server sends it: unmasked, in one buffer, where ws would write header and payload apart.
 * @returns undefined for the ack of a stream whose names make it longer than 125 bytes or are not ASCII
 */
export function ackFrame(ack: AckMessage): Buffer | undefined {
  const text = JSON.stringify(ack);
  if (text.length > shortPayloadBytesMax || Buffer.byteLength(text) !== text.length) return undefined;
  const frame = Buffer.allocUnsafe(headerBytes + text.length);
  frame[0] = finalText;
  frame[1] = text.length;
  frame.write(text, headerBytes, 'latin1');
  return frame;
}
