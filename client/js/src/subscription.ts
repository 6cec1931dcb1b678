// Reading a channel: messages for one loop, and events about them.

import { Emitter } from "./emitter.ts";
import { BadRequestError, ClosedError } from "./errors.ts";
import { Feed } from "./feed.ts";
import type { Host } from "./feed.ts";
import type { GapReason } from "./link.ts";
import { Message } from "./message.ts";
import { bad, count } from "./options.ts";
import type { Position } from "./position.ts";
import { Queue } from "./queue.ts";
import { parseStart } from "./start.ts";
import type { From } from "./start.ts";
import type { Reading } from "./track.ts";

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
 * the client is closed. What comes waits in memory until it is taken, bounded by the window (and one
 * message): a consumer that is slow, or missing, holds up nobody but itself.
 */
export class Subscription implements AsyncIterableIterator<Message> {
  readonly channel: string;
  readonly #events = new Emitter<SubscriptionEvents>();
  readonly #queue = new Queue();
  readonly #feed: Feed;
  /** Calls of next that wait, oldest first. Only while the queue is empty. */
  readonly #waiting: { resolve(r: IteratorResult<Message>): void; reject(e: Error): void }[] = [];
  readonly #standing: Promise<{ position: Position; head: Position }>;
  #over = false;
  #error: Error | undefined;
  #looped = false;
  #dropped = 0;

  /** Internal: `subscribe` and `history` of a channel make them. Throws BadRequestError, or ClosedError. */
  constructor(host: Host, channel: string, options: SubscribeOptions, limit = 0) {
    this.channel = channel;
    if (Object(options) !== options) bad("options", options, 'an object, as { from: "live" }');
    const { from = "live", mode = "reliable", datagram = false, barrier = false } = options;
    if (mode !== "reliable" && mode !== "latest") bad("mode", mode, '"reliable" or "latest"');
    const latest = mode === "latest";
    if (datagram && !latest) bad("datagram", datagram, 'mode "latest" with it, for datagrams get lost');
    const reading: Reading = { channel, from: parseStart(from), latest, limit, barrier, own: true, datagram };
    const queue = this.#queue;
    const events = this.#events;
    let stand!: (s: { position: Position; head: Position }) => void;
    let fall!: (e: Error) => void;
    this.#standing = new Promise((resolve, reject) => {
      stand = resolve;
      fall = reject;
    });
    this.#standing.catch(() => {});
    this.#feed = new Feed(host, reading, count("window", options.window, host.settings.window, 1), {
      get held() {
        return queue.bytes;
      },
      message: (at, body, free) => {
        const size = body.length || 1;
        const first = this.#waiting.shift();
        if (first) {
          first.resolve({ value: new Message(channel, at, body), done: false });
          this.#feed.taken(size);
          return;
        }
        const m = new Message(channel, at, queue.own(body));
        queue.put(m, size, latest ? (m.key ?? "") : undefined);
        while (free && queue.bytes > this.#feed.window.size && queue.drop()) this.#dropped++;
      },
      hole: (h) => {
        queue.hole(h);
        if (this.#waiting.length) this.#take();
      },
      stands: (position, head, resumed) => {
        stand({ position, head });
        events.emit("subscribed", { position, head, resumed });
      },
      status: (state) => events.emit("status", { state }),
      end: (error) => {
        this.#over = true;
        this.#error ??= error;
        fall(error ?? new ClosedError(`subscription to ${channel}: it was closed before it stood`));
        while (this.#waiting.length) this.#last(this.#waiting.shift()!);
        events.emit("end", { error });
      },
    });
  }

  /** Calls fn at each event of that name; the function returned ends that. What fn throws is reported as an uncaught error. */
  on<K extends keyof SubscriptionEvents>(name: K, fn: (event: SubscriptionEvents[K]) => void): () => void {
    return this.#events.on(name, fn);
  }

  /** Messages by datagram that were dropped for newer ones of other keys: those that waited were more than the window. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Resolves when it stands for the first time; rejects with what ended it before. */
  subscribed(): Promise<{ readonly position: Position; readonly head: Position }> {
    return this.#standing;
  }

  /** Ends it; what waits is dropped, and the loop ends. */
  close(): void {
    while (this.#queue.take());
    this.#over = true;
    this.#error = undefined;
    this.#feed.finish();
  }

  /** For one loop at a time. */
  [Symbol.asyncIterator](): this {
    if (this.#looped && !this.#over) {
      throw new BadRequestError(`subscription to ${this.channel}: it is read by another loop; subscribe once for each`);
    }
    this.#looped = true;
    return this;
  }

  /** The next message. Several calls are served in their order. */
  next(): Promise<IteratorResult<Message>> {
    const value = this.#take();
    if (value) return Promise.resolve({ value, done: false });
    return new Promise((resolve, reject) => {
      const call = { resolve, reject };
      if (this.#over) return this.#last(call);
      this.#feed.window.waits();
      this.#waiting.push(call);
    });
  }

  /** Ends it, as leaving the loop does. */
  return(): Promise<IteratorResult<Message>> {
    this.close();
    return Promise.resolve({ value: undefined, done: true });
  }

  // #take takes the next message, and tells of what is missing before it.
  #take(): Message | undefined {
    for (let p; (p = this.#queue.take()); ) {
      if (p.message) {
        this.#feed.taken(p.size);
        return p.message;
      }
      const { after, next, reason } = p.hole!;
      this.#events.emit("gap", { after, next, reason, reset: reason === "epoch" });
    }
    return undefined;
  }

  // #last answers a call of next after the end.
  #last(call: { resolve(r: IteratorResult<Message>): void; reject(e: Error): void }): void {
    if (this.#error) call.reject(this.#error);
    else call.resolve({ value: undefined, done: true });
  }
}
