// What the program says, made safe to show: names and texts in it may come from anywhere.

/**
 * Returns the text with all characters that a terminal obeys instead of showing (ECMA-48 controls, Unicode's line separators and
 * directions) written out, but for line feeds.
 */
export function printable(text: string): string {
  return text.replace(obeyed, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
  });
}

/** But for line feeds, which part lines. */
const obeyed = /(?!\n)[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** Returns the value as JSON of one line, in which the same characters are escaped. */
function printableJson(value: object): string {
  return JSON.stringify(value).replace(
    obeyed,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Prints the answer of a command: lines for people, or a value as one line of JSON. */
export function print(answer: string | object): void {
  process.stdout.write(`${typeof answer === 'string' ? printable(answer) : printableJson(answer)}\n`);
}

/** Prints lines about what happens. */
export function note(text: string, stream: NodeJS.WritableStream = process.stderr): void {
  stream.write(`${printable(text)}\n`);
}
