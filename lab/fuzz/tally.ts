/** Counts of answers, by group of routes or messages and by class of answer. */
export class Tally {
  readonly groups = new Map<string, Map<string, number>>();

  add(group: string, answer: string): void {
    const classes = this.groups.get(group) ?? new Map<string, number>();
    this.groups.set(group, classes);
    classes.set(answer, (classes.get(answer) ?? 0) + 1);
  }
}
