import { answerOf, type FleetwireClient } from '@fleetwire/client/client';
import type { components } from '@fleetwire/client/openapi';
import { Command } from 'commander';
import { type Connection, createApi, withConnection } from '../api.ts';
import { jsonFromInput, jsonObject, positiveInteger } from '../arguments.ts';
import { action, print } from '../output.ts';
import { type Device, deviceText } from './show.ts';

interface FieldSettings extends Connection {
  readonly name?: string;
  readonly type?: string;
  readonly tag?: readonly string[];
  readonly metadata?: object;
  readonly expectedInterval?: number;
}

interface VersionSettings extends Connection {
  readonly version?: number;
}

interface VersionParameters {
  readonly path: { readonly id: string };
  readonly header: { readonly 'if-match': string };
}

interface PatchSettings extends VersionSettings {
  readonly set: object | '-';
}

export function registerDeviceCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('register').description('register a device').argument('<id>', 'id of the device'),
  )
    .option('--name <text>', 'name for operators')
    .option('--type <type>', 'kind of device')
    .option('--tag <tag...>', 'tags, by convention key:value')
    .option('--metadata <json>', 'object of your own', jsonObject)
    .option('--expected-interval <ms>', 'how often it sends, in milliseconds', positiveInteger);

  return action(command, async (settings: FieldSettings) => {
    const [deviceId = ''] = command.args;
    const { name, type, tag: tags, metadata, expectedInterval: expectedIntervalMs } = settings;
    const fields = { name, type, tags, metadata, expectedIntervalMs };
    const body = { deviceId, ...fields } as components['schemas']['NewDevice'];
    const device = await answerOf(createApi(settings, signal).POST('/api/v1/devices', { body }));
    print(device, deviceText(device), settings.json);
  });
}

export function patchDeviceCommand(signal: AbortSignal): Command {
  const description = 'change a device by a JSON merge patch (RFC 7396); null removes a member';
  const command = changing('patch', description).requiredOption(
    '--set <json>',
    'the patch: name, type, tags, location, metadata, expectedIntervalMs; - reads standard input',
    (text: string) => (text === '-' ? text : jsonObject(text)),
  );
  return action(command, async (settings: PatchSettings) => {
    const patch = settings.set === '-' ? await jsonFromInput() : settings.set;
    await change(command, { settings, signal }, (api, params) =>
      api.PATCH('/api/v1/devices/{id}', { params, body: patch as components['schemas']['DevicePatch'] }),
    );
  });
}

export function setDeviceStatusCommand(signal: AbortSignal): Command {
  const command = changing('status', 'set the status of a device').requiredOption(
    '--set <status>',
    'active, maintenance, suspended or retired',
  );
  return action(command, (settings: VersionSettings & { readonly set: string }) =>
    change(command, { settings, signal }, (api, params) =>
      api.PATCH('/api/v1/devices/{id}/status', {
        params,
        body: { status: settings.set } as components['schemas']['DeviceStatusChange'],
      }),
    ),
  );
}

export function retireDeviceCommand(signal: AbortSignal): Command {
  const command = changing('retire', 'retire a device: its readings stay, lists leave it out');
  return action(command, (settings: VersionSettings) =>
    change(command, { settings, signal }, (api, params) => api.DELETE('/api/v1/devices/{id}', { params })),
  );
}

function changing(verb: string, description: string): Command {
  return withConnection(new Command(verb).description(description).argument('<id>', 'id of the device')).option(
    '--version <n>',
    'only if the device has this version; by default the version that it has now',
    Number,
  );
}

async function change(
  command: Command,
  { settings, signal }: { readonly settings: VersionSettings; readonly signal: AbortSignal },
  send: (api: FleetwireClient, params: VersionParameters) => Parameters<typeof answerOf<Device>>[0],
): Promise<void> {
  const [id = ''] = command.args;
  const api = createApi(settings, signal);
  const version = settings.version ?? (await versionOf(api, id));
  const device = await answerOf(send(api, { path: { id }, header: { 'if-match': `"${version}"` } }));
  print(device, deviceText(device), settings.json);
}

async function versionOf(api: FleetwireClient, id: string): Promise<number> {
  const params = { path: { id }, query: { fields: ['version' as const] } };
  // Asked for with `fields`, it is there.
  return (await answerOf(api.GET('/api/v1/devices/{id}', { params }))).version!;
}
