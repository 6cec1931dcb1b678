// Which carrier connects: they are tried in order, and the first that is ready wins.
import { elapsed, now } from "./clock.ts";
import type { Moment } from "./clock.ts";
import { unlessAborted } from "./closing.ts";
import type { Carrier } from "./session.ts";

const leastHeadStart = 500; // ms
const rememberFor = 600_000; // ms

/** How long the first carrier goes alone, in ms: four round trips are enough to be connected, had nothing been lost. */
export function headStart(rtt = 0): number {
  return Math.max(leastHeadStart, 4 * rtt);
}

/**
 * Tries the first carrier, and the others after `head` ms or as soon as one has failed; 0: all at
 * once. The first that is ready wins; the others are given up, and `discard`ed if they become
 * ready after all. Rejects with the signal's reason, or an AggregateError.
 */
export async function race<T>(
  carriers: readonly Carrier[],
  head: number,
  signal: AbortSignal,
  dial: (carrier: Carrier, signal: AbortSignal) => Promise<T>,
  discard: (loser: T) => void,
): Promise<T> {
  signal.throwIfAborted();
  const giveUp = new AbortController();
  let won: T;
  let startOthers!: () => void;
  let timer: ReturnType<typeof setTimeout>;
  const othersStart = new Promise<void>((resolve) => {
    startOthers = resolve;
    timer = setTimeout(resolve, head);
  });
  const dials = carriers.map(async (carrier, i) => {
    try {
      if (i && head) await othersStart;
      giveUp.signal.throwIfAborted();
      return await dial(carrier, giveUp.signal);
    } catch (e) {
      startOthers();
      throw new Error(`${carrier}: ${(e as Error)?.message ?? e}`, { cause: e });
    }
  });
  try {
    return (won = await unlessAborted(signal, Promise.any(dials)));
  } finally {
    clearTimeout(timer!);
    giveUp.abort();
    for (const d of dials) d.then((t) => t === won || discard(t), () => {});
  }
}

/** Remembers for ten minutes which carrier won, until the network changes. */
export class Winner {
  #carrier: Carrier | undefined;
  #at: Moment | undefined;

  #first(): Carrier | undefined {
    return this.#at && elapsed(this.#at) < rememberFor ? this.#carrier : undefined;
  }

  /** The carriers in the order to try them. */
  order(carriers: readonly Carrier[]): Carrier[] {
    const first = this.#first();
    return [...carriers].sort((a, b) => +(b === first) - +(a === first));
  }

  /** Notes that a carrier was the first to be ready; winning again does not make it last longer. */
  won(carrier: Carrier): void {
    if (this.#first() === carrier) return;
    this.#carrier = carrier;
    this.#at = now();
  }

  /** The network changed. */
  forget(): void {
    this.#at = undefined;
  }
}
