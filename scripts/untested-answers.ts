/** The part of docs/openapi.json that is read here. */
interface ApiDocument {
  readonly paths: Readonly<
    Record<string, Readonly<Record<string, { readonly operationId: string; readonly responses: object }>>>
  >;
}

/**
 * Documented answers that no test got.
 * @param exercised lines of the operation and the status, as the tests write them
 * @returns one line each: `UNTESTED GET /api/v1/changes 410`
 */
export function untestedAnswers({ paths }: ApiDocument, exercised: string): string[] {
  const known = new Set(exercised.split('\n'));
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { operationId, responses }]) =>
      Object.keys(responses)
        .filter((status) => !known.has(`${operationId} ${status}`))
        .map((status) => `UNTESTED ${method.toUpperCase()} ${path} ${status}`),
    ),
  );
}
