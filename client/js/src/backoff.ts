import { retryOf } from "./codes.ts";
import type { End } from "./session.ts";

/**
 * The wait in milliseconds before the attempt after so many failures: uniform between 0 and
 * least × 2^(failures-1), at most `most` ("Exponential Backoff And Jitter", AWS Architecture
 * Blog, 2015). random is in [0, 1).
 */
export function fullJitter(least: number, most: number, failures: number, random: number): number {
  return failures > 0 ? random * Math.min(most, least * 2 ** (failures - 1)) : 0;
}

/** Milliseconds to wait after a retryable end, the failures-th in a row. random is in [0, 1). */
export function retryDelay(end: End, failures: number, random: number): number {
  if (end.retryAfter > 0) return end.retryAfter * (1 + random / 4);
  const rule = retryOf(end.code);
  return rule === "again" || rule === "elsewhere"
    ? fullJitter(50, 5000, failures - 1, random)
    : 500 + fullJitter(1000, 10_000, failures, random);
}
