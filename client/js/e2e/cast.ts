// Sets a scene: a stage, a page with a client on it, and what both say while something happens.
import assert from "node:assert/strict";
import type { Page } from "puppeteer-core";
import type { Carrier } from "../src/session.ts";
import type { Actor } from "./actor.ts";
import { inOrder, onceEach } from "./judge.ts";
import type { Plan, Report } from "./plan.ts";
import type { Site, Tokens } from "./site.ts";
import { Stage } from "./stage.ts";
import type { Fed, Programs, StageOptions } from "./stage.ts";

export interface House {
  readonly programs: Programs;
  readonly site: Site;
  /** Makes a place for a client. before: what runs there before anything else. */
  readonly actor: (before?: () => void) => Promise<Actor>;
}

export interface SceneOptions extends StageOptions {
  readonly carriers: readonly Carrier[];
  /** Runs in the page before anything else of it. */
  readonly before?: () => void;
  /** Of tokens, ms. Absent: an hour. */
  readonly ttl?: number;
  /** Namespaces of the channels of the hasty and of the slow consumer. */
  readonly hasty?: string;
  readonly slow?: string;
  /** Over WebSocket without TLS. */
  readonly plain?: boolean;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until f returns something, at most `within` ms. */
export async function until<T>(what: string, f: () => Promise<T | false | undefined>, within = 30_000): Promise<T> {
  const end = Date.now() + within;
  for (;;) {
    const got = await f();
    if (got) return got;
    assert.ok(Date.now() < end, `after ${within} ms it is not so that ${what}`);
    await sleep(50);
  }
}

/**
 * One page with one client that reads two channels, one as fast as it can and one with a second
 * for each message, and publishes to a third; and the stage that it talks to.
 */
export class Scene {
  readonly stage: Stage;
  readonly tokens: Tokens;
  readonly #actor: Actor;
  readonly #channels: readonly [hasty: string, slow: string];
  #feeds: (() => Promise<Fed>)[] = [];

  static async open(house: House, o: SceneOptions): Promise<Scene> {
    const stage = await Stage.start(house.programs, o);
    let actor: Actor | undefined;
    try {
      actor = await house.actor(o.before);
      const [token, tokens] = house.site.tokens(stage);
      tokens.ttl = o.ttl ?? tokens.ttl;
      const channels = [`${o.hasty ?? "chat"}:hasty`, `${o.slow ?? "chat"}:slow`] as const;
      const edge = stage.edges[0]!;
      await actor.call("start", {
        url: edge.url, token,
        options: { certHashes: stage.hashes, carriers: o.carriers, ...(o.plain ? { webSocketURL: edge.http } : {}) },
        subs: [{ channel: channels[0] }, { channel: channels[1], pause: 1000 }],
      } satisfies Plan);
      const scene = new Scene(stage, actor, tokens, channels);
      await until("both subscriptions stand", async () => (await scene.report()).subs.every((s) => s.subscribed > 0));
      return scene;
    } catch (err) {
      await actor?.close();
      await stage.end();
      throw new Error(`${(err as Error).message}; the stage wrote: ${stage.complaints}`, { cause: err });
    }
  }

  private constructor(stage: Stage, actor: Actor, tokens: Tokens, channels: readonly [string, string]) {
    this.stage = stage;
    this.tokens = tokens;
    this.#actor = actor;
    this.#channels = channels;
  }

  /** The page, where the client is on one. */
  get page(): Page {
    return this.#actor.page!;
  }

  /** Has the probe do something. */
  call<T>(method: string, ...args: unknown[]): Promise<T> {
    return this.#actor.call<T>(method, ...args);
  }

  report(): Promise<Report> {
    return this.call("tell");
  }

  /** Begins to publish: at the home 50 messages a second to the one and one in 1.1 s to the other channel, and in the page 20 a second. */
  async play(): Promise<void> {
    this.#feeds = [this.stage.feed(this.#channels[0], 100, 5), this.stage.feed(this.#channels[1], 1100)];
    await this.call("publish", "chat:mine", 50);
    await until("messages come", async () => (await this.report()).subs.every((s) => s.got.length > 0));
  }

  /** Waits until messages come that are published from now on. */
  async goesOn(within = 30_000): Promise<void> {
    const { n } = await this.stage.publish(this.#channels[0], 1);
    await until("messages come again", async () => (await this.report()).subs[0]!.got.some((g) => g[2] >= n), within);
  }

  /** Ends the feeds at the home. */
  async rest(): Promise<Fed[]> {
    return (this.#fed ??= await Promise.all(this.#feeds.map((stop) => stop())));
  }
  #fed: Fed[] | undefined;

  /** Waits until the page has all that the feeds have published. */
  async settled(): Promise<void> {
    const last = await this.rest();
    await until("what was published has come", async () => {
      const { subs } = await this.report();
      return last.every(({ n }, i) => subs[i]!.got.at(-1)?.[2] === n);
    });
  }

  /** Lets everything arrive, judges it, and closes the client. Of a home that died the page's own publishes are gone: those of the last are judged. */
  async finish(): Promise<Report> {
    await this.rest();
    const last = await Promise.all(this.#channels.map(async (channel) => this.stage.publish(channel, 1)));
    await this.call("stop");
    await until("the last messages came", async () => {
      const { subs } = await this.report();
      return last.every(({ n }, i) => subs[i]!.got.at(-1)?.[2] === n || subs[i]!.ended !== undefined);
    }, 60_000);
    const kept = await this.stage.history("chat:mine");
    const report = await this.report();
    assert.equal(await this.call("close"), "closed");
    last.forEach(({ n }, i) => inOrder(report.subs[i]!, n));
    onceEach(report, kept, report.acks.at(-1)?.[0]);
    assert.deepEqual((await this.report()).errors, []);
    return report;
  }

  /** The error with all that is known beside it. */
  async explain(err: unknown): Promise<Error> {
    const r = await this.report().catch(() => undefined);
    const all = r && { ...r, subs: r.subs.map((s) => ({ ...s, count: s.got.length, got: s.got.slice(-3) })), acks: r.acks.slice(-3) };
    return new Error(`${(err as Error).message}\nthe page: ${JSON.stringify(all)}\nthe stage wrote: ${this.stage.complaints}`, { cause: err });
  }

  async close(): Promise<void> {
    await this.#actor.close();
    await this.stage.end();
  }
}
