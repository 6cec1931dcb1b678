// A stream of bytes, cut into frames: type, ref, length and body, wherever its pieces end.

import { Code, ProtocolViolation } from "./codes.ts";
import { Cursor, MAX, malformed, Writer } from "./varint.ts";

const none = new Uint8Array(0);
/** Longest body of an unknown frame that is skipped, in bytes. */
const longestUnknown = 65536;

/** Bytes for a body that is not all there; more only as they come. */
const atOnce = 65536;

/** Longest body of a known frame in bytes, above 0; undefined: not known. */
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
  #head = none;
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
    const head = this.#head;
    if (head.length) {
      // At most 29 bytes, so that no piece is copied more than once.
      const w = new Writer(head.length + piece.length);
      w.raw(head);
      w.raw(piece);
      piece = w.take();
      this.#head = none;
    }
    const c = new Cursor(piece);
    const { end } = c;
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
      const start = c.at;
      const type = c.varint();
      const odd = c.low & 1; // of a type beyond 2^53 too
      const ref = type < 0 ? -1 : c.varint();
      const size = ref < 0 ? -1 : c.varint();
      if (size < 0) {
        this.#head = piece.slice(start);
        return;
      }
      if (ref > MAX) malformed("ref");
      const longest = this.#longest(type);
      if (longest === undefined && !odd) throw new ProtocolViolation("unknown frame " + type, Code.unsupported);
      if (size > (longest ?? longestUnknown)) throw new ProtocolViolation(`frame ${type} of ${size} bytes`, Code.too_large);
      const after = c.at + size;
      if (after > end) {
        this.#type = type;
        this.#ref = ref;
        this.#missing = size;
        this.#body = longest ? new Writer(Math.min(size, atOnce)) : undefined;
        continue;
      }
      if (longest) {
        c.end = after;
        this.#take(type, ref, c);
        c.end = end;
      }
      c.at = after;
    }
  }

  /** The stream has ended. Throws if it did so within a frame. */
  finish(): void {
    if (this.#missing || this.#head.length) malformed("stream: it ended within a frame");
  }
}
