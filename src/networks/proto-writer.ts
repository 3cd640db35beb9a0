// Writes parts of protobuf messages. Wire format: https://protobuf.dev/programming-guides/encoding/

/** Returns a field that holds a whole number of at least 0. */
export function numberField(field: number, value: number): Buffer {
  return Buffer.concat([varint(field * 8), varint(value)]);
}

/** Returns a field that holds bytes, a text, or a message in its parts; what is large is referred to and not copied. */
export function bytesField(field: number, content: string | Uint8Array | readonly Uint8Array[]): Uint8Array[] {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  const parts = bytes instanceof Uint8Array ? [bytes] : bytes;
  return [varint(field * 8 + 2), varint(sizeOfParts(parts)), ...parts];
}

/** Returns how many bytes the parts hold together. */
export function sizeOfParts(parts: readonly Uint8Array[]): number {
  return parts.reduce((total, part) => total + part.length, 0);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}
