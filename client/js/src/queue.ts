// What arrived for a consumer that has not taken it yet.

import { Place } from "./list.ts";
import type { Message } from "./message.ts";
import { before } from "./position.ts";
import type { Hole } from "./track.ts";

/** A message, or a hole between messages. */
export class Item extends Place {
  hole: Hole | undefined;
  declare readonly message: Message | undefined;
  /** Bytes of the message as it came. */
  declare readonly size: number;
  /** Where only the newest of each key is kept, the message's. */
  declare readonly key: string | undefined;

  constructor(message?: Message, size = 0, key?: string) {
    super();
    this.message = message;
    this.size = size;
    this.key = key;
  }
}

const mostBuffers = 4;

/** Messages and the holes between them, in order. Who puts them in keeps it bounded, by `bytes`. */
export class Queue {
  readonly #list = new Item();
  readonly #keys = new Map<string, Item>();
  #buffer: ArrayBufferLike | undefined; // of the last message; undefined: none is here
  #buffers = 0; // since none was
  #count = 0; // messages
  /** Of the messages, as they came. */
  bytes = 0;

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
    const p = new Item(message, size, key);
    if (key !== undefined) {
      const old = this.#keys.get(key);
      if (old) this.#remove(old);
      this.#keys.set(key, p);
    }
    this.#list.put(p);
    this.bytes += size;
    this.#count++;
  }

  /** Puts a hole last: one with the hole there, if no message lies between. */
  hole(h: Hole): void {
    let p = this.#list.before;
    if (!p.hole) this.#list.put((p = new Item()));
    const { after, reason } = p.hole ?? h;
    p.hole = { after: before(h.after, after) ? h.after : after, next: h.next, reason: reason === "epoch" ? reason : h.reason };
  }

  /** Takes the oldest; undefined: there is nothing. */
  take(): Item | undefined {
    const p = this.#list.after;
    return p === this.#list ? undefined : this.#remove(p);
  }

  /** Drops the oldest message, if there is another. */
  drop(): boolean {
    if (this.#count < 2) return false;
    let p = this.#list.after;
    while (p.hole) p = p.after;
    return !!this.#remove(p);
  }

  #remove(p: Item): Item {
    p.leave();
    this.bytes -= p.size;
    if (p.message && !--this.#count) {
      this.#buffer = undefined;
      this.#buffers = 0;
    }
    if (p.key !== undefined) this.#keys.delete(p.key);
    return p;
  }
}
