// How many bytes a subscription may have on the way and unread.

/** What the largest window is, in bytes, unless it was asked for a larger one. */
const largest = 1 << 20;

/** A window that goes by within so many milliseconds is one that a round trip may wait for. */
const quick = 1000;

/**
 * A window grows by what the consumer does. It doubles, up to the largest, when all of it was taken
 * within a second by a consumer that had to wait for messages meanwhile: then the window may be
 * what held them up. So a path with a round trip of up to a second gets what it can carry, and no
 * window is more than its consumer took in two seconds, but the one that it began with. It never
 * shrinks: of a consumer that then stands still, it is that many bytes once.
 */
export class Window {
  /** Bytes. */
  declare size: number;
  #passed = 0;
  #since = performance.now();
  /** The consumer waited for a message since the window last went by. */
  waited = false;

  constructor(size: number) {
    this.size = size;
  }

  /** The consumer took so many bytes. */
  took(bytes: number): void {
    if ((this.#passed += bytes) < this.size) return;
    const now = performance.now();
    if (this.waited && now - this.#since < quick) this.size = Math.max(this.size, Math.min(2 * this.size, largest));
    this.#passed = 0;
    this.#since = now;
    this.waited = false;
  }
}
