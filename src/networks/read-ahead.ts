// Lets a producer work on the next value while its consumer works on the current one.

/**
 * Yields what the source yields, and asks it for one more while the consumer holds a value: never for more. When the
 * consumer stops early, `stop` is called to cut the work in progress short; the source has ended when this one has.
 */
export async function* readAhead<T>(source: AsyncIterable<T>, stop?: () => void): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  const ask = () => {
    const asked = iterator.next();
    // It may fail while nobody waits for it yet; whoever takes it next hears of it.
    asked.catch(() => {});
    return asked;
  };
  let next = ask();
  let isDone = false;
  try {
    while (true) {
      // Failed or ended, the source has cleaned up by itself.
      isDone = true;
      const result = await next;
      if (result.done === true) return;
      isDone = false;
      next = ask();
      yield result.value;
    }
  } finally {
    if (!isDone) {
      stop?.();
      await next.catch(() => {});
      await iterator.return?.();
    }
  }
}
