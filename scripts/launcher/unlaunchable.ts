/** Why Fleetwire cannot be started here, in words for a person. */
export class Unlaunchable extends Error {
  override name = 'Unlaunchable';
}
