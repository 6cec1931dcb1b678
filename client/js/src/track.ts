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
  #head = zero; // where a limited one ends
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
    const { last: position } = this;
    return this.begun
      ? { ...this.#first, from: { kind: "after", position }, limit: this.#left, barrier: false, credit }
      : { ...this.#first, credit };
  }

  ok(at: Position, head: Position): Verdict {
    if (!this.begun) {
      this.begun = true;
      this.last = at;
      this.#head = head;
    } else if (before(this.last, at)) {
      return this.#hole(); // asked for from before `last` was known, or before a gap led back
    }
    return this.#first.limit > 0 && !before(this.last, this.#head) ? "done" : "take";
  }

  message(at: Position): Verdict {
    const { last } = this;
    if (!before(last, at)) return "skip";
    const limited = this.#first.limit > 0;
    if (limited && before(this.#head, at)) return "done"; // a later link's head is beyond ours
    if (!this.#first.latest) {
      // Only a gap leads to another epoch, or away from the start of one.
      const next = at.epoch === last.epoch || last.seq === 0 ? last.seq + 1 : 0;
      if (at.seq !== next) return this.#hole();
    }
    this.last = at;
    this.#holes = 0;
    return limited && (--this.#left === 0 || !before(at, this.#head)) ? "last" : "take";
  }

  /** Moves on to before the gap's end; undefined if all of it was named before. */
  gap(after: Position, next: Position, reason: GapReason): Hole | undefined {
    const { last } = this;
    const prior = { epoch: next.epoch, seq: Math.max(next.seq - 1, 0) };
    const back = !before(after, next); // the home is not where it was: it begins again
    if (!back && !before(last, prior)) return undefined;
    this.last = prior;
    // A broken continuity may void what was taken beyond `after`. Else all of it still stands.
    return { after: reason === "epoch" && before(after, last) ? after : last, next, reason };
  }

  /** Whether a limited one has reached where it ends. */
  get complete(): boolean {
    return this.#first.limit > 0 && !before(this.last, this.#head);
  }

  #hole(): Verdict {
    return this.#holes++ ? "broken" : "hole";
  }
}
