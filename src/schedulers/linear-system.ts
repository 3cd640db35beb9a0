// Solves the few linear equations that give a multistep method its weights.

/** Returns x with rows · x = right, by elimination with the largest pivot. Sizes of 2 and 3 are what it is for. */
export function solveLinear(rows: readonly (readonly number[])[], right: readonly number[]): number[] {
  const size = right.length;
  const system = rows.map((row, i) => [...row, right[i] as number]);
  const cell = (row: number, column: number): number => system[row]?.[column] as number;
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column + 1; row < size; row++) {
      if (Math.abs(cell(row, column)) > Math.abs(cell(pivot, column))) pivot = row;
    }
    const [upper, lower] = [system[column] as number[], system[pivot] as number[]];
    system[column] = lower;
    system[pivot] = upper;
    for (let row = column + 1; row < size; row++) {
      const factor = cell(row, column) / cell(column, column);
      system[row] = (system[row] as number[]).map((value, i) => value - factor * cell(column, i));
    }
  }
  const solution = new Array<number>(size).fill(0);
  for (let row = size - 1; row >= 0; row--) {
    let rest = cell(row, size);
    for (let column = row + 1; column < size; column++) rest -= cell(row, column) * (solution[column] as number);
    solution[row] = rest / cell(row, row);
  }
  return solution;
}
