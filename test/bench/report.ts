// The findings as an aligned table, and as an object for --json.
import { type Comparison, ratioOf, type Spread, spreadOf } from './result.js';

/** What one benchmark came to. */
export interface Outcome {
  readonly name: string;
  readonly rows: readonly Comparison[];
  /** Why there are no rows. */
  readonly error?: string | undefined;
}

/** Returns the rows as an object: all measurements, and the numbers that stand for them. */
export function toJson({ name, rows, error }: Outcome): object {
  if (error !== undefined) return { name, error };
  return {
    name,
    rows: rows.map((row) => ({
      ...row,
      ratio: ratioOf(row),
    })),
  };
}

const headings = ['', 'reelspace', 'against', '', 'ratio'];

/** Returns lines of aligned columns, each number as `median (min to max)`; notes stand below their row. */
export function toTable(outcomes: readonly Outcome[]): string {
  const rows = outcomes.flatMap((outcome) =>
    outcome.error === undefined
      ? outcome.rows.map((row) => ({ cells: cellsOf(row), note: row.note }))
      : [{ cells: [outcome.name, 'failed'], note: outcome.error }],
  );
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map(({ cells }) => cells[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [
    line(headings),
    ...rows.flatMap(({ cells, note }) => (note === undefined ? [line(cells)] : [line(cells), `    ${note}`])),
  ].join('\n');
}

function cellsOf(row: Comparison): string[] {
  const ratio = ratioOf(row);
  const told = (values: readonly number[]) => (values.length === 0 ? '-' : describe(spreadOf(values), row.unit));
  return [
    row.name,
    told(row.ours),
    row.against,
    told(row.theirs),
    ratio === undefined ? '-' : describe(ratio, 'times'),
  ];
}

function describe({ median, min, max }: Spread, unit: Comparison['unit'] | 'times'): string {
  const text = (value: number) => scaled(value, unit, median);
  return min === max ? text(median) : `${text(median)} (${text(min)} to ${text(max)})`;
}

/** Returns the value in the unit that suits `like`. */
function scaled(value: number, unit: Comparison['unit'] | 'times', like: number): string {
  if (unit === 'times') return `${value.toFixed(2)}x`;
  if (unit === 'bytes') return `${(value / 1e6).toFixed(0)} MB`;
  if (like >= 1) return `${value.toFixed(2)} s`;
  return `${(value * 1000).toFixed(like >= 0.1 ? 0 : 1)} ms`;
}
