import { badRequest } from '@fleetwire/runtime/problem';
import Type from 'typebox';
import { Repeated } from '../parameters.ts';
import { aggregateForms, type AskedAggregate, parseAggregate } from '../series/aggregates.ts';
import type { Asked } from '../series/cost.ts';
import { hrefOf } from '../series/links.ts';
import { type Question, readQuestion, type SeriesRequest } from '../series/question.ts';
import { MetricName } from '../series/schemas.ts';

export const fleetRoles = ['analyst', 'operator', 'admin'] as const;

/** One metric, by either name. */
export const metricParameters = {
  metrics: Type.Optional(Type.Array(MetricName, { minItems: 1, maxItems: 1, description: 'The name of one metric' })),
  metric: Type.Optional(Repeated(MetricName, { maxItems: 1, description: 'The same, where the name has a comma' })),
};

export const byParameter = Type.String({
  minLength: 1,
  maxLength: 80,
  pattern: '^(device|type|tag:.+)$',
  default: 'device',
  description: 'What is ranked: `device`, `type`, or `tag:<key>`',
  examples: ['device', 'type', 'tag:site'],
});

/** How a question is asked again: what of its URL the question itself does not say. */
interface Spelling {
  readonly path: string;
  readonly changed: object;
}

/** A question about all devices, where it selects none. @throws {Problem} 400 */
export function fleetQuestion(
  request: SeriesRequest,
  now: number,
  { path, changed }: Spelling,
): { readonly question: Question; readonly asked: Asked } {
  const { devices, pattern, tag, type } = request;
  const isOfAll = (devices ?? pattern ?? tag ?? type) === undefined;
  const question = readQuestion({ ...request, ...(isOfAll && { pattern: '*' }) }, 'query', now);
  const link = (one: SeriesRequest) => hrefOf(`/api/v1${path}`, { ...one, ...changed });
  return { question, asked: { place: 'query', link } };
}

/** @throws {Problem} 400 where two are named */
export function oneMetric({ metrics }: Question): string {
  if (metrics.length > 1) throw refused('metrics', 'names a metric, and so does metric; give one of them');
  return metrics[0]!;
}

/** Those that are one number. @throws {Problem} 400 */
export function aggregateOf(name: string): AskedAggregate {
  const aggregate = parseAggregate(name);
  if (aggregate === undefined || aggregate.kind === 'm4' || aggregate.kind === 'state')
    throw refused(
      'agg',
      `is ${JSON.stringify(name)}; expected one of ${aggregateForms}, but not m4 or state, which are no numbers`,
    );
  return aggregate;
}

function refused(name: string, detail: string) {
  return badRequest('The question is not valid', [{ field: `query.${name}`, detail }]);
}
