// Which carrier connects: they are tried in order, and the first that is ready wins.
import { elapsed, now } from "./clock.ts";
import type { Moment } from "./clock.ts";
import type { Carrier } from "./session.ts";

const leastHeadStart = 500; // ms
const rememberFor = 600_000; // ms

/** How long the first carrier goes alone, in ms: four round trips are enough to be connected, had nothing been lost. */
export function headStart(rtt: number): number {
  return Math.max(leastHeadStart, 4 * rtt);
}

/**
 * Tries carriers in order: the next one after `head` ms, or as soon as those before it have
 * failed; 0: all at once. The first that is ready wins; the others are given up, and `discard`ed
 * if they become ready after all. Rejects with the signal's reason, or an AggregateError.
 */
export function race<T>(
  carriers: readonly Carrier[],
  head: number,
  signal: AbortSignal,
  dial: (carrier: Carrier, signal: AbortSignal) => Promise<T>,
  discard: (loser: T) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = new AbortController();
    const errors: Error[] = [];
    let next = 0;
    let running = 0;
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = () => {
      over = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted);
      giveUp.abort(new Error("another carrier was faster, or nobody waits any more"));
    };
    const aborted = () => {
      end();
      reject(signal.reason);
    };
    const start = () => {
      const carrier = carriers[next++]!;
      running++;
      // Inside a promise: constructors throw.
      Promise.resolve()
        .then(() => dial(carrier, giveUp.signal))
        .then(
          (t) => {
            if (over) return discard(t);
            end();
            resolve(t);
          },
          (e) => {
            if (over) return;
            running--;
            errors.push(new Error(`${carrier}: ${e instanceof Error ? e.message : e}`, { cause: e }));
            advance();
          },
        );
    };
    const advance = () => {
      while (next < carriers.length && (!running || head <= 0)) start();
      if (!running) {
        end();
        reject(new AggregateError(errors, errors.map((e) => e.message).join("; ")));
      }
    };
    if (signal.aborted) return aborted();
    signal.addEventListener("abort", aborted);
    if (head > 0) {
      timer = setTimeout(() => {
        head = 0;
        advance();
      }, head);
    }
    advance();
  });
}

/** Remembers for ten minutes which carrier won, until the network changes. */
export class Winner {
  #carrier: Carrier | undefined;
  #at: Moment | undefined;

  /** The carriers in the order to try them. */
  order(carriers: readonly Carrier[]): Carrier[] {
    const first = this.#at && elapsed(this.#at, now()) < rememberFor ? this.#carrier : undefined;
    return [...carriers].sort((a, b) => +(b === first) - +(a === first));
  }

  /** Notes that a carrier was the first to be ready; winning again does not make it last longer. */
  won(carrier: Carrier): void {
    if (this.#carrier === carrier && this.#at && elapsed(this.#at, now()) < rememberFor) return;
    this.#carrier = carrier;
    this.#at = now();
  }

  /** The network changed. */
  forget(): void {
    this.#at = undefined;
  }
}
