// A client with links that a test writes by hand: what a relay would send is said call by call.

import { Code } from "../src/codes.ts";
import type { Host, Running } from "../src/feed.ts";
import type { GapReason, LinkLike, LinkSubscription, SubscribeRequest, SubscriptionSink } from "../src/link.ts";
import { encodeMessage } from "../src/message.ts";
import type { Message } from "../src/message.ts";
import type { Position } from "../src/position.ts";
import type { End } from "../src/session.ts";
import type { Subscription } from "../src/subscription.ts";

export function at(epoch: number, seq: number): Position {
  return { epoch, seq };
}

export function endOf(code: number, more: Partial<End> = {}): End {
  return { code, retryAfter: 0, deadline: 0, detail: "", alternatives: [], last: undefined, ...more };
}

/** A subscription as the relay of a test sees it. */
export class FakeSubscription implements LinkSubscription {
  readonly request: SubscribeRequest;
  readonly sink: SubscriptionSink;
  /** Bytes that may still be sent. */
  credit: number;
  grants: number[] = [];
  closed = false;
  ended = false;

  constructor(request: SubscribeRequest, sink: SubscriptionSink) {
    this.request = request;
    this.sink = sink;
    this.credit = request.credit;
  }
  grant(bytes: number): void {
    this.grants.push(bytes);
    this.credit += bytes;
  }
  close(): void {
    this.closed = true;
  }
  get open(): boolean {
    return !this.closed && !this.ended;
  }

  ok(position: Position, head = position): void {
    this.sink.ok(position, head);
  }
  send(epoch: number, seq: number, body = encodeMessage({ text: String(seq) }, 0), free = false): void {
    if (this.closed) return;
    if (!free) this.credit -= body.length;
    this.sink.message(epoch, seq, body, free);
  }
  /** Sends messages of epoch 1. */
  run(from: number, to: number): void {
    for (let seq = from; seq <= to; seq++) this.send(1, seq);
  }
  gap(after: Position, next: Position, reason: GapReason): void {
    if (!this.closed) this.sink.gap(after, next, reason);
  }
  end(code: number, more: Partial<End> = {}): void {
    if (!this.open) return;
    if (!more.deadline) this.ended = true;
    this.sink.end(endOf(code, more));
  }
}

export class FakeLink implements LinkLike {
  readonly carrier = "websocket" as const;
  readonly welcome = undefined;
  onRoom: (() => void) | undefined;
  end: End | undefined;
  subs: FakeSubscription[] = [];
  /** Subscriptions that joined and have not left. */
  joined = 0;

  get sub(): FakeSubscription {
    return this.subs.at(-1)!;
  }
  subscribe(r: SubscribeRequest, sink: SubscriptionSink): LinkSubscription {
    const s = new FakeSubscription(r, sink);
    this.subs.push(s);
    return s;
  }
  /** The session ends. */
  lose(): void {
    this.end = endOf(Code.link_lost);
    for (const s of this.subs) s.end(Code.link_lost);
  }
  publish(): boolean {
    throw new Error("nobody publishes here");
  }
  refresh(): Promise<number> {
    throw new Error("nobody refreshes here");
  }
  ping(): Promise<number> {
    throw new Error("nobody pings here");
  }
  close(): void {
    this.lose();
  }
}

export class FakeHost implements Host {
  settings = { window: 65_536 };
  over: Error | undefined;
  feeds = new Set<Running>();
  #link: FakeLink | undefined;

  constructor(link?: FakeLink) {
    this.#link = link;
  }
  check(): void {
    if (this.over) throw this.over;
  }
  link(): FakeLink | undefined {
    return this.#link;
  }
  /** Makes l the link to use. */
  use(l: FakeLink | undefined): FakeLink | undefined {
    this.#link = l;
    for (const f of [...this.feeds]) f.open();
    return l;
  }
  close(err: Error): void {
    this.over = err;
    for (const f of [...this.feeds]) f.finish(err);
  }
  join(l: LinkLike): void {
    (l as FakeLink).joined++;
  }
  part(l: LinkLike): void {
    (l as FakeLink).joined--;
  }
}

/** Everything that a subscription tells, in its order: "5" for a message, "gap 1:5-1:8 trimmed", "subscribed 1:4", "lost", "end". */
export function record(sub: Subscription): string[] {
  const log: string[] = [];
  const p = ({ epoch, seq }: Position) => `${epoch}:${seq}`;
  sub.on("gap", (g) => log.push(`gap ${p(g.after)}-${p(g.next)} ${g.reason}${g.reset ? " reset" : ""}`));
  sub.on("subscribed", (s) => log.push(`${s.resumed ? "resumed" : "subscribed"} ${p(s.position)}`));
  sub.on("status", (s) => log.push(s.state));
  sub.on("end", (e) => log.push(e.error ? `end ${e.error.name}` : "end"));
  return log;
}

/** Takes messages into log as they come, waiting `pause` after each; resolves with what the loop threw. */
export async function follow(sub: AsyncIterable<Message>, log: string[], pause?: () => Promise<void>): Promise<unknown> {
  try {
    for await (const m of sub) {
      log.push(m.text());
      await pause?.();
    }
    log.push("done");
    return undefined;
  } catch (e) {
    log.push(`threw ${(e as Error).name}`);
    return e;
  }
}
