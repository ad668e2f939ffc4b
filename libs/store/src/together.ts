type Answers<T extends readonly Promise<unknown>[]> = { -readonly [Index in keyof T]: Awaited<T[Index]> };

/**
 * The answers to statements that were sent together on one connection, which has to be pipelined. All are awaited before the first failure
 * is thrown: the later ones may fail only because of it.
 */
export async function together<const T extends readonly Promise<unknown>[]>(...sent: T): Promise<Answers<T>> {
  await Promise.allSettled(sent);
  return Promise.all(sent) as Promise<Answers<T>>;
}
