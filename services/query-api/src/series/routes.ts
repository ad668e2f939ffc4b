import { DeviceId } from '@fleetwire/contracts/identifiers';
import { badRequest } from '@fleetwire/runtime/problem';
import type { DeviceSelection } from '@fleetwire/store/series/select-devices';
import { formatOf } from '../exports/formats.ts';
import { acceptHeader } from '../exports/readings-stream.ts';
import { answerSeries } from '../exports/series-stream.ts';
import { route } from '../route.ts';
import type { Asked } from './cost.ts';
import { hrefOf } from './links.ts';
import { readQuestion, type SeriesRequest } from './question.ts';
import {
  answerExample,
  fleetParameters,
  questionExample,
  questionParameters,
  SeriesAnswer,
  SeriesQuestion,
} from './schemas.ts';

const success = { status: 200, description: 'The series', schema: SeriesAnswer, example: answerExample } as const;
const description = 'Buckets of time with aggregates of stored readings; docs/analysts.md defines every word of it.';
const fleetRoles = ['analyst', 'operator', 'admin'] as const;

export const seriesRoutes = [
  route({
    method: 'get',
    path: '/devices/{id}/series',
    operationId: 'getDeviceSeries',
    tag: 'Series',
    question: true,
    conditional: true,
    summary: 'Aggregates of one device over time',
    description,
    roles: ['device', ...fleetRoles],
    params: { id: DeviceId },
    query: questionParameters,
    headers: acceptHeader,
    success,
    problems: [404, 422],
    handler: async ({ params: { id }, query, headers, caller, ...call }, api) => {
      const question = readQuestion({ ...query, devices: [id] }, 'query', call.now);
      const link = (request: SeriesRequest) =>
        hrefOf(`/api/v1/devices/${id}/series`, { ...request, devices: undefined });
      const format = formatOf(query.format, headers.accept);
      return answerSeries(
        question,
        { ...call, caller, format, limits: api.seriesLimits(caller.role), asked: { place: 'query', link } },
        api,
      );
    },
  }),
  route({
    method: 'get',
    path: '/series',
    operationId: 'getSeries',
    tag: 'Series',
    question: true,
    conditional: true,
    summary: 'Aggregates of many devices over time',
    description: `${description} One of devices, pattern, tag and type is required; all that are given apply.`,
    roles: fleetRoles,
    query: fleetParameters,
    headers: acceptHeader,
    success,
    problems: [404, 422],
    handler: async ({ query, headers, caller, ...call }, api) => {
      requireSelection(query, 'query');
      const link = (request: SeriesRequest) => hrefOf('/api/v1/series', request);
      const asked: Asked = { place: 'query', link };
      const question = readQuestion(query, 'query', call.now);
      const format = formatOf(query.format, headers.accept);
      return answerSeries(question, { ...call, caller, format, limits: api.seriesLimits(caller.role), asked }, api);
    },
  }),
  route({
    method: 'post',
    path: '/series/query',
    operationId: 'querySeries',
    tag: 'Series',
    question: true,
    conditional: true,
    summary: 'Aggregates of many devices over time, with the question in the body',
    description: 'The same as `GET /series`, for long selections. It changes nothing and is safe to repeat.',
    roles: fleetRoles,
    headers: acceptHeader,
    body: SeriesQuestion,
    bodyExample: questionExample,
    success,
    problems: [404, 422],
    handler: async ({ body, headers, caller, ...call }, api) => {
      requireSelection(body, 'body');
      const link = ({ metric, ...request }: SeriesRequest) => ({
        body: { ...request, ...(metric && { metrics: metric }) },
      });
      const asked: Asked = { place: 'body', link };
      const question = readQuestion(body, 'body', call.now);
      const format = formatOf(body.format, headers.accept);
      return answerSeries(question, { ...call, caller, format, limits: api.seriesLimits(caller.role), asked }, api);
    },
  }),
];

/** @throws {Problem} 400 */
export function requireSelection({ devices, pattern, tag, type }: DeviceSelection, place: 'query' | 'body'): void {
  if ((devices ?? pattern ?? tag ?? type) !== undefined) return;
  throw badRequest('The question is not valid', [
    {
      field: `${place}.devices`,
      detail: 'is missing; say which devices with devices, pattern (* for all), tag or type',
    },
  ]);
}
