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

export class Track {
  readonly #first: Reading;
  #end: Position = { epoch: Infinity, seq: 0 }; // where a limited one is complete
  #left: number; // of a limit
  #holes = 0; // in a row, without a message between

  /** The first OK came. */
  begun = false;
  /** Everything up to here was taken, or named in a gap. */
  last = zero;

  constructor(first: Reading) {
    this.#first = first;
    this.#left = first.limit;
  }

  /** What to ask the next link for. */
  request(credit: number): SubscribeRequest {
    return {
      ...this.#first,
      ...(this.begun && { from: { kind: "after", position: this.last }, limit: Math.max(this.#left, 0), barrier: false }),
      credit,
    };
  }

  ok(at: Position, head: Position): Verdict {
    if (!this.begun) {
      this.begun = true;
      this.last = at;
      if (this.#left) this.#end = head; // a later link's may be beyond it
    } else if (before(this.last, at)) {
      return this.#hole(); // asked for from before `last` was known, or before a gap led back
    }
    return this.complete ? "done" : "take";
  }

  message(at: Position): Verdict {
    const { last } = this;
    if (!before(last, at)) return "skip";
    if (before(this.#end, at)) return "done";
    // Only a gap leads to another epoch, or away from the start of one.
    const next = at.epoch === last.epoch || !last.seq ? last.seq + 1 : 0;
    if (at.seq !== next && !this.#first.latest) return this.#hole();
    this.last = at;
    this.#holes = 0;
    return --this.#left && !this.complete ? "take" : "last";
  }

  /** Moves on to before the gap's end; undefined if all of it was named before. */
  gap(after: Position, next: Position, reason: GapReason): Hole | undefined {
    const { last } = this;
    const prior = { epoch: next.epoch, seq: Math.max(next.seq - 1, 0) };
    // Where next is not beyond after, the home is not where it was: it begins again.
    if (before(after, next) && !before(last, prior)) return undefined;
    this.last = prior;
    // A broken continuity may void what was taken beyond `after`. Else all of it still stands.
    return { after: reason === "epoch" && before(after, last) ? after : last, next, reason };
  }

  /** Whether a limited one has reached where it ends. */
  get complete(): boolean {
    return !before(this.last, this.#end);
  }

  #hole(): Verdict {
    return this.#holes++ ? "broken" : "hole";
  }
}
