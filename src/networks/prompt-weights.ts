// Weights in prompts: `(word)` counts 1.1 times, `(word:1.3)` 1.3 times, `[word]` 1/1.1 times, brackets in brackets multiply, and
// a backslash before a bracket makes it a plain one. The notation is that of AUTOMATIC1111's stable-diffusion-webui.
import { expected, InvalidOptionError } from '../errors.js';

/** A stretch of a prompt and how much it counts; 1 is as written without brackets. */
export interface WeightedText {
  readonly text: string;
  readonly weight: number;
}

/** What a pair of brackets multiplies by when it holds no number. */
const emphasis = 1.1;
/** Far beyond what any model makes sense of (most stop near 2). */
const largestWeight = 10;

const advice = 'Write \\( or \\[ for a bracket that is meant as one.';
const brackets = /[()[\]]/;
/** In turn: a bracket or backslash with a backslash before it, a number up to a closing bracket, a bracket, plain text. */
const token = /\\([()[\]\\])|:\s*([+-]?\.?\d[^()[\]\\]*?)\s*(?=([)\]]))|([()[\]])|(?:[^()[\]\\:]+|[\s\S])/g;

type Token =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'number'; readonly text: string; readonly at: number }
  | { readonly kind: 'bracket'; readonly text: string; readonly at: number };

/**
 * Returns the stretches of a prompt without its brackets, each trimmed and none empty; a prompt without brackets comes back as it
 * is. Throws InvalidOptionError for brackets that aren't balanced and weights that are no numbers from 0 to 10.
 */
export function parsePrompt(prompt: string): readonly WeightedText[] {
  if (!brackets.test(prompt)) return [{ text: prompt, weight: 1 }];
  const tokens = tokensOf(prompt);
  const factors = factorsOf(tokens);
  const found: { text: string; weight: number }[] = [];
  const weights = [1];
  for (const [index, { kind, text }] of tokens.entries()) {
    const weight = weights.at(-1) as number;
    const last = found.at(-1);
    if (kind === 'number') continue;
    if (kind === 'text' && last !== undefined) last.text += text;
    else if (kind === 'text') found.push({ text, weight });
    else {
      if (text === '(' || text === '[') weights.push(weight * (factors.get(index) as number));
      else weights.pop();
      found.push({ text: '', weight: weights.at(-1) as number });
    }
  }
  const pieces = found.flatMap(({ text, weight }) => (text.trim() === '' ? [] : [{ text: text.trim(), weight }]));
  for (const piece of pieces) assertWeight(piece);
  return pieces.length === 0 ? [{ text: '', weight: 1 }] : pieces;
}

function tokensOf(prompt: string): Token[] {
  return Array.from(prompt.matchAll(token), ({ 0: text, 1: escaped, 2: number, 4: bracket, index: at }): Token => {
    if (escaped !== undefined) return { kind: 'text', text: escaped };
    if (number !== undefined) return { kind: 'number', text: number, at };
    if (bracket !== undefined) return { kind: 'bracket', text: bracket, at };
    return { kind: 'text', text };
  });
}

/** Returns what each opening bracket multiplies by, by its place among the tokens. */
function factorsOf(tokens: readonly Token[]): ReadonlyMap<number, number> {
  const factors = new Map<number, number>();
  const open: number[] = [];
  for (const [index, token] of tokens.entries()) {
    if (token.kind === 'text') continue;
    if (token.kind === 'bracket' && (token.text === '(' || token.text === '[')) {
      factors.set(index, token.text === '(' ? emphasis : 1 / emphasis);
      open.push(index);
      continue;
    }
    const start = open.at(-1);
    const opening = start === undefined ? undefined : (tokens[start] as Token).text;
    if (token.kind === 'number') {
      if (start !== undefined) factors.set(start, weightOf(token.text, opening === '(', token.at));
      continue;
    }
    if (opening !== (token.text === ')' ? '(' : '[')) throw unbalanced(token.text, token.at);
    open.pop();
  }
  const left = open.at(-1);
  if (left === undefined) return factors;
  const { text, at } = tokens[left] as Token & { kind: 'bracket' };
  throw unbalanced(text, at);
}

function weightOf(text: string, isRound: boolean, at: number): number {
  const place = `weight at character ${at + 1} of the prompt`;
  if (!isRound) {
    throw new InvalidOptionError(
      expected(
        place,
        'in round brackets',
        `[…:${text}]`,
        `Write (…:${text}); square brackets take no number. ${advice}`,
      ),
    );
  }
  const weight = /^[+-]?(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
  if (weight >= 0 && weight <= largestWeight) return weight;
  throw new InvalidOptionError(expected(place, `a number from 0 to ${largestWeight}`, text, advice));
}

function assertWeight({ text, weight }: WeightedText): void {
  if (weight <= largestWeight) return;
  const name = `weight of ${JSON.stringify(text.slice(0, 40))} by all its brackets`;
  throw new InvalidOptionError(expected(name, `at most ${largestWeight}`, weight, 'Use fewer brackets.'));
}

function unbalanced(bracket: string, at: number): InvalidOptionError {
  const value = `one ${bracket} too many at character ${at + 1}`;
  return new InvalidOptionError(`Expected the prompt's brackets to be balanced, got ${value}. ${advice}`);
}
