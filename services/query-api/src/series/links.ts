/** The URL of a question: lists have commas, and names that may contain one are repeated. */
export function hrefOf(path: string, request: object): { readonly href: string } {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(request)) {
    if (value === undefined) continue;
    const isSeparate = name === 'metric' || name === 'where';
    for (const text of isSeparate ? value : [[value].flat().join(',')]) parameters.append(name, String(text));
  }
  return { href: `${path}?${parameters}` };
}
