// Looks through JSON texts that come from anywhere, as what is parsed can take fifty times the memory of its text.

/** The largest tokenizers have a list for each of some 500,000 merges. */
const mostLists = 2_000_000;

/** Returns the place behind the string that starts at that quote. */
export function endOfString(json: string, start: number): number {
  let at = start + 1;
  for (; at < json.length && json[at] !== '"'; at++) if (json[at] === '\\') at++;
  return at + 1;
}

/** Returns whether a text's lists and objects are at most so many levels deep, and two million at most. */
export function isShallow(json: string, mostLevels: number): boolean {
  let level = 0;
  let lists = 0;
  for (let at = 0; at < json.length; ) {
    const sign = json[at];
    if (sign === '}' || sign === ']') level--;
    else if ((sign === '{' || sign === '[') && (++level > mostLevels || ++lists > mostLists)) return false;
    at = sign === '"' ? endOfString(json, at) : at + 1;
  }
  return true;
}
