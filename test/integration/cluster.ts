import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type ApiClient, type ClientOptions, createClient } from '../../client/api-client.ts';
import { type Balancer, balancerKinds, haveBalancers, startBalancer } from '../balancers.ts';
import { eventually } from '../eventually.ts';
import { freePort } from '../free-port.ts';
import { type PostgresPair, startPostgresPair } from '../postgres-pair.ts';
import {
  type Installation,
  type LoggedIn,
  logIn,
  makeInstallation,
  type RunningService,
  startService,
} from '../service.ts';
import { startTcpLink, type TcpLink } from '../tcp-link.ts';
import { environmentOf, fillTemplate } from '../template.ts';

const nodeNames = ['node1', 'node2', 'node3'] as const;

/** One of several services on one database, a process of its own on folders of its own. */
export interface ClusterNode {
  readonly name: string;
  readonly url: string;
  readonly port: number;
  readonly publicPort: number;
  readonly installation: Installation;
  /** Everything it printed in all its lives. */
  output(): string;
  start(): Promise<RunningService>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
  /** Stops the process where it stands (SIGSTOP), and lets it go on. */
  freeze(): void;
  wake(): void;
  /** Cuts it off from both database servers, and joins it again. */
  cut(): void;
  heal(): void;
}

/** Three nodes behind nginx and haproxy, on a primary and its synchronous standby. */
export interface Cluster {
  readonly databases: PostgresPair;
  readonly nodes: readonly ClusterNode[];
  readonly balancers: readonly Balancer[];
  readonly login: LoggedIn;
  /** A client of the administrator, or of whom the options name; closed with the test. */
  client(url: string, options?: Partial<ClientOptions>): ApiClient;
}

/** Starts all of it; undefined where a program is not here, and the test is skipped then. */
export async function startCluster(t: TestContext): Promise<Cluster | undefined> {
  if (!haveBalancers(t)) return undefined;
  const databases = await startPostgresPair(t);
  if (databases === undefined) return undefined;
  // Registered first, so it ends last: nodes that stop still write.
  t.after(() => databases.remove());
  const nodes: Node[] = [];
  for (const name of nodeNames) nodes.push(await Node.make(t, name, databases));
  const [first, ...others] = nodes as [Node, ...Node[]];
  const service = await first.start();
  const login = await logIn(t, service);
  for (const node of others) {
    node.takeRootKey(first.installation);
    await node.start();
  }
  const { folder, data } = first.installation;
  const balancers = [];
  for (const kind of balancerKinds) {
    const ca = join(data, 'tls', 'ca.pem');
    balancers.push(await startBalancer(t, kind, join(folder, kind), nodes, ca));
  }
  const client: Cluster['client'] = (url, options = {}) => {
    const { token, caPem } = login;
    const made = createClient({ url, caPem, token, ...options });
    t.after(() => made.close());
    return made;
  };
  for (const { url } of balancers) await eventually(() => answers(client(url)));
  return { databases, nodes, balancers, login, client };
}

async function answers(client: ApiClient): Promise<boolean> {
  return client.call('status').then(
    () => true,
    () => false,
  );
}

class Node implements ClusterNode {
  readonly name: string;
  readonly port: number;
  readonly publicPort: number;
  readonly installation: Installation;
  readonly #t: TestContext;
  readonly #links: readonly TcpLink[];
  #service: RunningService | undefined;
  #outputs: (() => string)[] = [];

  /** With a link of its own to each database server. */
  static async make(t: TestContext, name: string, databases: PostgresPair): Promise<Node> {
    const { ports } = databases;
    const links = [await startTcpLink(ports.db1), await startTcpLink(ports.db2)];
    t.after(() => Promise.all(links.map((link) => link.close())));
    const environment = environmentOf(
      fillTemplate('node.environment', {
        PASSWORD: databases.password,
        DATABASE_1: `localhost:${links[0]!.port}`,
        DATABASE_2: `localhost:${links[1]!.port}`,
        DATABASE_CA: databases.caFile,
        LISTEN: '127.0.0.1',
        NAME: 'keys.example.test',
        PKI_NAME: 'pki.example.test',
      }),
    );
    return new Node(t, name, links, environment, await freePort(), await freePort());
  }

  private constructor(
    t: TestContext,
    name: string,
    links: readonly TcpLink[],
    environment: Readonly<Record<string, string>>,
    port: number,
    publicPort: number,
  ) {
    this.#t = t;
    this.name = name;
    this.#links = links;
    this.port = port;
    this.publicPort = publicPort;
    this.installation = makeInstallation(t, {
      ...environment,
      KEYREEVE_PORT: String(port),
      KEYREEVE_HTTP_PORT: String(publicPort),
    });
  }

  get url(): string {
    return `https://localhost:${this.port}`;
  }

  output(): string {
    return this.#outputs.map((output) => output()).join('');
  }

  /** Nodes of one installation have one root key: an operator brings it to each. */
  takeRootKey({ seal }: Installation): void {
    mkdirSync(this.installation.seal, { mode: 0o700 });
    copyFileSync(join(seal, 'root.key'), join(this.installation.seal, 'root.key'));
  }

  async start(): Promise<RunningService> {
    this.#service = await startService(this.#t, this.installation);
    this.#outputs.push(this.#service.output);
    return this.#service;
  }

  async kill(): Promise<void> {
    await this.#service?.stop('SIGKILL');
  }

  async stop(): Promise<number | null> {
    assert.ok(this.#service !== undefined);
    return this.#service.stop();
  }

  freeze(): void {
    this.#service?.process.kill('SIGSTOP');
  }

  wake(): void {
    this.#service?.process.kill('SIGCONT');
  }

  cut(): void {
    for (const link of this.#links) link.cut();
  }

  heal(): void {
    for (const link of this.#links) link.heal();
  }
}
