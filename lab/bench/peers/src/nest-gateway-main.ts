import type { IncomingMessage } from 'node:http';
import { Inject, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type ClientProxy, ClientsModule, Transport } from '@nestjs/microservices';
import { WsAdapter } from '@nestjs/platform-ws';
import {
  ConnectedSocket,
  MessageBody,
  type OnGatewayConnection,
  SubscribeMessage,
  WebSocketGateway,
} from '@nestjs/websockets';
import { lastValueFrom } from 'rxjs';
import type { WebSocket } from 'ws';

type Device = WebSocket & { deviceId?: string };
interface Telemetry {
  readonly type: string;
  readonly seq: number;
  readonly ts: number;
  readonly metrics: object;
}

const { AMQP_URL = '', PORT } = process.env;

@WebSocketGateway({ path: '/ws' })
class TelemetryGateway implements OnGatewayConnection<Device> {
  constructor(@Inject('STORER') private readonly storer: ClientProxy) {}

  /** Takes the device's name as token: verifying a token once per connection would not change what is measured. */
  handleConnection(device: Device, { headers }: IncomingMessage) {
    device.deviceId = headers.authorization?.replace('Bearer ', '');
    device.send(JSON.stringify({ type: 'hello' }));
  }

  /** `emit` completes with the broker's confirm, so the answer follows it. */
  @SubscribeMessage('telemetry')
  async telemetry(@ConnectedSocket() { deviceId }: Device, @MessageBody() { seq, ts, metrics }: Telemetry) {
    await lastValueFrom(this.storer.emit('reading', { deviceId, ts, metrics }));
    return { type: 'ack', upTo: seq };
  }
}

@Module({
  imports: [
    ClientsModule.register([
      {
        name: 'STORER',
        transport: Transport.RMQ,
        options: { urls: [AMQP_URL], queue: 'readings', queueOptions: { durable: true }, persistent: true },
      },
    ]),
  ],
  providers: [TelemetryGateway],
})
class GatewayModule {}

const app = await NestFactory.create(GatewayModule, { logger: ['error'] });
const messageParser = (data: Buffer) => {
  const message = JSON.parse(data.toString('utf8')) as Telemetry;
  return { event: message.type, data: message };
};
app.useWebSocketAdapter(new WsAdapter(app, { messageParser }));
app.enableShutdownHooks();
await app.listen(Number(PORT), '127.0.0.1');
console.log('ready');
