import { notFound, Problem } from '@fleetwire/runtime/problem';
import { decisions, type Decision } from '@fleetwire/store/dead-letters/decisions';
import type { Selection } from '@fleetwire/store/dead-letters/selection';
import Type from 'typebox';
import { route, type Route } from '../route.ts';
import { historyEventsMax } from './browse-routes.ts';
import type { DeadLetterStore } from './dead-letter-store.ts';
import { DeadLetterDetails, presentDetails } from './schemas.ts';
import { choiceFields, chosen, DeadLetterId } from './selecting.ts';

const deadLettersPerStepMax = 2_000;
const decidingBudgetMs = 10_000;

const reason = Type.String({ minLength: 1, maxLength: 1_000, description: 'Why; kept in the history' });
const Reason = Type.Object({ reason }, { title: 'DeadLetterDecision', additionalProperties: false });
const DecisionRequest = Type.Object(
  { ...choiceFields, reason },
  { title: 'DeadLetterDecisionRequest', additionalProperties: false },
);
const Decided = Type.Object(
  {
    count: Type.Integer({ minimum: 0, description: 'Dead letters that were moved' }),
    complete: Type.Boolean({ description: `False: there are more than fit into ${decidingBudgetMs} ms; ask again` }),
  },
  { title: 'DeadLettersDecided' },
);

const words = {
  discarded: { verb: 'discard', name: 'Discard' },
  restored: { verb: 'restore', name: 'Restore' },
} as const;

const common = { method: 'post', tag: 'Dead letters', roles: ['operator', 'admin'] } as const;

function decideMany(decision: Decision): Route {
  const { verb, name } = words[decision];
  const { from } = decisions[decision];
  return route({
    ...common,
    path: `/dead-letters/${verb}`,
    operationId: `${verb}DeadLetters`,
    summary: `${name} dead letters that are ${from}`,
    body: DecisionRequest,
    success: { status: 200, description: 'How many', schema: Decided },
    handler: async ({ body, caller, now }, { deadLetters }) =>
      decideInSteps(deadLetters, decision, chosen(body, now, [from]), { actor: caller.sub, reason: body.reason }),
  });
}

function decideOne(decision: Decision): Route {
  const { verb, name } = words[decision];
  const { from, to } = decisions[decision];
  return route({
    ...common,
    path: `/dead-letters/{id}/${verb}`,
    operationId: `${verb}DeadLetter`,
    summary: `${name} a dead letter`,
    description: `It must be ${from}; one that is ${to} already stays so.`,
    params: { id: DeadLetterId },
    body: Reason,
    success: { status: 200, description: 'The dead letter', schema: DeadLetterDetails },
    problems: [404, 409],
    handler: async ({ params: { id }, body, caller }, { deadLetters }) => {
      await deadLetters.decide({
        selection: { ids: [id] },
        decision,
        actor: caller.sub,
        reason: body.reason,
        limit: 1,
      });
      const letter = await deadLetters.get(id);
      if (letter === undefined) throw notFound(`There is no dead letter ${id}`);
      if (letter.status !== to)
        throw new Problem(409, 'Conflict', { detail: `The dead letter is ${letter.status}, not ${from}` });
      return presentDetails(letter, await deadLetters.history(id, historyEventsMax));
    },
  });
}

/** Repeats small steps while there is time: no statement holds many rows for long. */
async function decideInSteps(
  deadLetters: DeadLetterStore,
  decision: Decision,
  selection: Selection,
  by: { readonly actor: string; readonly reason: string },
): Promise<{ count: number; complete: boolean }> {
  const startedAt = performance.now();
  let count = 0;
  while (performance.now() - startedAt < decidingBudgetMs) {
    const moved = await deadLetters.decide({ selection, decision, ...by, limit: deadLettersPerStepMax });
    count += moved;
    if (moved < deadLettersPerStepMax) return { count, complete: true };
  }
  return { count, complete: false };
}

export const decisionRoutes = [
  decideMany('discarded'),
  decideMany('restored'),
  decideOne('discarded'),
  decideOne('restored'),
];
