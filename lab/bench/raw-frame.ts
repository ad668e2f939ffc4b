const finalText = 0x81;
const masked = 0x80;
const maskBytes = 4;

/** A client's text frame (RFC 6455, 5.2), masked with zeros so that masking changes nothing. @param text ASCII */
export function textFrame(text: string): Buffer {
  const length = text.length;
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const head = 2 + lengthBytes + maskBytes;
  const frame = Buffer.allocUnsafe(head + length);
  frame[0] = finalText;
  if (lengthBytes === 0) frame[1] = masked | length;
  else if (lengthBytes === 2) {
    frame[1] = masked | 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = masked | 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.fill(0, head - maskBytes, head);
  frame.write(text, head, 'latin1');
  return frame;
}
