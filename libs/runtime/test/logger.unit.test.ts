import { expect, it } from 'vitest';
import { createLogger } from '../src/logger.ts';

it('masks credentials in messages, fields and errors', async () => {
  const lines: string[] = [];
  const logger = await createLogger({ name: 'test', destination: { write: (line: string) => void lines.push(line) } });
  const token = 'eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJkZXZpY2UifQ.c2lnbmF0dXJl';
  logger.info({ url: 'amqp://user:hunter2@broker:5672/x' }, 'connecting to postgres://me:hunter2@db/x');
  logger.warn({ req: { headers: { authorization: 'Bearer hunter2' } }, token: 'hunter2', given: `token=${token}` });
  logger.error(new Error(`refused ${token} for postgres://me:hunter2@db`));
  expect(lines).toHaveLength(3);
  expect(lines.join()).not.toMatch(/hunter2|c2lnbmF0dXJl/);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    name: 'test',
    level: 'info',
    url: 'amqp://user:***@broker:5672/x',
  });
});
