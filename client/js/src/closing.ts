// How a session begins and ends, on any carrier: given up by a signal; once, and told once.
import type { SessionHandler } from "./session.ts";
import { encoder } from "./varint.ts";

export interface Closing {
  /** Nothing is told any more. */
  over: boolean;
  /** The carrier says that it ended. */
  ended(code: number | undefined, reason: string): void;
  /** Ends it; the answer of a peer that is gone is not waited for. */
  close(code: number, reason: string): void;
}

/** shut ends the carrier's session; its reason fits. What it throws is dropped: then it had ended. */
export function closing(handler: SessionHandler, shut: (code: number, reason: string) => void): Closing {
  const c: Closing = {
    over: false,
    ended(code, reason) {
      if (!c.over) handler.closed(code, reason);
      c.over = true;
    },
    close(code, reason) {
      if (c.over) return;
      c.over = true;
      quietly(() => shut(code, clip(reason)));
      queueMicrotask(() => handler.closed(code, reason));
    },
  };
  return c;
}

/** Resolves as `made` does; if it fails or the signal is faster, `shut` is called, whatever it throws. */
export function unlessAborted<T>(signal: AbortSignal | undefined, made: Promise<T>, shut = () => {}): Promise<T> {
  const done = new AbortController();
  return new Promise<T>((resolve, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason), done);
    made.then(resolve, reject);
    signal?.throwIfAborted();
  })
    .catch((e) => {
      quietly(shut);
      throw e;
    })
    .finally(() => done.abort());
}

/** Shortens a reason to the 123 bytes of UTF-8 that a close carries. */
export function clip(reason: string): string {
  return reason.slice(0, encoder.encodeInto(reason, new Uint8Array(123)).read);
}

/** Does what a platform may refuse, now or later, or has done already. */
export async function quietly(fn: () => unknown): Promise<void> {
  try {
    await fn();
  } catch {
    // as well
  }
}
