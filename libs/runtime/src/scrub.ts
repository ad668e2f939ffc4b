const urlPassword = /(:\/\/[^:@/\s"]*:)[^@/\s"]+@/g;
const jsonWebToken = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g;

/** Replaces passwords inside URLs and JSON web tokens, wherever they stand in the text. */
export function scrub(text: string): string {
  return text.replace(urlPassword, '$1***@').replace(jsonWebToken, '***');
}
