import { type Claims, mayRead } from '@fleetwire/contracts/access';
import { type PlainControl, parsePlainControl, plainControlKey } from '@fleetwire/contracts/plain-dialect';
import type { LiveBroker } from '@fleetwire/live/live-broker';
import type { Outbound } from './outbound.ts';

interface PlainClient {
  readonly claims: Claims;
  readonly outbound: Outbound;
}

/** Tells commands to the sockets of the plain dialect on all instances. */
export class PlainControls {
  readonly #broker: Pick<LiveBroker, 'publishTransient'>;
  readonly #clients = new Set<PlainClient>();

  /** @param bytesMax beyond it a client that does not read is told no commands */
  constructor({ edge, broker, bytesMax }: { edge: string; broker: LiveBroker; bytesMax: number }) {
    this.#broker = broker;
    broker.receiveTransient(`${plainControlKey}.${edge}`, plainControlKey, (content) => {
      const control = parsePlainControl(content);
      if (!control.ok) return;
      for (const { claims, outbound } of this.#clients)
        if (mayRead(claims, control.value.target) && outbound.queuedBytes <= bytesMax) outbound.send(control.value);
    });
  }

  add(client: PlainClient): void {
    this.#clients.add(client);
  }

  remove(client: PlainClient): void {
    this.#clients.delete(client);
  }

  publish(control: PlainControl): void {
    this.#broker.publishTransient(plainControlKey, control);
  }
}
