// Keeps one subscription running over the links that a client has, one after another.

import { fullJitter, retryDelay } from "./backoff.ts";
import { Code, retryOf } from "./codes.ts";
import { errorOf, ProtocolError } from "./errors.ts";
import type { GapReason, LinkLike, LinkSubscription, SubscriptionSink } from "./link.ts";
import type { Position } from "./position.ts";
import type { End } from "./session.ts";
import { Track } from "./track.ts";
import type { Hole, Reading } from "./track.ts";
import { Window } from "./window.ts";

/** What feeds need of the client. */
export interface Host {
  readonly settings: { readonly window: number };
  /** Throws what everything rejects with, once the client has ended. */
  check(): void;
  /** Where to subscribe now; undefined: nowhere. `linkChanged` follows each change. */
  link(): LinkLike | undefined;
  /** Counts a subscription on a link, so that a link which was replaced can go when the last has left it. */
  join(link: LinkLike): void;
  part(link: LinkLike): void;
  add(feed: Running): void;
  remove(feed: Running): void;
}

/** What the client tells of a running subscription. */
export interface Running {
  /** The link to use may be another. */
  linkChanged(): void;
  /** The client has ended. */
  clientClosed(err: Error): void;
}

/** Takes what a feed brings, in order. Must not throw. */
export interface Consumer {
  /** Bytes of messages that wait to be taken; `Feed.taken` says that some were. */
  readonly held: number;
  /** body may be kept. free: it was not counted against the credit. */
  message(at: Position, body: Uint8Array, free: boolean): void;
  hole(h: Hole): void;
  /** It stands: every message after position follows. */
  stands(position: Position, head: Position, resumed: boolean): void;
  status(state: "lost" | "restored"): void;
  /** Nothing more comes; err undefined: it is complete. */
  end(err: Error | undefined): void;
}

/** A source that ends sooner counts as a failure. Milliseconds. */
const stableAfter = 5000;

/** One subscription on one link. */
class Source implements SubscriptionSink {
  readonly feed: Feed;
  readonly link: LinkLike;
  /** Bytes that the relay may still send; below 0 by a part of a message. */
  credit: number;
  handle: LinkSubscription | undefined;
  /** When its OK came. */
  since: number | undefined;
  /** It said that it will end. */
  announced = false;

  constructor(feed: Feed, link: LinkLike, credit: number) {
    this.feed = feed;
    this.link = link;
    this.credit = credit;
  }
  ok(at: Position, head: Position): void {
    this.feed.ok(this, at, head);
  }
  message(epoch: number, seq: number, body: Uint8Array, free: boolean): void {
    this.feed.message(this, epoch, seq, body, free);
  }
  gap(after: Position, next: Position, reason: GapReason): void {
    this.feed.gap(this, after, next, reason);
  }
  status(state: "lost" | "restored"): void {
    this.feed.status(this, state);
  }
  end(end: End): void {
    this.feed.end(this, end);
  }
}

export class Feed implements Running {
  readonly #host: Host;
  readonly #channel: string;
  readonly #consumer: Consumer;
  readonly #track: Track;
  readonly window: Window;
  #cur: Source | undefined; // the one in use
  #succ: Source | undefined; // the one that is to replace it
  #failures = 0; // in a row
  #timer: ReturnType<typeof setTimeout> | undefined; // until the next attempt
  #full = false; // it opens when the consumer takes
  #over = false;

  /** window: bytes, to begin with. Throws if the client has ended. */
  constructor(host: Host, reading: Reading, window: number, consumer: Consumer) {
    host.check();
    this.#host = host;
    this.#channel = reading.channel;
    this.#consumer = consumer;
    this.#track = new Track(reading);
    this.window = new Window(window);
    host.add(this);
    this.#open();
  }

  linkChanged(): void {
    this.#open();
  }

  clientClosed(err: Error): void {
    this.finish(err);
  }

  /** The consumer took so many bytes. */
  taken(bytes: number): void {
    this.window.took(bytes);
    if (this.#full) this.#open();
    this.#grant();
  }

  /** Ends it, once. */
  finish(err?: Error): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#drop(this.#succ);
    this.#drop(this.#cur);
    this.#host.remove(this);
    this.#consumer.end(err);
  }

  // #open opens what is to be open now.
  #open(): void {
    const link = this.#host.link();
    if (this.#over || this.#timer !== undefined || !link || link.end) return;
    const cur = this.#cur;
    if (this.#succ) {
      if (this.#succ.link === link) return;
      this.#drop(this.#succ);
    } else if (cur) {
      if (cur.link === link && !cur.announced) return;
      // Of two that asked for the same without a position, one would be ahead of the other.
      if (cur.since === undefined) this.#drop(cur);
    }
    // A credit of 0 would mean another: with a full queue, nothing is open that may send.
    const room = this.window.size - this.#consumer.held;
    this.#full = room <= 0;
    if (this.#full) return;
    const s = new Source(this, link, room);
    if (this.#cur) this.#succ = s;
    else this.#cur = s;
    this.#host.join(link);
    s.handle = link.subscribe(this.#track.request(room), s);
  }

  #drop(s: Source | undefined): void {
    if (!s) return;
    if (s === this.#cur) this.#cur = undefined;
    else if (s === this.#succ) this.#succ = undefined;
    s.handle?.close();
    this.#host.part(s.link);
  }

  // #again opens again, after a wait if what ended was short.
  #again(s: Source, delay: (failures: number) => number): void {
    if (s.since !== undefined && performance.now() - s.since >= stableAfter) this.#failures = 0;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#open();
    }, delay(++this.#failures));
  }

  #broken(what: string): void {
    this.finish(new ProtocolError(`subscription to ${this.#channel}: ${what}; report it to the relay's operator`));
  }

  // #grant gives back half a window or more. What is granted and what is held are the window.
  #grant(): void {
    const s = this.#cur;
    if (!s) return;
    const { size } = this.window;
    const bytes = size - this.#consumer.held - s.credit;
    if (bytes < size / 2) return;
    s.credit += bytes;
    s.handle?.grant(bytes);
  }

  // What follows comes from sources.

  ok(s: Source, at: Position, head: Position): void {
    if (s === this.#succ) {
      this.#drop(this.#cur);
      this.#cur = s;
      this.#succ = undefined;
    } else if (s !== this.#cur) return;
    s.since = performance.now();
    const track = this.#track;
    const resumed = track.begun;
    const verdict = track.ok(at, head);
    if (verdict === "hole") return this.#missed(s);
    if (verdict === "broken") return this.#broken("it does not begin where it was asked to");
    this.#consumer.stands(track.last, head, resumed);
    if (verdict === "done") this.finish();
    else this.#grant();
  }

  message(s: Source, epoch: number, seq: number, body: Uint8Array, free: boolean): void {
    if (s !== this.#cur) return;
    if (!free) {
      s.credit -= body.length;
      if (this.#consumer.held >= this.window.size) {
        // Two links sent different messages for the same credit: what is over comes again.
        this.#full = true;
        return this.#drop(s);
      }
    }
    const at = { epoch, seq };
    const verdict = this.#track.message(at);
    if (verdict === "take" || verdict === "last") this.#consumer.message(at, body, free);
    if (verdict === "skip") this.#grant();
    else if (verdict === "hole") this.#missed(s);
    else if (verdict === "broken") this.#broken(`message ${epoch}:${seq} came out of order`);
    else if (verdict !== "take") this.finish();
  }

  gap(s: Source, after: Position, next: Position, reason: GapReason): void {
    if (s !== this.#cur) return;
    const h = this.#track.gap(after, next, reason);
    if (h) this.#consumer.hole(h);
    if (this.#track.complete) this.finish();
  }

  status(s: Source, state: "lost" | "restored"): void {
    if (s === this.#cur) this.#consumer.status(state);
  }

  end(s: Source, end: End): void {
    const spare = s === this.#succ;
    if (!spare && s !== this.#cur) return;
    if (end.deadline > 0) {
      if (s.announced) return;
      s.announced = true;
      return this.#again(s, (failures) => fullJitter(50, 1000, failures - 1, Math.random()));
    }
    s.handle = undefined; // it is over
    this.#drop(s);
    if (end.code === Code.done) this.finish();
    else if (retryOf(end.code) === "final" && !(spare && this.#cur)) {
      this.finish(errorOf(end, "subscription to " + this.#channel));
    } else if (s.link === this.#host.link() && !s.link.end) {
      this.#again(s, (failures) => retryDelay(end, failures, Math.random()));
    } else this.#open();
  }

  // #missed asks once more for what the relay left out.
  #missed(s: Source): void {
    this.#drop(s);
    this.#open();
  }
}
