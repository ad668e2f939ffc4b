import { roles } from '@fleetwire/contracts/access';
import { type LiveDevice, LiveDevicesRequest } from '@fleetwire/contracts/live-devices';
import { listDevices } from '@fleetwire/store/registry/devices';
import Type from 'typebox';
import { presentState } from './devices/schemas.ts';
import { LineStream } from './line-stream.ts';
import { filterOf } from './live-filter.ts';
import { route } from './route.ts';
import { isoTime } from './time-range.ts';

const devicesPerPage = 500;

export const liveDeviceRoutes = [
  route({
    method: 'post',
    path: '/live/devices',
    operationId: 'readLiveDevices',
    tag: 'Live',
    summary: 'The devices that a filter selects, as a stream of lines',
    description:
      'For instances with subscribers: which devices have a tag or a type, and what they are like now. One line for each device, in the order of ids; the last line has `end`; an answer without it was cut.',
    roles: [...roles],
    ownDataOnly: 'checked-by-handler',
    body: LiveDevicesRequest,
    success: {
      status: 200,
      description: 'Lines of JSON',
      contentType: 'application/x-ndjson',
      schema: Type.Unsafe<LineStream>(Type.String({ description: 'One JSON object in each line' })),
    },
    handler: async ({ body: { filter, events = [] }, caller, pageBytes: { bytesMax } }, { registry }) => {
      const { devices: ids, patterns, tags, deviceType: type } = filterOf(filter, caller);
      let isLeft = false;
      const read = async (after?: string): Promise<Page> =>
        isLeft
          ? []
          : registry.run(listDevices, {
              ids,
              patterns,
              tags,
              type,
              limit: devicesPerPage,
              bytesMax,
              after: after === undefined ? undefined : { deviceId: after },
            });
      // Before the answer begins, so that a failure is answered as one.
      const first = await read();
      return new LineStream(linesOf(first, read, events), () => (isLeft = true));
    },
  }),
];

type Page = Awaited<ReturnType<typeof listDevices>>;

async function* linesOf(
  first: Page,
  read: (after: string) => Promise<Page>,
  events: readonly ('presence' | 'registry')[],
): AsyncGenerator<object[], void> {
  let end = 0;
  for (let page = first; page.length > 0; page = await read(page.at(-1)!.deviceId)) {
    end += page.length;
    yield page.map((device): LiveDevice => {
      const { deviceId, version, presence } = device;
      return {
        deviceId,
        version,
        ...(events.includes('presence') && {
          presence: presence === null ? null : { ...presence, since: isoTime(presence.since) },
        }),
        ...(events.includes('registry') && { state: presentState(device) }),
      };
    });
  }
  yield [{ end }];
}
