// What arrived for a consumer that has not taken it yet.

import type { Message } from "./message.ts";
import { before } from "./position.ts";
import type { Hole } from "./track.ts";

/** A place in the queue: a message, or a hole between messages. */
export interface Place {
  readonly message: Message | undefined;
  hole: Hole | undefined;
  /** Bytes of the message as it came. */
  readonly size: number;
  /** Where only the newest of each key is kept, the message's. */
  readonly key: string | undefined;
  newer: Place | undefined;
  older: Place | undefined;
}

const mostBuffers = 4;

/** Messages and the holes between them, in order. Who puts them in keeps it bounded, by `bytes`. */
export class Queue {
  #oldest: Place | undefined;
  #newest: Place | undefined;
  readonly #keys = new Map<string, Place>();
  #buffer: ArrayBufferLike | undefined; // of the last message; undefined: none is here
  #buffers = 0; // since none was
  /** Of the messages, as they came. */
  bytes = 0;
  /** Messages. */
  count = 0;

  /**
   * Returns what to keep of a message's body. It shares a buffer with others, perhaps with those
   * of other channels: a queue keeps a few buffers alive, and copies what comes in further ones.
   */
  own(body: Uint8Array): Uint8Array {
    if (body.buffer !== this.#buffer) this.#buffers++;
    this.#buffer = body.buffer;
    return this.#buffers > mostBuffers ? body.slice() : body;
  }

  /** Puts a message last; key: what it replaces, if that is there. */
  put(message: Message, size: number, key?: string): void {
    if (key !== undefined) {
      const old = this.#keys.get(key);
      if (old) this.#remove(old);
      this.#keys.set(key, this.#append(message, undefined, size, key));
    } else this.#append(message, undefined, size, key);
    this.bytes += size;
    this.count++;
  }

  /** Puts a hole last: one with the hole there, if no message lies between. */
  hole(h: Hole): void {
    const last = this.#newest;
    if (!last?.hole) this.#append(undefined, h, 0, undefined);
    else {
      const { after, reason } = last.hole;
      last.hole = { after: before(h.after, after) ? h.after : after, next: h.next, reason: reason === "epoch" ? reason : h.reason };
    }
  }

  /** Takes the oldest; undefined: there is nothing. */
  take(): Place | undefined {
    const p = this.#oldest;
    if (p) this.#remove(p);
    return p;
  }

  /** Drops the oldest message, if there is another. */
  drop(): boolean {
    let p = this.#oldest;
    if (p?.hole) p = p.newer;
    if (this.count < 2 || !p) return false;
    this.#remove(p);
    return true;
  }

  #append(message: Message | undefined, hole: Hole | undefined, size: number, key: string | undefined): Place {
    const older = this.#newest;
    const p: Place = { message, hole, size, key, newer: undefined, older };
    if (older) older.newer = p;
    else this.#oldest = p;
    return (this.#newest = p);
  }

  #remove(p: Place): void {
    const { older, newer } = p;
    if (older) older.newer = newer;
    else this.#oldest = newer;
    if (newer) newer.older = older;
    else this.#newest = older;
    // A dead place must not keep those behind it alive.
    p.older = p.newer = undefined;
    this.bytes -= p.size;
    if (p.message && !--this.count) {
      this.#buffer = undefined;
      this.#buffers = 0;
    }
    if (p.key !== undefined) this.#keys.delete(p.key);
  }
}
