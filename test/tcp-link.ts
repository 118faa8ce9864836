import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A way to a server that can be cut as a network is: nothing passes, and nobody is told. */
export interface TcpLink {
  readonly port: number;
  /** From now on bytes go nowhere, and new connections get no answer. */
  cut(): void;
  /** What was held up arrives, as it does when a network comes back in time. */
  heal(): void;
  close(): Promise<void>;
}

/** A link to a port of this machine. */
export async function startTcpLink(target: number): Promise<TcpLink> {
  const link = new Link(target);
  await link.listen();
  return link;
}

class Link implements TcpLink {
  readonly #target: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #held: Socket[] = [];
  #isCut = false;

  constructor(target: number) {
    this.#target = target;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
      this.#accept(socket),
    );
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.pause();
  }

  heal(): void {
    this.#isCut = false;
    for (const socket of this.#sockets) socket.resume();
    const held = this.#held;
    this.#held = [];
    for (const socket of held) this.#join(socket);
  }

  async close(): Promise<void> {
    for (const socket of [...this.#sockets, ...this.#held]) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (this.#isCut) this.#held.push(socket);
    else this.#join(socket);
  }

  #join(near: Socket): void {
    if (near.destroyed) return;
    const far = connect({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.on('data', (bytes) => {
        // The pace of the slower side is the pace of both.
        if (!to.write(bytes)) from.pause();
      });
      to.on('drain', () => {
        if (!this.#isCut) from.resume();
      });
      from.on('end', () => to.end());
      from.on('error', () => from.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
    if (this.#isCut) this.cut();
    else near.resume();
  }
}
