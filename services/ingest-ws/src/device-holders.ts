import type { Claims } from '@fleetwire/contracts/access';
import type { Outbound } from './outbound.ts';

/** A socket that commands can be sent to. */
export interface CommandSocket {
  /** Grows with each session: of two, the greater is newer. */
  readonly ordinal: number;
  readonly claims: Claims;
  readonly outbound: Outbound;
}

export interface DeviceHoldersOptions {
  /** Devices of gateways that are remembered; a forgotten one is known again from its next reading on. */
  readonly gatewayDevicesMax: number;
  readonly socketOfDevice: (deviceId: string) => CommandSocket | undefined;
}

/**
 * Which socket the commands of a device go to: its own, else that of the newest gateway that has sent readings of it. Gateways are named by
 * number, so that an entry keeps no closed socket in memory.
 */
export class DeviceHolders {
  readonly #options: DeviceHoldersOptions;
  readonly #gateways = new Map<number, CommandSocket>();
  readonly #newestGateway = new Map<string, number>();
  #ordinals = 0;

  constructor(options: DeviceHoldersOptions) {
    this.#options = options;
  }

  nextOrdinal(): number {
    return (this.#ordinals += 1);
  }

  /** A gateway has sent readings of a device. Called for each frame. */
  note(deviceId: string, socket: CommandSocket): void {
    const known = this.#newestGateway.get(deviceId);
    if (known === socket.ordinal) return;
    if (known !== undefined && known > socket.ordinal && this.#gateways.has(known)) return;
    this.#gateways.set(socket.ordinal, socket);
    this.#newestGateway.set(deviceId, socket.ordinal);
    if (this.#newestGateway.size <= this.#options.gatewayDevicesMax) return;
    const [oldest] = this.#newestGateway.keys();
    this.#newestGateway.delete(oldest!);
  }

  find(deviceId: string): CommandSocket | undefined {
    const own = this.#options.socketOfDevice(deviceId);
    if (own?.outbound.isOpen === true) return own;
    const gateway = this.#gateways.get(this.#newestGateway.get(deviceId) ?? 0);
    return gateway?.outbound.isOpen === true ? gateway : undefined;
  }

  ended({ ordinal }: CommandSocket): void {
    this.#gateways.delete(ordinal);
  }
}
