/** Something that a person has to put right before set-up can go on, in one sentence. */
export class SetupProblem extends Error {}
