import Type from 'typebox';
import { limits } from './limits.ts';

/** Permanent name of a device. Safe in URLs, routing keys, file names and SQL without quoting. */
export const DeviceId = Type.String({
  pattern: `^[A-Za-z0-9][A-Za-z0-9._:-]{0,${limits.deviceIdCharactersMax - 1}}$`,
  description: `Device id: a letter or digit, then letters, digits and . _ : - (at most ${limits.deviceIdCharactersMax} characters)`,
});

/** A device's boot identity: its `seq` starts again with every new one. */
export const Epoch = Type.String({
  pattern: `^[A-Za-z0-9][A-Za-z0-9._:~-]{0,${limits.epochCharactersMax - 1}}$`,
  description: `Boot identity: a letter or digit, then letters, digits and . _ : ~ - (at most ${limits.epochCharactersMax} characters)`,
});

/** Running number of a reading within its device's epoch. */
export const Seq = Type.Integer({ minimum: 0, maximum: limits.seqMax, description: 'Running number within the epoch' });
