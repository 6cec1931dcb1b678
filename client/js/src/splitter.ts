// A stream of bytes, cut into frames: type, ref, length and body, wherever its pieces end.

import { Code, ProtocolViolation } from "./codes.ts";
import { Cursor, MAX, malformed, Writer } from "./varint.ts";

const longestHeader = 30;
/** Longest body of an unknown frame that is skipped, in bytes. */
const longestUnknown = 65536;

/** Bytes for a body that is not all there; more only as they come. */
const atOnce = 65536;

/** Longest body of a known frame in bytes; undefined: not known. */
export type Longest = (type: number) => number | undefined;

/** Takes one frame: its body is bytes from at to end of the cursor. */
export type TakeFrame = (type: number, ref: number, body: Cursor) => void;

/**
 * Cuts a stream into frames. A frame that lies wholly in one piece is not copied. Of one that does
 * not it holds 64 KiB, and beyond at most twice what came, whatever length the frame claims.
 */
export class Splitter {
  readonly #longest: Longest;
  readonly #take: TakeFrame;
  /** Of a header that is not all there. */
  #head = new Uint8Array(0);
  #type = 0;
  #ref = 0;
  /** Bytes of the body that are still to come. */
  #missing = 0;
  /** Where they go; undefined: the frame is skipped. */
  #body: Writer | undefined;

  constructor(longest: Longest, take: TakeFrame) {
    this.#longest = longest;
    this.#take = take;
  }

  /** Takes the next piece, which must not be changed afterwards. Throws ProtocolViolation; the stream is then of no further use. */
  push(piece: Uint8Array): void {
    const c = new Cursor(piece);
    const end = piece.length;
    while (c.at < end) {
      if (this.#missing) {
        const n = Math.min(this.#missing, end - c.at);
        this.#body?.raw(piece.subarray(c.at, c.at + n));
        c.at += n;
        if ((this.#missing -= n)) return;
        const whole = this.#body?.take();
        this.#body = undefined;
        if (whole) this.#take(this.#type, this.#ref, new Cursor(whole));
        continue;
      }
      const size = this.#header(c);
      if (size === undefined) return;
      const known = this.#longest(this.#type) !== undefined;
      const after = c.at + size;
      if (after > end) {
        this.#missing = size;
        if (known) this.#body = new Writer(Math.min(size, atOnce));
        continue;
      }
      if (known) {
        c.end = after;
        this.#take(this.#type, this.#ref, c);
        c.end = end;
      }
      c.at = after;
    }
  }

  /** The stream has ended. Throws if it did so within a frame. */
  finish(): void {
    if (this.#missing || this.#head.length) throw new ProtocolViolation("the stream ended within a frame");
  }

  /** Reads a header and returns the length of the body; undefined: it is not all there, and what is was kept. */
  #header(c: Cursor): number | undefined {
    const before = this.#head.length;
    let h = c;
    if (before) {
      const joined = new Uint8Array(Math.min(before + c.end - c.at, longestHeader));
      joined.set(this.#head);
      joined.set(c.bytes.subarray(c.at, c.at + joined.length - before), before);
      h = new Cursor(joined);
    }
    const start = h.at;
    const type = h.varint();
    const odd = h.low & 1; // of a type beyond 2^53 too
    const ref = type < 0 ? -1 : h.varint();
    const size = ref < 0 ? -1 : h.varint();
    if (size < 0) {
      this.#head = h.bytes.slice(start, h.end);
      return undefined;
    }
    if (before) {
      c.at += h.at - before;
      this.#head = new Uint8Array(0);
    }
    if (ref > MAX) malformed("ref: not below 2^53");
    const longest = this.#longest(type);
    if (longest === undefined && !odd) throw new ProtocolViolation("frame of unknown type " + type, Code.unsupported);
    if (size > (longest ?? longestUnknown))
      throw new ProtocolViolation(`frame of type ${type} with ${size} bytes`, Code.too_large);
    this.#type = type;
    this.#ref = ref;
    return size;
  }
}
