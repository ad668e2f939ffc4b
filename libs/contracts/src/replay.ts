/** On an envelope that carries dead letters again: the replay's id. Nobody received these readings anew; the books say so. */
export const replayHeader = 'x-fleetwire-replay';
