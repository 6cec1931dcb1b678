// Keeps one subscription running over the links that a client has, one after another.

import { fullJitter, retryDelay } from "./backoff.ts";
import { retryOf } from "./codes.ts";
import { errorOf, ProtocolError } from "./errors.ts";
import type { LinkLike, LinkSubscription, SubscriptionSink } from "./link.ts";
import type { Position } from "./position.ts";
import type { End } from "./session.ts";
import { track } from "./track.ts";
import type { Hole, Reading, Verdict } from "./track.ts";
import { Window } from "./window.ts";

/** What feeds need of the client. */
export interface Host {
  readonly settings: { readonly window: number };
  /** Throws what everything rejects with, once the client has ended. */
  check(): void;
  /** Where to subscribe now; undefined: nowhere. `open` follows each change. */
  link(): LinkLike | undefined;
  /** Counts a subscription on a link, so that a link which was replaced can go when the last has left it. */
  join(link: LinkLike): void;
  part(link: LinkLike): void;
  /** Those that run. */
  readonly feeds: Set<Running>;
}

/** What the client tells of a running subscription. */
export interface Running {
  /** Opens what is to be open now: the link to use may be another. */
  open(): void;
  /** Ends it, once; err: why. */
  finish(err?: Error): void;
}

/** Takes what a feed brings, in order. Must not throw. */
export interface Consumer {
  /** Bytes of messages that wait to be taken; `Feed.taken` says that some were. */
  held(): number;
  /** body may be kept. free: it was not counted against the credit. */
  message(at: Position, body: Uint8Array, free: boolean): void;
  hole(h: Hole): void;
  /** It stands: every message after position follows. resumed: it did before. */
  stands(at: { readonly position: Position; readonly head: Position }, resumed: boolean): void;
  status(state: "lost" | "restored"): void;
  /** Nothing more comes; err undefined: it is complete. */
  end(err: Error | undefined): void;
}

/** A running subscription, as its consumer has it. */
export interface Feed extends Running {
  readonly window: Window;
  /** The consumer took so many bytes. */
  taken(bytes: number): void;
}

/** One subscription on one link. */
interface Source extends SubscriptionSink {
  readonly link: LinkLike;
  /** Bytes that the relay may still send; below 0 by a part of a message. */
  credit: number;
  handle?: LinkSubscription;
  /** When its OK came. */
  since?: number;
  /** It said that it will end. */
  announced?: boolean;
}

/** A source that ends sooner counts as a failure. Milliseconds. */
const stableAfter = 5000;

/** size: of the window to begin with, in bytes. Throws if the client has ended. */
export function startFeed(host: Host, reading: Reading, size: number, consumer: Consumer): Feed {
  host.check();
  const what = "subscription to " + reading.channel;
  const progress = track(reading);
  const window = new Window(size);
  let current: Source | undefined;
  let successor: Source | undefined; // of the current
  let failures = 0; // in a row
  let timer: ReturnType<typeof setTimeout> | undefined; // until the next attempt
  let full = false; // it opens when the consumer takes
  let over = false;

  function open(): void {
    const link = host.link();
    if (over || timer !== undefined || !link || link.end) return;
    const newest = successor ?? current;
    if (newest) {
      if (newest.link === link && !newest.announced) return;
      // Of two that asked for the same without a position, one would be ahead of the other.
      if (newest.since === undefined) drop(newest);
    }
    // A credit of 0 would mean another: with a full queue, nothing is open that may send.
    const credit = window.size - consumer.held();
    full = credit <= 0;
    if (full) return;
    const s: Source = {
      link,
      credit,
      ok(at, head) {
        if (s === successor) {
          drop(current);
          current = s;
          successor = undefined;
        }
        s.since = performance.now();
        const resumed = progress.begun;
        const verdict = progress.ok(at, head);
        if (verdict === "take" || verdict === "done") consumer.stands({ position: progress.last, head }, resumed);
        heed(s, verdict);
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
        const verdict = progress.message(at);
        if (verdict === "take" || verdict === "last") consumer.message(at, body, free);
        heed(s, verdict);
      },
      gap(after, next, reason) {
        const h = progress.gap(after, next, reason);
        if (h) consumer.hole(h);
        if (progress.complete()) finish();
      },
      status: consumer.status,
      end(end) {
        if (s !== successor && s !== current) return;
        if (end.deadline > 0) {
          if (!s.announced) again(s, end);
          s.announced = true;
          return;
        }
        drop(s);
        if (!end.code) finish();
        else if (retryOf(end.code) === "final" && !current) finish(errorOf(end, what));
        else if (link === host.link() && !link.end) again(s, end);
        else open();
      },
    };
    if (current) successor = s;
    else current = s;
    host.join(link);
    s.handle = link.subscribe(progress.request(credit), s);
  }

  function drop(s: Source | undefined): void {
    if (!s) return;
    if (s === current) current = undefined;
    else successor = undefined;
    s.handle?.close();
    host.part(s.link);
  }

  /** Opens again, after a wait if what ended was short. */
  function again(s: Source, end: End): void {
    if (performance.now() - s.since! >= stableAfter) failures = 0;
    clearTimeout(timer);
    // What is announced is over soon: no long wait.
    const delay = end.deadline > 0 ? fullJitter(50, 1000, failures++, Math.random()) : retryDelay(end, ++failures, Math.random());
    timer = setTimeout(() => {
      timer = undefined;
      open();
    }, delay);
  }

  /** Does what the track says. A hole is asked for again, once. */
  function heed(s: Source, verdict: Verdict): void {
    if (verdict === "broken") finish(new ProtocolError(what + ": messages left out; report it"));
    else if (verdict === "hole") {
      drop(s);
      open();
    } else if (verdict === "done" || verdict === "last") finish();
    else grant();
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
    host.feeds.delete(feed);
    consumer.end(err);
  }

  const feed: Feed = {
    window,
    taken(bytes) {
      window.took(bytes);
      if (full) open();
      grant();
    },
    open,
    finish,
  };
  host.feeds.add(feed);
  open();
  return feed;
}
