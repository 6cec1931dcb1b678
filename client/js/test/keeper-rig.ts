// A keeper over links that answer as a test says.
import { mock } from "node:test";
import type { TestContext } from "node:test";

import { errorOf } from "../src/errors.ts";
import type { Attempt } from "../src/keeper.ts";
import { keep } from "../src/keeper.ts";
import type { Keeper } from "../src/keeper.ts";
import type { LinkSubscription, Welcome } from "../src/link.ts";
import type { LinkEvents } from "../src/open.ts";
import type { Carrier, End } from "../src/session.ts";
import type { State } from "../src/state.ts";
import { keepToken } from "../src/tokens.ts";
import type { GetToken } from "../src/tokens.ts";
import type { VirtualTime } from "./time.ts";
import { virtualTime } from "./time.ts";

export function end(code: number, o: Partial<End> = {}): End {
  return { code, retryAfter: 0, deadline: 0, detail: "", alternatives: [], last: undefined, ...o };
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A link without a relay. */
export class FakeLink {
  carrier: Carrier = "websocket";
  welcome: Welcome | undefined;
  end: End | undefined;
  heard = performance.now();
  onRoom: (() => void) | undefined;
  closedWith: number | undefined;
  closedAt = 0;
  pings = 0;
  tokens: string[] = []; // of refreshes
  /** Milliseconds of a round trip; undefined: no pong. */
  rtt: number | undefined = 10;
  refreshing: (token: string) => Promise<number> = async () => 0;
  limits = { payload: 0, unanswered: 0, subscriptions: 0, streams: 0 };
  tokenExpires = 0;
  readonly attempt: Attempt;
  readonly events: LinkEvents;

  constructor(attempt: Attempt, events: LinkEvents) {
    this.attempt = attempt;
    this.events = events;
  }

  /** The relay says Welcome. */
  greet(): void {
    if (this.end) return;
    this.welcome = { session: "s", edge: "edge", region: "home", limits: this.limits, tokenExpires: this.tokenExpires };
    this.events.welcome(this.welcome);
  }

  /** The session ends. */
  finish(e: End): void {
    if (this.end) return;
    this.end = e;
    queueMicrotask(() => this.events.closed(e));
  }

  publish(): boolean {
    return true;
  }
  subscribe(): LinkSubscription {
    return { grant() {}, close() {} };
  }
  refresh(token: string): Promise<number> {
    this.tokens.push(token);
    return this.refreshing(token);
  }
  async ping(): Promise<number> {
    this.pings++;
    const { rtt } = this;
    if (rtt === undefined) return new Promise(() => {});
    await sleep(rtt);
    if (this.end) throw errorOf(this.end, "ping");
    this.heard = performance.now();
    return rtt;
  }
  close(code: number): void {
    if (this.end) return;
    this.closedWith = code;
    this.closedAt = performance.now();
    this.finish(end(code));
  }
}

/** What happens to the n-th attempt, from 0: throws, waits, or leaves the link as it is and welcomes it. */
export type Prepare = (n: number, link: FakeLink) => unknown;

export interface Rig {
  readonly keeper: Keeper;
  readonly time: VirtualTime;
  readonly links: FakeLink[];
  /** performance.now() of each attempt. */
  readonly dials: number[];
  readonly states: { to: State; reason: Error | undefined; at: number }[];
  readonly failed: Error[];
  /** Changes of keeper.link. */
  readonly moves: (FakeLink | undefined)[];
  busy: boolean;
  offline: boolean;
  /** Shows the page, or hides it. */
  show(shown: boolean): void;
  forgotten: number;
  /** The states without repetition. */
  path(): State[];
}

/** Starts a keeper in virtual time. */
export function rig(t: TestContext, prepare: Prepare = () => {}, o: { getToken?: GetToken; token?: string; least?: number; most?: number; hidden?: boolean; deaf?: boolean } = {}): Rig {
  const virtual = virtualTime(t);
  // In small steps, or a pong and the doubt about it come in one turn.
  const time: VirtualTime = {
    setWall: virtual.setWall,
    async advance(ms) {
      for (; ms > 20_000; ms -= 20_000) await virtual.advance(20_000);
      await virtual.advance(ms);
    },
  };
  const r: Rig = {
    time, keeper: undefined as never, links: [], dials: [], states: [], failed: [], moves: [], busy: true, offline: false, forgotten: 0,
    show(shown) {
      hidden = !shown;
      keeper.page("visibilitychange");
    },
    path: () => r.states.map((s) => s.to).filter((to, i, all) => to !== all[i - 1]),
  };
  let hidden = o.hidden ?? false;
  let seed = 1;
  const random = mock.method(Math, "random", () => (seed = (seed * 16807) % 2147483647) / 2147483647);
  const page = { configurable: true, value: { get visibilityState() { return hidden ? "hidden" : "visible"; } } };
  Object.defineProperty(globalThis, "document", page);
  Object.defineProperty(navigator, "onLine", { configurable: true, get: () => !r.offline });
  t.after(() => {
    random.mock.restore();
    delete (globalThis as { document?: unknown }).document;
    delete (navigator as { onLine?: unknown }).onLine;
  });
  const keeper = keep(
    {
      async open(attempt, events) {
        const link = new FakeLink(attempt, events);
        const n = r.dials.push(performance.now()) - 1;
        r.links[n] = link;
        // As a carrier does: given up, it rejects.
        const aborted = new Promise<never>((_, reject) => attempt.signal.addEventListener("abort", () => reject(new Error("given up"))));
        aborted.catch(() => {});
        const ready = (async () => prepare(n, link))();
        const what = await (o.deaf ? ready : Promise.race([aborted, ready]));
        if (what !== "silent") queueMicrotask(() => link.greet());
        return link;
      },
      forget: () => void r.forgotten++,
      busy: () => r.busy,
      moved: () => {
        const link = keeper.link as FakeLink | undefined;
        if (link !== r.moves.at(-1)) r.moves.push(link);
      },
      state: (to, reason) => void r.states.push({ to, reason, at: performance.now() }),
      fail: (err) => {
        r.failed.push(err);
        keeper.stop();
      },
    },
    "https://a", keepToken(o.token ?? "", o.getToken), { least: o.least ?? 250, most: o.most ?? 30_000 },
  );
  (r as { keeper: Keeper }).keeper = keeper;
  t.after(() => keeper.stop());
  keeper.start();
  return r;
}
