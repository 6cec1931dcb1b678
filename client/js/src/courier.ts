// Carries publishes to the link that stands: the outboxes decide, it moves.
import { now } from "./clock.ts";
import type { Moment } from "./clock.ts";
import { BusyError } from "./errors.ts";
import type { LinkLike } from "./link.ts";
import { Letter, Outbox } from "./outbox.ts";
import { Pace } from "./pace.ts";
import type { Position } from "./position.ts";

/** Letters of one channel that leave before another's. */
const turn = 64;
/** What a letter costs beside its body, in bytes. */
export const letterCost = 256;

/**
 * Takes publishes, at most `limit` bytes of them unanswered, and sends them over one link after
 * another until each has its outcome. One pass a turn of the event loop moves what can move; a
 * timer runs only while a refusal asks for a wait and a link stands.
 */
export class Courier {
  /** Bytes of all letters, `letterCost` added for each. */
  readonly #limit: number;
  #link: LinkLike | undefined;
  /** Of the last link; undefined before the first. */
  #subject: { readonly name: string | undefined } | undefined;
  /** The link said that it takes no more for now. */
  #stalled = false;
  /** Of the link; what it learned goes on with the next. */
  readonly #pace = new Pace();

  /** By channel; those of ids are only in #active. */
  readonly #boxes = new Map<string, Outbox>();
  /** Channels at which resting outboxes are dropped. */
  #sweepAt = 64;
  /** Those with letters. */
  readonly #active = new Set<Outbox>();
  /** Worth a turn, in turn. Invariant: these and #later are in #active. */
  readonly #queue = new Set<Outbox>();
  /** Worth a turn when the time comes that they name. */
  readonly #later = new Set<Outbox>();

  #pending = 0;
  #bytes = 0;
  #closed: unknown;
  #waiting: (() => void)[] = [];

  /** The present, once asked for until the next pass ends. */
  #moment: Moment | undefined;
  #scheduled = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer runs, on the steady clock; 0: never. */
  #wakeAt = 0;

  constructor(options: { readonly limit: number }) {
    this.#limit = options.limit;
  }

  /** Publishes without an outcome. */
  get pending(): number {
    return this.#pending;
  }

  /**
   * Makes link, whose Welcome has come, the one to send on; undefined: none stands. subject: who
   * it speaks for. Producers are bound to the subject: under another one, the home would apply
   * again what it did before.
   */
  use(link: LinkLike | undefined, subject?: string): void {
    if (link === this.#link) return;
    if (this.#link) this.#link.onRoom = undefined;
    this.#link = link;
    this.#stalled = false;
    this.#pace.flight = 0;
    let renamed = false;
    if (link) {
      renamed = !!this.#subject && this.#subject.name !== subject;
      this.#subject = { name: subject };
      if (renamed) this.#sweep((o) => o.idle);
    }
    for (const o of this.#active) {
      o.spent ||= renamed;
      o.lost();
      this.#ready(o);
    }
    this.#schedule();
  }

  /**
   * Publishes body, an encoded message that it keeps, and resolves with its position once the
   * channel's home has acknowledged it. Publishes to one channel stand in the order of the calls.
   * producer: of an id; undefined: the channel's own.
   *
   * Rejects with BusyError at once where it has no room; with the relay's refusal; with the
   * reason of signal or of `shut`. Where the message may stand nevertheless, UnknownOutcomeError.
   */
  post(channel: string, body: Uint8Array, producer?: Uint8Array, signal?: AbortSignal): Promise<Position> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      if (signal?.aborted) return reject(signal.reason);
      const cost = body.length + letterCost;
      if (this.#pending && this.#bytes + cost > this.#limit) return reject(this.#full(channel));
      const give = () => {
        o.cancel(l, signal!.reason);
        this.#schedule();
      };
      const l = new Letter(body, (at, error) => {
        signal?.removeEventListener("abort", give);
        if (at) resolve(at);
        else reject(error);
      });
      signal?.addEventListener("abort", give);
      const o = this.#box(channel, producer);
      o.push(l, this.#now());
      this.#active.add(o);
      this.#pending++;
      this.#bytes += cost;
      this.#ready(o);
    });
  }

  #full(channel: string): Error {
    return new BusyError(
      `publish to ${channel}: ${this.#bytes} bytes of publishes wait for their answers, of at most ${this.#limit}: await some before you publish more, or raise "unanswered"`,
    );
  }

  /** Refuses further publishes with error. */
  shut(error: unknown): void {
    this.#closed ??= error;
  }

  /** Ends what is left with error, or UnknownOutcomeError. */
  abandon(error: unknown): void {
    this.shut(error);
    for (const o of this.#active) o.abandon(error);
    this.#schedule();
  }

  /** Resolves when every publish has its outcome. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#pending) this.#waiting.push(resolve);
      else resolve();
    });
  }

  #now(): Moment {
    return (this.#moment ??= now());
  }

  #box(channel: string, producer: Uint8Array | undefined): Outbox {
    let o = producer ? undefined : this.#boxes.get(channel);
    if (!o) {
      o = new Outbox(channel, draw, producer, this.#now(), this.#ended);
      if (!producer) {
        if (this.#boxes.size >= this.#sweepAt) {
          this.#sweep((o) => o.rested(this.#now()));
          this.#sweepAt = Math.max(64, 2 * this.#boxes.size);
        }
        this.#boxes.set(channel, o);
      }
    }
    return o;
  }

  /** Drops outboxes that nothing is lost with. */
  #sweep(useless: (o: Outbox) => boolean): void {
    for (const [channel, o] of this.#boxes) if (useless(o)) this.#boxes.delete(channel);
  }

  readonly #ended = (l: Letter, o: Outbox): void => {
    this.#bytes -= l.body.length + letterCost;
    if (o.idle) for (const set of [this.#active, this.#queue, this.#later]) set.delete(o);
    if (!--this.#pending) {
      for (const resolve of this.#waiting.splice(0)) resolve();
    }
  };

  /** Queues o for a turn. */
  #ready(o: Outbox): void {
    if (!o.idle) {
      this.#later.delete(o);
      this.#queue.add(o);
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.#pass());
  }

  #pass(): void {
    const at = this.#now();
    const link = this.#link;
    const live = link && !link.end;
    for (const o of this.#later) if (o.wakeAt() <= at.steady) this.#ready(o);
    this.#scheduled = false;
    if (live) this.#send(link, at);
    this.#moment = undefined;
    let wake = 0;
    if (live) {
      for (const o of this.#later) wake = Math.min(wake || Infinity, o.wakeAt());
      const { until } = this.#pace;
      if (this.#queue.size && until > at.steady) wake = Math.min(wake || Infinity, until);
    }
    this.#wake(wake, at.steady);
  }

  /** The link may be handed one more. */
  #open(at: Moment): boolean {
    return !this.#stalled && this.#pace.open(at.steady);
  }

  /** Asks for a pass at a time on the steady clock; 0: for none. */
  #wake(at: number, steady: number): void {
    if (at === this.#wakeAt) return;
    this.#wakeAt = at;
    clearTimeout(this.#timer);
    if (!at) return;
    this.#timer = setTimeout(() => {
      this.#wakeAt = 0;
      this.#schedule();
    }, Math.ceil(at - steady));
  }

  /** Gives every queued outbox its turns. */
  #send(link: LinkLike, at: Moment): void {
    const queue = this.#queue;
    for (const o of queue) {
      let sent = 0;
      for (let l: Letter | undefined; sent < turn && this.#open(at) && (l = o.next(at)); sent++) {
        if (this.#hand(link, o, l, at)) continue;
        o.unsent(l);
        this.#stall(link);
        break;
      }
      const open = this.#open(at);
      if (!open && !sent) return;
      queue.delete(o);
      if (!open || sent === turn) queue.add(o); // behind the others: it had its share
      else if (o.wakeAt() > at.steady) this.#later.add(o);
    }
  }

  /** Sends nothing until the link has room. */
  #stall(link: LinkLike): void {
    this.#stalled = true;
    link.onRoom = () => {
      if (link !== this.#link) return;
      this.#stalled = false;
      this.#schedule();
    };
  }

  /** Gives l to the link, false if it takes no more for now. */
  #hand(link: LinkLike, o: Outbox, l: Letter, at: Moment): boolean {
    const attempt = l.attempt;
    const taken = link.publish(o.publication(l, at), (position, end) => {
      const now = this.#now();
      const random = Math.random();
      if (link === this.#link) this.#pace.answered(end, now.steady, random);
      o.answer(l, attempt, position, end, now, random);
      this.#ready(o);
    });
    if (taken) this.#pace.flight++;
    return taken;
  }
}

function draw(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(16));
}
