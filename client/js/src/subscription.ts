// Reading a channel: messages for one loop, and events about them.

import { emitter } from "./emitter.ts";
import { BadRequestError, ClosedError } from "./errors.ts";
import { startFeed } from "./feed.ts";
import type { Host } from "./feed.ts";
import type { GapReason } from "./link.ts";
import { Message } from "./message.ts";
import { bad, count } from "./options.ts";
import type { Position } from "./position.ts";
import { Queue } from "./queue.ts";
import { parseStart } from "./start.ts";
import type { From } from "./start.ts";

/** What a subscription gets. Absent: every message from now on. */
export interface SubscribeOptions {
  /** Where to begin. Absent: "live". */
  readonly from?: From | undefined;
  /**
   * "reliable": every message, in order, once, and a `gap` for those that do not exist any more.
   * "latest": a consumer that is behind gets only the newest, or the newest of each key. Absent: reliable.
   */
  readonly mode?: "reliable" | "latest" | undefined;
  /** Takes messages by datagram, where the carrier has them: some get lost. Only with mode "latest". Absent: false. */
  readonly datagram?: boolean | undefined;
  /** Begins after every publish acknowledged before: a round trip more to the channel's home. Absent: false. */
  readonly barrier?: boolean | undefined;
  /**
   * Bytes that may be on the way and unread, to begin with. It doubles, up to 1 MiB, for a consumer
   * that keeps up with what its window lets through. Absent: the client's.
   */
  readonly window?: number | undefined;
}

/** Messages between `after` and `next` will not come; `next` is the next position that can. */
export interface Gap {
  readonly after: Position;
  readonly next: Position;
  /** Retention removed them, or newer ones of the same keys replaced them, or the channel's continuity was broken. */
  readonly reason: GapReason;
  /** Continuity was broken: messages beyond `after` that were taken before may not exist any more. */
  readonly reset: boolean;
}

/** The subscription stands. */
export interface Subscribed {
  /** Every message after it follows. */
  readonly position: Position;
  /** The channel's newest message at that time. */
  readonly head: Position;
  /** It stood before, and goes on. */
  readonly resumed: boolean;
}

/** What a subscription tells. */
export interface SubscriptionEvents {
  /** When the loop asks for the message after the gap: all those before it were taken. */
  gap: Gap;
  /** As soon as it stands, each time; messages may wait that came before. */
  subscribed: Subscribed;
  /** At once: the way from the edge to the channel's home was lost, or stands again. Nothing is lost by it. */
  status: { readonly state: "lost" | "restored" };
  /** As soon as nothing more comes; messages may wait that are still delivered. error: what the loop will throw; undefined: nothing. */
  end: { readonly error: Error | undefined };
}

/**
 * A running subscription, and the async iterator of its messages, for one loop. It begins at once,
 * and goes on over lost sessions until the loop is left, `close` is called, the relay refuses it or
 * the client is closed; then the loop throws why. What comes waits in memory until it is taken, as
 * many bytes as the window and one message at most: a consumer that is slow, or missing, holds up
 * nobody but itself.
 */
export interface Subscription extends AsyncIterableIterator<Message> {
  readonly channel: string;
  /** Messages by datagram that were dropped for newer ones of other keys: those that waited were more than the window. */
  readonly dropped: number;
  /** Calls fn at each event of that name; the function returned ends that. What fn throws is reported as an uncaught error. */
  on<K extends keyof SubscriptionEvents>(name: K, fn: (event: SubscriptionEvents[K]) => void): () => void;
  /** Resolves when it stands for the first time; rejects with what ended it before. */
  subscribed(): Promise<{ readonly position: Position; readonly head: Position }>;
  /** Ends it; what waits is dropped, and the loop ends. */
  close(): void;
  /** For one loop at a time: another throws BadRequestError. */
  [Symbol.asyncIterator](): this;
  /** The next message. Several calls are served in their order. */
  next(): Promise<IteratorResult<Message, undefined>>;
  /** Ends it, as leaving the loop does. */
  return(): Promise<IteratorResult<Message, undefined>>;
}

interface Call<T = IteratorResult<Message, undefined>> {
  resolve(r: T): void;
  reject(e: Error): void;
}

/** limit: messages; 0: endless. Throws BadRequestError, or what the client ended with. */
export function subscribe(host: Host, channel: string, options: SubscribeOptions, limit = 0): Subscription {
  if (Object(options) !== options) bad("options", options, 'an object, as { from: "start" }');
  const { from = "live", mode = "reliable", datagram = false, barrier = false } = options;
  if (mode !== "reliable" && mode !== "latest") bad("mode", mode, '"reliable" or "latest"');
  const latest = mode === "latest";
  if (datagram && !latest) bad("datagram", datagram, 'mode "latest" with it');

  const events = emitter<SubscriptionEvents>();
  const queue = new Queue();
  const waiting: Call[] = []; // the oldest first; only while the queue is empty
  let over = false;
  let error: Error | undefined;
  let looped = false;
  let dropped = 0;
  let first!: Call<{ position: Position; head: Position }>;
  const standing = new Promise<{ position: Position; head: Position }>((resolve, reject) => {
    first = { resolve, reject };
  });
  standing.catch(() => {});

  const feed = startFeed(host, { channel, from: parseStart(from), latest, limit, barrier, own: true, datagram }, count("window", options.window, host.settings.window, 1), {
    held: () => queue.bytes,
    message(at, body, free) {
      const m = new Message(channel, at, queue.own(body));
      // No message is free, so that any number of them is bounded.
      queue.put(m, body.length || 1, latest ? (m.key ?? "") : undefined);
      waiting.shift()?.resolve({ value: take()!, done: false });
      while (free && queue.bytes > feed.window.size && queue.drop()) dropped++;
    },
    hole(h) {
      queue.hole(h);
      if (waiting.length) take();
    },
    stands(at, resumed) {
      first.resolve(at);
      events.emit("subscribed", { ...at, resumed });
    },
    status: (state) => events.emit("status", { state }),
    end(err) {
      over = true;
      error = err;
      first.reject(err ?? new ClosedError(`subscription to ${channel}: closed`));
      for (const call of waiting.splice(0)) last(call);
      events.emit("end", { error: err });
    },
  });

  /** Takes the next message, and tells of what is missing before it. */
  function take(): Message | undefined {
    for (let p; (p = queue.take()); ) {
      if (!p.hole) {
        feed.taken(p.size);
        return p.message;
      }
      events.emit("gap", { ...p.hole, reset: p.hole.reason === "epoch" });
    }
    return undefined;
  }

  /** Answers a call of next after the end. */
  function last({ resolve, reject }: Call): void {
    if (error) reject(error);
    else resolve({ value: undefined, done: true });
  }

  return {
    channel,
    get dropped() {
      return dropped;
    },
    on: events.on,
    subscribed: () => standing,
    close() {
      while (queue.take());
      over = true;
      error = undefined;
      feed.finish();
    },
    [Symbol.asyncIterator]() {
      if (looped && !over) throw new BadRequestError(`subscription to ${channel}: another loop reads it: subscribe again`);
      looped = true;
      return this;
    },
    next() {
      const value = take();
      if (value) return Promise.resolve({ value, done: false });
      return new Promise((resolve, reject) => {
        const call = { resolve, reject };
        if (over) return last(call);
        feed.window.waited = true;
        waiting.push(call);
      });
    },
    async return() {
      this.close();
      return { value: undefined, done: true };
    },
  };
}
