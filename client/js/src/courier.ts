// Carries publishes to the link that stands: the outboxes decide, it moves.
import { now } from "./clock.ts";
import type { Moment } from "./clock.ts";
import { BusyError } from "./errors.ts";
import type { LinkLike, Publication } from "./link.ts";
import { Letter, outbox } from "./outbox.ts";
import type { Outbox } from "./outbox.ts";
import { startPace } from "./pace.ts";
import type { Position } from "./position.ts";

/** Letters of one channel that leave before another's. */
const turn = 64;
/** What a letter costs beside its body, in bytes. */
export const letterCost = 256;

/** Takes publishes, and sees to it that each gets its outcome. */
export interface Courier {
  /** Publishes without an outcome. */
  readonly pending: number;
  /**
   * Makes link, whose Welcome has come, the one to send on; undefined: none stands. subject: who
   * it speaks for. Producers are bound to the subject: under another one, the home would apply
   * again what it did before.
   */
  use(link: LinkLike | undefined, subject?: string): void;
  /**
   * Publishes body, an encoded message that it keeps, and resolves with its position once the
   * channel's home has acknowledged it. Publishes to one channel stand in the order of the calls.
   * producer: of an id; undefined: the channel's own.
   *
   * Rejects with BusyError at once where it has no room; with the relay's refusal; with the
   * reason of signal or of `abandon`. Where the message may stand nevertheless, UnknownOutcomeError.
   */
  post(channel: string, body: Uint8Array, producer?: Uint8Array, signal?: AbortSignal): Promise<Position>;
  /** Ends what is left with error, or UnknownOutcomeError, and refuses all that follows. */
  abandon(error: unknown): void;
  /** Resolves when every publish has its outcome. One call at a time. */
  drained(): Promise<void>;
}

/**
 * Makes a courier of at most `limit` bytes unanswered, `letterCost` added for each publish. It
 * sends over one link after another. One pass a turn of the event loop moves what can move; a
 * timer runs only while a refusal asks for a wait and a link stands.
 */
export function startCourier(limit: number): Courier {
  const pace = startPace(); // of the link; what it learned goes on with the next
  const boxes = new Map<string, Outbox>(); // by channel; those of ids are only in active
  const active = new Set<Outbox>(); // those with letters, in turn
  let current: LinkLike | undefined; // its onRoom is set while it takes no more
  let subject: string | undefined; // of the last link
  let pending = 0;
  let bytes = 0;
  let closed: unknown;
  let drained: (() => void) | undefined;
  let moment: Moment | undefined; // the present, until the pass that asking for it brings
  let timer: ReturnType<typeof setTimeout> | undefined;

  /** The present; a pass follows. */
  function present(): Moment {
    if (!moment) {
      moment = now();
      queueMicrotask(pass);
    }
    return moment;
  }

  function open(channel: string, producer: Uint8Array | undefined): Outbox {
    const at = present();
    const o = outbox(channel, draw, producer, at, (l) => {
      bytes -= l.body.length + letterCost;
      if (o.idle()) active.delete(o);
      if (!--pending) drained?.();
    });
    if (producer) return o;
    // Now and then, those that nothing is lost with go.
    if (boxes.size % 64 === 63) for (const [channel, o] of boxes) if (o.rested(at)) boxes.delete(channel);
    boxes.set(channel, o);
    return o;
  }

  /** Gives every outbox its turns, and sees when time alone makes another pass worth while. */
  function pass(): void {
    const at = moment!;
    const link = current;
    let wake = Infinity; // on the steady clock
    moment = undefined;
    clearTimeout(timer);
    if (!link || link.end) return;
    const room = () => !link.onRoom && pace.open(at.steady);
    const hand = (p: Publication, l: Letter, o: Outbox) => {
      const taken = link.publish(p, (position, end) => {
        const at = present();
        const random = Math.random();
        if (link === current) pace.answered(end, at.steady, random);
        o.answer(l, p, position, end, at, random);
      });
      if (taken) pace.flight++;
      else {
        link.onRoom = () => {
          link.onRoom = undefined;
          present();
        };
      }
      return taken;
    };
    for (const o of active) {
      if (!room()) {
        wake = pace.until;
        break;
      }
      let sent = 0;
      while (sent < turn && room() && o.next(at, hand)) sent++;
      if (sent === turn || (sent && !room())) {
        active.delete(o);
        active.add(o); // behind the others: it had its share
      } else wake = Math.min(wake, o.wakeAt());
    }
    if (wake > at.steady && wake < Infinity) timer = setTimeout(present, Math.ceil(wake - at.steady));
  }

  return {
    get pending() {
      return pending;
    },
    use(link, name) {
      if (link === current) return;
      if (current) current.onRoom = undefined;
      current = link;
      pace.flight = 0;
      const renamed = !!link && name !== subject;
      if (link) subject = name;
      for (const o of new Set([...boxes.values(), ...active])) o.lost(renamed);
      present();
    },
    post: (channel, body, producer, signal) =>
      new Promise((resolve, reject) => {
        if (closed) throw closed;
        signal?.throwIfAborted();
        const cost = body.length + letterCost;
        if (pending && bytes + cost > limit) {
          throw new BusyError(
            `publish to ${channel}: ${bytes} bytes wait, at most ${limit}: await some, or raise "unanswered"`,
          );
        }
        const give = () => {
          o.cancel(l, signal!.reason);
          present();
        };
        const l = new Letter(body, (at, error) => {
          signal?.removeEventListener("abort", give);
          if (at) resolve(at);
          else reject(error);
        });
        signal?.addEventListener("abort", give);
        const o = (!producer && boxes.get(channel)) || open(channel, producer);
        o.push(l, present());
        active.add(o);
        pending++;
        bytes += cost;
      }),
    abandon(error) {
      closed ??= error;
      for (const o of active) o.abandon(error);
      present();
    },
    drained: () =>
      new Promise((resolve) => {
        drained = resolve;
        if (!pending) resolve();
      }),
  };
}

function draw(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(16));
}
