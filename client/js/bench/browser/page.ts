// Runs in the page that is measured. The bundle was loaded before, and has set globalThis.meridian.
import type * as SDK from "../../src/index.ts";
import { bare } from "./bare.ts";

declare const meridian: typeof SDK;

/** Whom to connect to; `options` are connect's, and tokens may come from a URL. */
export interface Where {
  readonly url: string;
  readonly tokenURL?: string;
  readonly options: SDK.ConnectOptions;
}

export interface Reading extends Where {
  readonly channels: readonly string[];
  /** Those that are subscribed to but never taken from. */
  readonly unread: readonly string[];
  /** Those that are taken from without being measured. */
  readonly beside?: readonly string[];
  readonly from: "start" | "live";
}

/** What came of a load; milliseconds. */
export interface Read {
  readonly count: number;
  readonly bytes: number;
  /** From the first call of subscribe to the last message. */
  readonly took: number;
  /** From the first message to the last. */
  readonly between: number;
  /** From the publisher's stamp to the body of the loop, sorted. */
  readonly latencies: { readonly count: number; readonly p50: number; readonly p99: number; readonly most: number };
}

/** Unix time in milliseconds, with fractions. */
const wall = () => performance.timeOrigin + performance.now();
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

let relay: SDK.Relay;
/** State changes after the first session stood. */
let troubles: string[] = [];

async function connect({ url, options, tokenURL }: Where): Promise<void> {
  const getToken = tokenURL && (async () => (await fetch(tokenURL)).text());
  relay = meridian.connect(url, { ...options, ...(getToken ? { getToken } : {}) });
  await new Promise<void>((resolve, reject) => {
    relay.on("state", ({ to, reason }) => {
      if (to === "connected") resolve();
      if (to === "closed") reject(reason ?? new Error("closed"));
    });
  });
  troubles = [];
  relay.on("state", ({ to, reason }) => troubles.push(`${to}: ${reason}`));
}

let got = 0;
let bytes = 0;
let begun = 0;
let first = 0;
let last = 0;
let wanted = 0;
let reached = () => {};
let since = Infinity; // Unix ms: only messages published later count among the latencies
let latencies = new Float64Array(1 << 16);
let measured = 0;
let failed: unknown;

function stampOf(b: Uint8Array): number {
  let micros = 0;
  for (let i = 0; b[i] !== 0x20; i++) micros = micros * 10 + b[i]! - 0x30;
  return micros / 1000;
}

async function take(sub: SDK.Subscription): Promise<void> {
  let seq = 0;
  sub.on("gap", (gap) => {
    failed ??= new Error(`${sub.channel}: gap ${JSON.stringify(gap)}`);
    reached();
  });
  for await (const m of sub) {
    const payload = m.bytes;
    if (seq && m.position.seq !== seq + 1) throw new Error(`${sub.channel}: ${m.position.seq} follows ${seq}`);
    seq = m.position.seq;
    bytes += payload.length;
    if (!got) first = performance.now();
    if (since !== Infinity) {
      const stamp = stampOf(payload);
      if (stamp >= since && measured < latencies.length) latencies[measured++] = wall() - stamp;
    }
    if (++got === wanted) {
      last = performance.now();
      reached();
    }
  }
}

async function drain(sub: SDK.Subscription): Promise<void> {
  for await (const m of sub) if (!m.bytes.length) throw new Error("an empty message");
}

const bench = {
  /** Milliseconds from connect() to the first subscription's standing, n times, each with a session of its own. */
  async connects({ url, options }: Where, n: number): Promise<number[]> {
    const list: number[] = [];
    for (let i = 0; i < n; i++) {
      const start = performance.now();
      const r = meridian.connect(url, options);
      await r.channel("bench:connect").subscribe().subscribed();
      list.push(performance.now() - start);
      await r.close();
      await sleep(10); // its connection goes
    }
    return list;
  },

  /** Connects and subscribes; resolves when everything stands. */
  async open(r: Reading): Promise<void> {
    await connect(r);
    got = bytes = measured = 0;
    since = Infinity;
    failed = undefined;
    begun = performance.now();
    const subs = r.channels.map((c) => relay.channel(c).subscribe({ from: r.from }));
    const rest = [...r.unread, ...(r.beside ?? [])].map((c) => relay.channel(c).subscribe({ from: r.from }));
    for (const s of rest.slice(r.unread.length)) void drain(s);
    for (const s of subs) {
      take(s).catch((e) => {
        failed = e;
        reached();
      });
    }
    await Promise.all([...subs, ...rest].map((s) => s.subscribed()));
  },

  /** From now on, latencies are measured, of at most so many messages. */
  measure(most: number): void {
    latencies = new Float64Array(most);
    measured = 0;
    since = wall();
  },

  /** Resolves when so many messages came since open. */
  async until(count: number): Promise<Read> {
    wanted = count;
    if (got < count) await new Promise<void>((resolve) => (reached = resolve));
    if (failed) throw failed;
    return bench.read();
  },

  read(): Read {
    const sorted = latencies.slice(0, measured).sort();
    const at = (q: number) => sorted[Math.max(0, Math.ceil(q * measured) - 1)] ?? 0;
    return {
      count: got, bytes, took: last - begun, between: last - first,
      latencies: { count: measured, p50: at(0.5), p99: at(0.99), most: at(1) },
    };
  },

  /** Publishes a message every so many milliseconds, for ever. */
  murmur(channel: string, every: number): void {
    const c = relay.channel(channel);
    const json = { name: "murmur" };
    setInterval(() => c.publish({ json }).catch((e) => troubles.push(`publish: ${e}`)), every);
  },

  count: () => got,
  troubles: () => troubles,

  /** Publishes `count` messages of `size` bytes with at most `open` unanswered; milliseconds from the first call to the last acknowledgement. */
  async publish(where: Where, channel: string, count: number, size: number, open: number): Promise<{ ms: number; refused: number; troubles: string[] }> {
    await connect(where);
    const text = "x".repeat(size);
    const c = relay.channel(channel);
    let acknowledged = 0;
    let refused = 0;
    let waiting = 0;
    let wake = () => {};
    const start = performance.now();
    for (let i = 0; i < count; i++) {
      waiting++;
      c.publish({ text }).then(
        () => acknowledged++,
        () => refused++,
      ).then(() => {
        waiting--;
        wake();
      });
      while (waiting >= open) await new Promise<void>((resolve) => (wake = resolve));
    }
    while (waiting) await new Promise<void>((resolve) => (wake = resolve));
    return { ms: performance.now() - start, refused, troubles };
  },

  bare,
  close: () => relay.close(),
};

export type Bench = typeof bench;

Object.assign(globalThis, { bench });
