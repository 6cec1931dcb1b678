// How a session ends, on any carrier: once, and told once.
import type { SessionHandler } from "./session.ts";

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

/** Shortens a reason to the 123 bytes of UTF-8 that a close carries. */
export function clip(reason: string): string {
  const bytes = new TextEncoder().encode(reason);
  let n = 123;
  if (bytes.length <= n) return reason;
  while ((bytes[n]! & 0xc0) === 0x80) n--;
  return new TextDecoder().decode(bytes.subarray(0, n));
}

/** Does what a platform may refuse, or has done already. */
export function quietly(fn: () => unknown): void {
  try {
    fn();
  } catch {
    // as well
  }
}
