// Runs where the client runs, a page, a worker or a Node: a client of the relay that writes down
// all that happens to it. Whoever loads it has set globalThis.meridian.
import type * as SDK from "../../src/index.ts";
import type { Plan, Report, SubLog } from "../plan.ts";

declare const meridian: typeof SDK;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const steady = performance.now.bind(performance); // tests set the page's clocks

export class Probe {
  readonly #report: Report = { states: [], subs: [], acks: [], refusals: [], errors: [], visits: 0 };
  readonly #relay: SDK.Relay;
  #publishing = false;
  #idle = Promise.resolve();

  constructor(plan: Plan) {
    globalThis.addEventListener?.("error", (e) => this.#report.errors.push(`error: ${(e as ErrorEvent).message}`));
    globalThis.addEventListener?.("unhandledrejection", (e) =>
      this.#report.errors.push(`unhandled rejection: ${(e as PromiseRejectionEvent).reason}`));
    globalThis.addEventListener?.("pageshow", (e) => {
      if ((e as PageTransitionEvent).persisted) this.#report.visits++;
    });
    this.#relay = meridian.connect(plan.url, {
      ...plan.options,
      getToken: async () => {
        const response = await fetch(plan.token);
        if (!response.ok) throw new Error(`token: status ${response.status}`);
        return response.text();
      },
    });
    this.#relay.on("state", ({ from, to, reason, edge, carrier }) =>
      this.#report.states.push({ from, to, reason: reason && String(reason), edge, carrier, at: steady() }));
    for (const s of plan.subs) this.subscribe(s);
  }

  subscribe({ channel, pause, options }: Plan["subs"][number]): void {
    const log: SubLog = { channel, got: [], gaps: [], status: [], subscribed: 0, ended: undefined };
    this.#report.subs.push(log);
    const sub = this.#relay.channel(channel).subscribe(options as SDK.SubscribeOptions);
    sub.on("gap", (gap) => log.gaps.push({ after: gap.after, next: gap.next, reason: gap.reason, reset: gap.reset }));
    sub.on("status", ({ state }) => log.status.push(state));
    sub.on("subscribed", () => log.subscribed++);
    if (pause === "never") this.#untaken.set(channel, () => void this.#take(sub, log, 0));
    else void this.#take(sub, log, pause ?? 0);
  }
  readonly #untaken = new Map<string, () => void>();

  /** Begins to take from the subscriptions that nobody took from. */
  takeAll(): void {
    for (const take of this.#untaken.values()) take();
    this.#untaken.clear();
  }

  async #take(sub: SDK.Subscription, log: SubLog, pause: number): Promise<void> {
    try {
      for await (const m of sub) {
        log.got.push([m.position.epoch, m.position.seq, Number.parseInt(m.text(), 10), steady()]);
        if (pause) await sleep(pause);
      }
      log.ended = "done";
    } catch (err) {
      log.ended = String(err);
    }
  }

  /** Publishes a message every so many milliseconds, until stop. */
  publish(channel: string, every: number): void {
    this.#publishing = true;
    const channelOf = this.#relay.channel(channel);
    const open = new Set<Promise<void>>();
    this.#idle = (async () => {
      for (let n = 1; this.#publishing; n++) {
        const text = `mine ${n}`;
        const one = channelOf.publish({ text }).then(
          ({ position }) => void this.#report.acks.push([position.epoch, position.seq, text]),
          (err) => void this.#report.refusals.push([text, String(err)]),
        );
        open.add(one);
        void one.then(() => open.delete(one));
        await sleep(every);
      }
      await Promise.all(open);
    })();
  }

  /** Ends publish; resolves when every message has its outcome. */
  async stop(): Promise<void> {
    this.#publishing = false;
    await this.#idle;
  }

  tell(): Report {
    return this.#report;
  }

  async close(): Promise<string> {
    await this.#relay.close();
    return this.#relay.state;
  }
}

let probe: Probe;

/** Carries out what a test asks for: `start`, or a method of the probe. */
export async function perform(name: string, args: unknown[]): Promise<unknown> {
  if (name === "start") return void (probe = new Probe(args[0] as Plan));
  return await (probe[name as keyof Probe] as (...args: unknown[]) => unknown)(...args);
}

Object.assign(globalThis, { perform });
