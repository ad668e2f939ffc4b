/** Why a backing service cannot be had here, as one sentence for a person: what is missing and what would help. */
export class BackingServiceUnavailable extends Error {
  override name = 'BackingServiceUnavailable';
}
