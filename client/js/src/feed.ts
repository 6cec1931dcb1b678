// Keeps one subscription running over the links that a client has, one after another.

import { fullJitter, retryDelay } from "./backoff.ts";
import { Code, retryOf } from "./codes.ts";
import { errorOf, ProtocolError } from "./errors.ts";
import type { LinkLike, LinkSubscription, SubscriptionSink } from "./link.ts";
import type { Position } from "./position.ts";
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
  held(): number;
  /** body may be kept. free: it was not counted against the credit. */
  message(at: Position, body: Uint8Array, free: boolean): void;
  hole(h: Hole): void;
  /** It stands: every message after position follows. */
  stands(position: Position, head: Position, resumed: boolean): void;
  status(state: "lost" | "restored"): void;
  /** Nothing more comes; err undefined: it is complete. */
  end(err: Error | undefined): void;
}

/** A running subscription, as its consumer has it. */
export interface Feed extends Running {
  readonly window: Window;
  /** The consumer took so many bytes. */
  taken(bytes: number): void;
  /** Ends it, once. */
  finish(err?: Error): void;
}

/** One subscription on one link. */
interface Source extends SubscriptionSink {
  readonly link: LinkLike;
  /** Bytes that the relay may still send; below 0 by a part of a message. */
  credit: number;
  /** Undefined once it has ended by itself. */
  handle: LinkSubscription | undefined;
  /** When its OK came. */
  since: number | undefined;
  /** It said that it will end. */
  announced: boolean;
}

/** A source that ends sooner counts as a failure. Milliseconds. */
const stableAfter = 5000;

/** size: of the window to begin with, in bytes. Throws if the client has ended. */
export function startFeed(host: Host, reading: Reading, size: number, consumer: Consumer): Feed {
  host.check();
  const what = "subscription to " + reading.channel;
  const track = new Track(reading);
  const window = new Window(size);
  let current: Source | undefined;
  let successor: Source | undefined; // of the current
  let failures = 0; // in a row
  let timer: ReturnType<typeof setTimeout> | undefined; // until the next attempt
  let full = false; // it opens when the consumer takes
  let over = false;

  /** Opens what is to be open now. */
  function open(): void {
    const link = host.link();
    if (over || timer !== undefined || !link || link.end) return;
    if (successor) {
      if (successor.link === link) return;
      drop(successor);
    } else if (current) {
      if (current.link === link && !current.announced) return;
      // Of two that asked for the same without a position, one would be ahead of the other.
      if (current.since === undefined) drop(current);
    }
    // A credit of 0 would mean another: with a full queue, nothing is open that may send.
    const credit = window.size - consumer.held();
    full = credit <= 0;
    if (full) return;
    const s = source(link, credit);
    if (current) successor = s;
    else current = s;
    host.join(link);
    s.handle = link.subscribe(track.request(credit), s);
  }

  function drop(s: Source | undefined): void {
    if (!s) return;
    if (s === current) current = undefined;
    else successor = undefined;
    s.handle?.close();
    host.part(s.link);
  }

  /** Opens again, after a wait if what ended was short. */
  function again(s: Source, delay: (failures: number, random: number) => number): void {
    if (s.since !== undefined && performance.now() - s.since >= stableAfter) failures = 0;
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = undefined;
      open();
    }, delay(++failures, Math.random()));
  }

  /** Asks for what the relay left out; gives up if it did so before. */
  function missed(s: Source, twice: boolean): void {
    if (twice) return finish(new ProtocolError(what + ": messages are left out; report it to the relay's operator"));
    drop(s);
    open();
  }

  /** Gives back half a window or more. What is granted and what is held are the window. */
  function grant(): void {
    if (!current) return;
    const bytes = window.size - consumer.held() - current.credit;
    if (bytes < window.size / 2) return;
    current.credit += bytes;
    current.handle?.grant(bytes);
  }

  function finish(err?: Error): void {
    if (over) return;
    over = true;
    clearTimeout(timer);
    drop(successor);
    drop(current);
    host.remove(feed);
    consumer.end(err);
  }

  function source(link: LinkLike, credit: number): Source {
    const s: Source = {
      link,
      credit,
      handle: undefined,
      since: undefined,
      announced: false,
      ok(at, head) {
        if (s === successor) {
          drop(current);
          current = s;
          successor = undefined;
        }
        s.since = performance.now();
        const resumed = track.begun;
        const verdict = track.ok(at, head);
        if (verdict === "hole" || verdict === "broken") return missed(s, verdict === "broken");
        consumer.stands(track.last, head, resumed);
        if (verdict === "done") finish();
        else grant();
      },
      message(epoch, seq, body, free) {
        if (s !== current) return;
        if (!free) {
          s.credit -= body.length;
          if (consumer.held() >= window.size) {
            // Two links sent different messages for the same credit: what is over comes again.
            full = true;
            return drop(s);
          }
        }
        const at = { epoch, seq };
        const verdict = track.message(at);
        if (verdict === "take" || verdict === "last") consumer.message(at, body, free);
        if (verdict === "skip") grant();
        else if (verdict === "hole" || verdict === "broken") missed(s, verdict === "broken");
        else if (verdict !== "take") finish();
      },
      gap(after, next, reason) {
        const h = track.gap(after, next, reason);
        if (h) consumer.hole(h);
        if (track.complete) finish();
      },
      status: consumer.status,
      end(end) {
        const spare = s === successor;
        if (!spare && s !== current) return;
        if (end.deadline > 0) {
          if (!s.announced) {
            s.announced = true;
            again(s, (failures, random) => fullJitter(50, 1000, failures - 1, random));
          }
          return;
        }
        s.handle = undefined;
        drop(s);
        if (end.code === Code.done) finish();
        else if (retryOf(end.code) === "final" && !(spare && current)) finish(errorOf(end, what));
        else if (link === host.link() && !link.end) again(s, (failures, random) => retryDelay(end, failures, random));
        else open();
      },
    };
    return s;
  }

  const feed: Feed = {
    window,
    taken(bytes) {
      window.took(bytes);
      if (full) open();
      grant();
    },
    finish,
    linkChanged: open,
    clientClosed: finish,
  };
  host.add(feed);
  open();
  return feed;
}
