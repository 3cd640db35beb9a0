// JSON that comes from a hub, which may be made to be dear.

/** Far more objects and lists than a listing or a manifest has. A byte of text for each, they take some hundred of memory. */
const mostBrackets = 1_000_000;

/** Returns what the JSON in UTF-8 says. Throws Error when it is none, or has far more objects and lists than what a hub is asked for. */
export function parseJson(text: Buffer): unknown {
  let brackets = 0;
  for (const byte of text) if (byte === 0x5b || byte === 0x7b) brackets++;
  if (brackets > mostBrackets) throw new Error(`Expected at most ${mostBrackets} objects and lists, got ${brackets}.`);
  return JSON.parse(text.toString('utf8'));
}
