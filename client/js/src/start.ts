// Where a subscription begins: what a caller writes, and what is asked of the relay.

import { BadRequestError } from "./errors.ts";
import type { WireStart } from "./link.ts";
import type { Position } from "./position.ts";
import { MAX } from "./varint.ts";

/**
 * Where to begin: at what comes next, at the oldest retained, with the last so many, after a
 * position, or with what is younger than a duration ("90s", "10m", "1h30m", "7d", or milliseconds).
 */
export type From = "live" | "start" | `last:${number}` | Position | { readonly since: string | number };

const units: Record<string, number> = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

/** Throws BadRequestError for anything else than a From. */
export function parseStart(from: From): WireStart {
  if (from === "live") return { kind: "live" };
  if (from === "start") return { kind: "first" };
  if (typeof from === "string") {
    const count = Number(/^last:(\d+)$/.exec(from)?.[1] ?? -1);
    if (isNumber(count)) return { kind: "last", count };
  } else if (from) {
    const { epoch, seq, since } = from as Partial<Position> & { since?: string | number };
    const ms = typeof since === "string" ? duration(since) : since;
    if (typeof ms === "number" && ms >= 0 && ms <= MAX) return { kind: "since", ms };
    if (isNumber(epoch) && isNumber(seq) && since === undefined) return { kind: "after", position: { epoch, seq } };
  }
  throw new BadRequestError(
    `from ${show(from)}: give "live", "start", "last:50", { since: "10m" } or { epoch, seq }`,
  );
}

function isNumber(v: unknown): v is number {
  return Number.isSafeInteger(v) && (v as number) >= 0;
}

/** Milliseconds of "1h30m"; NaN: not a duration. */
function duration(s: string): number {
  let ms = 0;
  const rest = s.replace(/(\d+(?:\.\d+)?)(ms|[smhd])/g, (_, n, unit) => ((ms += n * units[unit]!), ""));
  return rest || !s ? NaN : ms;
}

/** A value for an error, at most 99 characters. */
export function show(v: unknown): string {
  let s: string | undefined;
  try {
    s = JSON.stringify(v);
  } catch {} // cyclic, or a bigint
  return (s ?? String(v)).slice(0, 99);
}
