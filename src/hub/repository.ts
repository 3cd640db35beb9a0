// What a model on a hub is called: `org/name`, or `org/name@revision`.
import { expected, InvalidOptionError } from '../errors.js';

/** A model on a hub at one revision. */
export interface Repository {
  /** `org/name`. */
  readonly name: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

export const defaultRevision = 'main';

const part = /^(?![.-])(?!.*(?:--|\.\.))[\w.-]{1,96}(?<![.-])$/;
const revisionPart = /^(?!\.+$)[\w.-]{1,128}$/;

/** Returns whether the text has the form of a repository's name, with or without a revision. */
export function isRepository(text: string): boolean {
  const { name, revision } = split(text);
  const parts = name.split('/');
  return (
    parts.length === 2 &&
    parts.every((text) => part.test(text)) &&
    revision.split('/').every((text) => revisionPart.test(text))
  );
}

/** Returns the repository that a text names. Throws InvalidOptionError. */
export function parseRepository(text: string): Repository {
  if (isRepository(text)) return split(text);
  throw new InvalidOptionError(expected('model', 'org/name or org/name@revision', text));
}

/** Returns the shortest text that names the repository. */
export function repositoryText({ name, revision }: Repository): string {
  return revision === defaultRevision ? name : `${name}@${revision}`;
}

function split(text: string): Repository {
  const at = text.indexOf('@');
  return at === -1
    ? { name: text, revision: defaultRevision }
    : { name: text.slice(0, at), revision: text.slice(at + 1) };
}
