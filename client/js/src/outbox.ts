// What one channel has unanswered, and what to send of it next: go-back-N, without I/O.
import { retryDelay } from "./backoff.ts";
import { elapsed } from "./clock.ts";
import type { Moment } from "./clock.ts";
import { retryOf } from "./codes.ts";
import { errorOf, MeridianError, UnknownOutcomeError } from "./errors.ts";
import type { Publication } from "./link.ts";
import { Place } from "./list.ts";
import type { Position } from "./position.ts";
import type { End } from "./session.ts";

// Bounds of the producer's rules (docs/protocol.md, "Publishing"). Times are in milliseconds.
/** Numbers in flight: what the home's table remembers. */
export const window = 1024;
/** Since the first attempt; older is never sent. */
export const maxAge = 300_000;
/** Producers that one message is tried under after too_old. */
export const maxRenewals = 3;
/** Unused for so long: a new producer (the home forgets at ten minutes). */
export const restAfter = 300_000;

/** Codes to go back after which say that nothing was applied: 40 out_of_order, 20 unauthorized, 21 token_expired, 31 moved, 33 read_only, 50 busy, 51 publish_rate, 52 byte_rate, 57 request_rate. */
const definite = [40, 20, 21, 31, 33, 50, 51, 52, 57];

const nothing = new Uint8Array();

/** One publish on its way. Once its caller was told, or it has a refusal, it goes on as void: its number is to be used up. */
export class Letter extends Place {
  /** An encoded message. */
  declare readonly body: Uint8Array;
  /** Called once, with a position or an error. Must not call back into the outbox. */
  declare readonly tell: (at: Position | undefined, error?: unknown) => void;

  /** Its number; 0: not yet numbered. */
  n = 0;
  /** First sent under this number. */
  first: Moment | undefined;
  /** What was sent and is unanswered; the answer to anything else is late. */
  flying: Publication | undefined;
  /** Everything before it was answered when it was sent. */
  leads = false;
  /** An earlier send may have taken effect. */
  maybe = false;
  /** Producers that it was refused under as too old. */
  renewals = 0;
  /** The caller has its answer. */
  told = false;
  /** Why it became void; undefined: it did not, or the caller gave up. */
  refusal: End | undefined;

  constructor(body: Uint8Array, tell: (at: Position | undefined, error?: unknown) => void) {
    super();
    this.body = body;
    this.tell = tell;
  }
}

/** Sends p, of l. False: it was not taken. */
export type Hand = (p: Publication, l: Letter, o: Outbox) => boolean;

/** One channel's unanswered publishes. */
export interface Outbox {
  /** Nothing waits, for an answer or for being sent. */
  idle(): boolean;
  /** Unused for so long that its producer is spent anyway. */
  rested(now: Moment): boolean;
  /** Adds a publish at the end. */
  push(l: Letter, now: Moment): void;
  /** Hands out what is to be sent now, whose letter then flies. False: there is nothing for now, or hand took nothing, and nothing has changed. */
  next(now: Moment, hand: Hand): boolean;
  /** When, on the steady clock, next is worth a call without a further event; Infinity: never. */
  wakeAt(): number;
  /** The link ended, or was replaced: what flew may have arrived or not. renew: nothing more goes under the producer. */
  lost(renew?: boolean): void;
  /** Takes the answer to p, which was sent of l. random is in [0, 1). */
  answer(l: Letter, p: Publication, at: Position | undefined, end: End | undefined, now: Moment, random: number): void;
  /**
   * Gives l up for the reason given. One without a number goes at once, as does an id's that does
   * not fly; another goes on as void.
   */
  cancel(l: Letter, reason: unknown): void;
  /** Ends every letter for the reason given, and the outbox: the client is closed. */
  abandon(reason: unknown): void;
}

/**
 * Holds one channel's unanswered publishes in order, under one producer, and decides what to send
 * next. It is pure: time, answers and losses come in; letters, and what callers are to be told,
 * come out. ended is told of each letter of which nothing more is to come.
 *
 * After a retryable refusal it goes back to the number refused, once everything in flight was
 * answered. A letter that was refused for good, or given up, goes on as void until its number is
 * used up. A producer that the home knows no more is replaced (too_old, or out_of_order for a
 * number that leads); what may have taken effect under it is reported as unknown, the rest is
 * sent again under the new one.
 *
 * id: the producer of the one message of an id, which keeps producer and number; undefined: draw
 * gives producers that were never used.
 */
export function outbox(channel: string, draw: () => Uint8Array, id: Uint8Array | undefined, used: Moment, ended: (l: Letter) => void): Outbox {
  const what = "publish to " + channel;
  const list = new Letter(nothing, () => {}); // in order; those with numbers come first, ascending
  let producer = id ?? draw();
  let cursor = list; // the next to send; list: none
  let fresh = 1; // the number that the next letter without one takes
  let flight = 0; // letters that fly
  let recovering = false; // went back: nothing is sent until nothing flies
  let spent = false; // the producer takes no more numbers: replaced once nothing flies
  let notBefore = 0;
  let failures = 0; // retryable refusals in a row

  const idle = () => list.after === list;
  const rested = (now: Moment) => idle() && elapsed(used, now) >= restAfter;
  const number = (l: Letter) => l.n || fresh;
  /** Only an event can make next hand out something, not time. */
  const waits = () => spent || (recovering && flight > 0) || cursor === list || number(cursor) - number(list.after) >= window;

  function next(now: Moment, hand: Hand): boolean {
    if (now.steady < notBefore || waits()) return false;
    const l = cursor;
    if (id && l.told) {
      remove(l); // an id is never used up as void: it may be published again
      return false;
    }
    if (!l.n) l.first = now;
    const age = elapsed(l.first!, now);
    if (age > maxAge) {
      spent = true;
      settle();
      return next(now, hand); // what never took effect goes on under a new producer
    }
    const isVoid = l.told || !!l.refusal;
    const p = { channel, producer, n: number(l), age, void: isVoid, body: isVoid ? nothing : l.body };
    if (!hand(p, l, self)) return false;
    if (!l.n) l.n = fresh++;
    l.flying = p;
    l.leads = l === list.after;
    flight++;
    recovering = false;
    cursor = l.after;
    return true;
  }

  function refuse(l: Letter, p: Publication, end: End, now: Moment, random: number): void {
    const { code } = end;
    const old = code === 41; // too_old: the producer is closed, or the home cannot tell
    const again = retryOf(code) !== "final";
    if (code === 42 || code === 44) {
      // conflict, voided: the number is used, but not by this message
      l.maybe = false;
      finish(l, l.refusal ?? end);
    } else if (code === 40 && l.leads && l.n > 1) {
      spent = true; // the home answered the number before, and has forgotten it
    } else if (!again && id) {
      l.maybe ||= old; // who had the id before may have sent it
      finish(l, end);
    } else if (!again && (old || p.void)) {
      spent = true; // also where the number cannot even be used up
      if (++l.renewals > maxRenewals) finish(l, end);
    } else {
      if (again) l.maybe ||= !definite.includes(code);
      else {
        l.refusal = end;
        if (!l.maybe) fail(l, end);
      }
      if (number(cursor) <= l.n) return; // it went back further already
      cursor = l;
      recovering = true;
      if (again) notBefore = Math.max(notBefore, now.steady + retryDelay(end, ++failures, random));
    }
  }

  /** Gives l's caller its answer, once: why not, or a position. */
  function tell(l: Letter, reason: unknown, at?: Position): void {
    if (l.told) return;
    l.told = true;
    l.tell(
      at,
      !at && (l.flying || l.maybe)
        ? new UnknownOutcomeError(what + ": it may stand; give an id to repeat it safely", { cause: reason })
        : reason,
    );
  }

  /** Tells l's caller of the relay's refusal, if there is one. */
  function fail(l: Letter, end: End | undefined): void {
    let error = end && errorOf(end, what);
    // The code alone leaves the outcome open; a producer that was never lost says more.
    if (error instanceof UnknownOutcomeError) error = new MeridianError(error.message, end);
    tell(l, error);
  }

  /** Takes l out: nothing more is to come of it. */
  function remove(l: Letter): void {
    if (cursor === l) cursor = l.after;
    l.leave();
    ended(l);
  }

  function finish(l: Letter, refusal: End | undefined): void {
    remove(l);
    fail(l, refusal);
  }

  function rewind(): void {
    cursor = list.after;
    flight = failures = notBefore = 0;
    recovering = false;
  }

  /**
   * Replaces a spent producer as soon as nothing flies. What may have taken effect under the old
   * one is reported as unknown; a number that was only to be used up needs that no more.
   */
  function settle(): void {
    if (!spent || flight) return;
    for (let l = list.after, after; l !== list; l = after) {
      after = l.after;
      if (l.maybe || l.told) finish(l, l.refusal);
      else l.n = 0;
    }
    rewind();
    fresh = 1;
    spent = false;
    producer = id ?? draw();
  }

  const self: Outbox = {
    idle,
    rested,
    push(l, now) {
      spent ||= rested(now);
      settle();
      used = now;
      list.put(l);
      if (cursor === list) cursor = l;
    },
    next,
    wakeAt: () => (waits() ? Infinity : notBefore),
    lost(renew = false) {
      for (let l = list.after; l.n; l = l.after) {
        l.maybe ||= !!l.flying;
        l.flying = undefined;
      }
      rewind();
      spent ||= renew;
      settle();
    },
    answer(l, p, at, end, now, random) {
      if (l.after === l) return; // nothing more is to come of it
      const late = l.flying !== p;
      if (l.flying && (at || !late)) {
        l.flying = undefined;
        flight--;
      }
      if (at) {
        // Also when late: it stands.
        failures = 0;
        used = now;
        remove(l);
        tell(l, undefined, at);
      } else if (!late) refuse(l, p, end!, now, random);
      settle();
    },
    cancel(l, reason) {
      tell(l, reason);
      if (!l.n || (id && !l.flying)) remove(l);
    },
    abandon(reason) {
      for (let l; (l = list.after) !== list; ) {
        tell(l, reason);
        remove(l);
      }
    },
  };
  return self;
}
