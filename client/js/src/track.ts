// Follows one subscription's positions over all the links it runs on: what to ask the next link
// for, and what to make of each frame. Pure: no clock, no I/O.

import type { GapReason, SubscribeRequest } from "./link.ts";
import { before, zero } from "./position.ts";
import type { Position } from "./position.ts";

/** What a subscription asks for; how many bytes it grants is said with each request. */
export type Reading = Omit<SubscribeRequest, "credit">;

/**
 * What to do after a frame: `take` it, or take it as the `last`; `skip` it, for an overlap of two
 * links; end, for the subscription is `done`; open again, for there is a `hole`; give up, for the
 * relay is `broken`.
 */
export type Verdict = "take" | "last" | "skip" | "done" | "hole" | "broken";

/** The messages between `after` and `next` will not come; `next` is the next position that can. */
export interface Hole {
  readonly after: Position;
  readonly next: Position;
  readonly reason: GapReason;
}

/** Follows one subscription. */
export interface Track {
  /** The first OK came. */
  readonly begun: boolean;
  /** Everything up to here was taken, or named in a gap. */
  readonly last: Position;
  /** Whether a limited one has reached where it ends. */
  complete(): boolean;
  /** What to ask the next link for. */
  request(credit: number): SubscribeRequest;
  ok(at: Position, head: Position): Verdict;
  message(at: Position): Verdict;
  /** Moves on to before the gap's end; undefined if all of it was named before. */
  gap(after: Position, next: Position, reason: GapReason): Hole | undefined;
}

export function track(first: Reading): Track {
  let end: Position = { epoch: Infinity, seq: 0 }; // where a limited one is complete
  let left = first.limit;
  let holes = 0; // in a row, without a message between
  let begun = false;
  let last = zero;

  const complete = () => !before(last, end);
  const hole = () => (holes++ ? "broken" : "hole");

  return {
    get begun() {
      return begun;
    },
    get last() {
      return last;
    },
    complete,
    request: (credit) => ({
      ...first,
      ...(begun && { from: { kind: "after", position: last }, limit: Math.max(left, 0), barrier: false }),
      credit,
    }),
    ok(at, head) {
      if (!begun) {
        begun = true;
        last = at;
        if (left) end = head; // a later link's may be beyond it
      } else if (before(last, at)) {
        return hole(); // asked for from before `last` was known, or before a gap led back
      }
      return complete() ? "done" : "take";
    },
    message(at) {
      if (!before(last, at)) return "skip";
      if (before(end, at)) return "done";
      // Only a gap leads to another epoch, or away from the start of one.
      const next = at.epoch === last.epoch || !last.seq ? last.seq + 1 : 0;
      if (at.seq !== next && !first.latest) return hole();
      last = at;
      holes = 0;
      return --left && !complete() ? "take" : "last";
    },
    gap(after, next, reason) {
      const from = last;
      const prior = { epoch: next.epoch, seq: Math.max(next.seq - 1, 0) };
      // Where next is not beyond after, the home is not where it was: it begins again.
      if (before(after, next) && !before(from, prior)) return undefined;
      last = prior;
      // A broken continuity may void what was taken beyond `after`. Else all of it still stands.
      return { after: reason === "epoch" && before(after, from) ? after : from, next, reason };
    },
  };
}
