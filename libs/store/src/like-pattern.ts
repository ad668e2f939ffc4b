/** The pattern of SQL's `like` for a glob with `*` (any text) and `?` (one character). */
export function likePattern(glob: string): string {
  return glob
    .replaceAll(/[\\%_]/g, '\\$&')
    .replaceAll('*', '%')
    .replaceAll('?', '_');
}
