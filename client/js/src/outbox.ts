// What one channel has unanswered, and what to send of it next: go-back-N, without I/O.
import { retryDelay } from "./backoff.ts";
import { elapsed } from "./clock.ts";
import type { Moment } from "./clock.ts";
import type { Publication } from "./link.ts";
import type { Position } from "./position.ts";
import type { End } from "./session.ts";
import { judge, refusal, unknown } from "./verdict.ts";

// Bounds of the producer's rules (docs/protocol.md, "Publishing"). Times are in milliseconds.
/** Numbers in flight: what the home's table remembers. */
export const window = 1024;
/** Since the first attempt; older is never sent. */
export const maxAge = 300_000;
/** Producers that one message is tried under after too_old. */
export const maxRenewals = 3;
/** Unused for so long: a new producer (the home forgets at ten minutes). */
export const restAfter = 300_000;

/** One publish on its way. */
export class Letter {
  /** An encoded message. */
  readonly body: Uint8Array;
  /** Called once, with a position or an error. Must not call back into the outbox. */
  readonly tell: (at: Position | undefined, error?: unknown) => void;

  /** Its number; 0: not yet numbered. */
  n = 0;
  /** First sent under this number. */
  first: Moment | undefined;
  /** Counts sends; the answer to an earlier one is late. */
  attempt = 0;
  /** Producers that it was refused under as too old. */
  renewals = 0;
  /** Sent, unanswered. */
  flying = false;
  /** Everything before it was answered when it was sent. */
  leads = false;
  /** The latest send was void. */
  asVoid = false;
  /** The next send is void. */
  void = false;
  /** An earlier send may have taken effect. */
  maybe = false;
  /** Nothing more is to come of it. */
  done = false;
  /** The caller has its answer. */
  told = false;
  /** Why it became void; undefined: it did not, or the caller gave up. */
  refusal: End | undefined;

  // Its neighbours in the outbox.
  before: Letter | undefined;
  after: Letter | undefined;

  constructor(body: Uint8Array, tell: (at: Position | undefined, error?: unknown) => void) {
    this.body = body;
    this.tell = tell;
  }
}

/**
 * Holds one channel's unanswered publishes in order, under one producer, and decides what to send
 * next. It is pure: time, answers and losses come in; letters, and what callers are to be told,
 * come out.
 *
 * After a retryable refusal it goes back to the number refused, once everything in flight was
 * answered. A letter that was refused for good, or given up, goes on as void until its number is
 * used up. A producer that the home knows no more is replaced (too_old, or out_of_order for a
 * number that leads); what may have taken effect under it is reported as unknown, the rest is
 * sent again under the new one.
 */
export class Outbox {
  readonly channel: string;
  /** Draws a producer that was never used; undefined: this is the one message of an id, whose producer and number stay. */
  readonly #draw: (() => Uint8Array) | undefined;
  /** Told of each letter that is done. */
  readonly #ended: (l: Letter, o: Outbox) => void;

  #producer: Uint8Array;
  // The letters that are not done, in order. Invariant: those with numbers come first, ascending.
  #head: Letter | undefined;
  #tail: Letter | undefined;
  /** The next to send; undefined: none. */
  #cursor: Letter | undefined;
  /** The number that the next letter without one takes. */
  #fresh = 1;
  /** Invariant: the number of letters that fly. */
  #flight = 0;
  /** Went back: nothing is sent until nothing flies. */
  #recovering = false;
  #notBefore = 0;
  /** Retryable refusals in a row. */
  #failures = 0;
  /** Last push or success. */
  #used: Moment;

  /** The producer takes no more numbers: replaced once nothing flies. */
  spent = false;
  /** producer: of an id; undefined: one is drawn. */
  constructor(
    channel: string,
    draw: () => Uint8Array,
    producer: Uint8Array | undefined,
    now: Moment,
    ended: (l: Letter, o: Outbox) => void,
  ) {
    this.channel = channel;
    this.#draw = producer ? undefined : draw;
    this.#producer = producer ?? draw();
    this.#used = now;
    this.#ended = ended;
  }

  /** Nothing waits, for an answer or for being sent. */
  get idle(): boolean {
    return !this.#head;
  }

  /** Unused for so long that its producer is spent anyway. */
  rested(now: Moment): boolean {
    return !this.#head && elapsed(this.#used, now) >= restAfter;
  }

  /** Adds a publish at the end. */
  push(l: Letter, now: Moment): void {
    if (this.rested(now)) this.#renew();
    this.#used = now;
    l.before = this.#tail;
    if (this.#tail) this.#tail.after = l;
    else this.#head = l;
    this.#tail = l;
    this.#cursor ??= l;
  }

  /** The letter to send now, which counts as flying; undefined: none for now. */
  next(now: Moment): Letter | undefined {
    if (now.steady < this.#notBefore || this.#waits()) return undefined;
    this.#recovering = false;
    const l = this.#cursor!;
    if (!this.#draw && l.told) {
      this.#end(l); // an id is never used up as void: it may be published again
      return undefined;
    }
    if (!l.n) {
      l.n = this.#fresh++;
      l.first = now;
    } else if (elapsed(l.first!, now) > maxAge) {
      this.spent = true;
      if (this.#flight) return undefined;
      this.#renew();
      return this.next(now); // what never took effect goes on under a new producer
    }
    l.flying = true;
    l.asVoid = l.void;
    l.leads = l === this.#head;
    l.attempt++;
    this.#flight++;
    this.#cursor = l.after;
    return l;
  }

  /** Only an event can make next return something, not time. */
  #waits(): boolean {
    const l = this.#cursor;
    return this.spent || (this.#recovering && this.#flight > 0) || !l || this.#number(l) - this.#number(this.#head!) >= window;
  }

  #number(l: Letter): number {
    return l.n || this.#fresh;
  }

  /** When, on the steady clock, next is worth a call without a further event; 0: never. */
  wakeAt(): number {
    return this.#waits() ? 0 : this.#notBefore;
  }

  /** Takes back the letter that next returned last: the link takes no more. */
  unsent(l: Letter): void {
    l.flying = false;
    l.attempt--;
    this.#flight--;
    this.#cursor = l;
    if (!l.attempt && l.n === this.#fresh - 1) {
      l.n = 0; // its number was never seen
      this.#fresh--;
    }
  }

  /** What is sent for l. */
  publication(l: Letter, now: Moment): Publication {
    return {
      channel: this.channel,
      producer: this.#producer,
      n: l.n,
      age: elapsed(l.first!, now),
      void: l.asVoid,
      body: l.asVoid ? nothing : l.body,
    };
  }

  /** The link ended, or was replaced: what flew may have arrived or not. */
  lost(): void {
    for (let l = this.#head; l?.n; l = l.after) {
      l.maybe ||= l.flying;
      l.flying = false;
    }
    this.#rewind();
    this.#settle();
  }

  #rewind(): void {
    this.#cursor = this.#head;
    this.#flight = this.#failures = this.#notBefore = 0;
    this.#recovering = false;
  }

  /** Takes the answer to one attempt at l. random is in [0, 1). */
  answer(l: Letter, attempt: number, at: Position | undefined, end: End | undefined, now: Moment, random: number): void {
    if (l.done) return;
    const late = !l.flying || l.attempt !== attempt;
    if (l.flying && (at || !late)) {
      l.flying = false;
      this.#flight--;
    }
    if (at) {
      // Also when late: it stands.
      this.#failures = 0;
      this.#used = now;
      this.#finish(l, at);
    } else if (!late) this.#refuse(l, end!, now, random);
    this.#settle();
  }

  #refuse(l: Letter, end: End, now: Moment, random: number): void {
    const v = judge(end.code);
    if (v === "used") this.#finish(l, undefined, refusal(this.channel, l.refusal ?? end));
    else if (v === "order" && l.leads && l.n > 1)
      this.spent = true; // the home answered the number before, and has forgotten it
    else if (v === "order" || v === "retry" || v === "open") {
      l.maybe ||= v === "open";
      if (this.#cursor && this.#cursor.n && this.#cursor.n <= l.n) return; // it went back further already
      this.#back(l, now.steady + retryDelay(end, ++this.#failures, random));
    } else if (v === "old" && this.#draw) {
      this.spent = true;
      if (++l.renewals > maxRenewals) this.#finish(l, undefined, this.#failure(l, end));
    } else if (!this.#draw) {
      l.maybe ||= v === "old"; // who had the id before may have sent it
      this.#finish(l, undefined, this.#failure(l, end));
    } else if (l.asVoid) {
      this.spent = true; // the number cannot even be used up
      this.#finish(l, undefined, this.#failure(l, (l.refusal ??= end)));
    } else {
      l.void = true;
      l.refusal = end;
      if (!l.maybe) this.#tell(l, undefined, refusal(this.channel, end));
      this.#back(l, 0);
    }
  }

  /** The error for l, which will not be sent again after the end. */
  #failure(l: Letter, end: End | undefined): unknown {
    const error = end && refusal(this.channel, end);
    return l.maybe ? unknown(this.channel, error) : error;
  }

  /** Goes back to l, and sends nothing before the time given. */
  #back(l: Letter, notBefore: number): void {
    const c = this.#cursor;
    if (!c?.n || l.n < c.n) this.#cursor = l;
    this.#recovering = true;
    this.#notBefore = Math.max(this.#notBefore, notBefore);
  }

  /** Gives l's caller its answer, once. */
  #tell(l: Letter, at: Position | undefined, error?: unknown): void {
    if (l.told) return;
    l.told = true;
    l.tell(at, error);
  }

  #finish(l: Letter, at: Position | undefined, error?: unknown): void {
    this.#end(l);
    this.#tell(l, at, error);
  }

  /** Takes l out: nothing more is to come of it. */
  #end(l: Letter): void {
    l.done = true;
    if (this.#cursor === l) this.#cursor = l.after;
    if (l.before) l.before.after = l.after;
    else this.#head = l.after;
    if (l.after) l.after.before = l.before;
    else this.#tail = l.before;
    l.before = l.after = undefined;
    this.#ended(l, this);
  }

  /** Replaces a spent producer as soon as nothing flies. */
  #settle(): void {
    if (this.spent && !this.#flight) this.#renew();
  }

  /**
   * Takes a new producer. What may have taken effect under the old one is reported as unknown; a
   * number that was only to be used up needs that no more.
   */
  #renew(): void {
    for (let l = this.#head, after; l; l = after) {
      after = l.after;
      if (l.maybe) this.#finish(l, undefined, this.#failure(l, l.refusal));
      else if (l.told) this.#end(l);
      else l.n = 0;
    }
    this.#restart();
  }

  #restart(): void {
    this.#rewind();
    this.#fresh = 1;
    this.spent = false;
    this.#producer = this.#draw?.() ?? this.#producer;
  }

  /**
   * Gives l up for the reason given. One without a number goes at once, as does an id's that does
   * not fly; another goes on as void, so that its number is used up.
   */
  cancel(l: Letter, reason: unknown): void {
    if (l.told) return;
    this.#tell(l, undefined, this.#orUnknown(l, reason));
    if (l.n && (this.#draw || l.flying)) l.void = true;
    else this.#end(l);
  }

  /** Ends every letter for the reason given: the client is closed. */
  abandon(reason: unknown): void {
    while (this.#head) {
      const l = this.#head;
      this.#finish(l, undefined, this.#orUnknown(l, reason));
    }
    this.#restart();
  }

  /** The error for a letter given up: whether it may have taken effect. */
  #orUnknown(l: Letter, reason: unknown): unknown {
    return l.flying || l.maybe ? unknown(this.channel, reason) : reason;
  }
}

const nothing = new Uint8Array();
