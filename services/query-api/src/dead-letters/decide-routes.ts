import { Problem } from '@fleetwire/runtime/problem';
import { decideDeadLetters, decisions, type Decision } from '@fleetwire/store/dead-letters/decisions';
import type { Selection } from '@fleetwire/store/dead-letters/selection';
import Type from 'typebox';
import { type ApiContext, route, type Route } from '../route.ts';
import { detailsOf } from './browse-routes.ts';
import { DeadLetterDetails } from './schemas.ts';
import { choiceFields, chosen, DeadLetterId } from './select.ts';

const deadLettersPerStepMax = 2_000;
const decidingBudgetMs = 10_000;

const reason = Type.String({ minLength: 1, maxLength: 1_000, description: 'Reason; kept in the history' });
const Reason = Type.Object({ reason }, { title: 'DeadLetterDecision', additionalProperties: false });
const DecisionRequest = Type.Object(
  { ...choiceFields, reason },
  { title: 'DeadLetterDecisionRequest', additionalProperties: false },
);
const Decided = Type.Object(
  {
    count: Type.Integer({ minimum: 0, description: 'Dead letters whose status changed' }),
    complete: Type.Boolean({
      description: `False: not all were done within ${decidingBudgetMs} ms; repeat the request for the rest`,
    }),
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
    success: { status: 200, description: 'The number of dead letters changed', schema: Decided },
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
    description: `It must be ${from}; if it is ${to} already, nothing changes.`,
    params: { id: DeadLetterId },
    body: Reason,
    success: { status: 200, description: 'The dead letter', schema: DeadLetterDetails },
    problems: [404, 409],
    handler: async ({ params: { id }, body, caller }, { deadLetters }) => {
      await deadLetters.writing.run(decideDeadLetters, {
        selection: { ids: [id] },
        decision,
        actor: caller.sub,
        reason: body.reason,
        limit: 1,
      });
      const details = await detailsOf(id, deadLetters);
      if (details.status !== to)
        throw new Problem(409, 'Conflict', { detail: `The dead letter is ${details.status}, not ${from}` });
      return details;
    },
  });
}

/** Works in small steps while there is time, so that no statement locks many rows for long. */
async function decideInSteps(
  { writing }: ApiContext['deadLetters'],
  decision: Decision,
  selection: Selection,
  by: { readonly actor: string; readonly reason: string },
): Promise<{ count: number; complete: boolean }> {
  const startedAt = performance.now();
  let count = 0;
  while (performance.now() - startedAt < decidingBudgetMs) {
    const moved = await writing.run(decideDeadLetters, { selection, decision, ...by, limit: deadLettersPerStepMax });
    count += moved;
    if (moved < deadLettersPerStepMax) return { count, complete: true };
  }
  return { count, complete: false };
}

export const decideRoutes = [
  decideMany('discarded'),
  decideMany('restored'),
  decideOne('discarded'),
  decideOne('restored'),
];
