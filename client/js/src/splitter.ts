// A stream of bytes, cut into frames: type, ref, length and body, wherever its pieces end.

import { Code, ProtocolViolation } from "./codes.ts";
import { Cursor, exact, malformed, Writer } from "./varint.ts";

/** Longest body of an unknown frame that is skipped, and room for a frame that is not all there, in bytes. */
const limit = 65536;

/** Longest body of a known frame in bytes; undefined: not known. */
export type Longest = (type: number) => number | undefined;

/** Takes one frame: its body is bytes from at to end of the cursor. */
export type TakeFrame = (type: number, ref: number, body: Cursor) => void;

/** A stream that is cut. */
export interface Splitter {
  /** Takes the next piece, which must not be changed afterwards. Throws ProtocolViolation; the stream is then of no further use. */
  push(piece: Uint8Array): void;
  /** The stream has ended. Throws if it did so within a frame. */
  finish(): void;
}

/**
 * Cuts a stream into frames. A frame that lies wholly in one piece is not copied. Of one that does
 * not it holds 64 KiB, and beyond at most twice what came, whatever length the frame claims.
 */
export function splitter(longest: Longest, take: TakeFrame): Splitter {
  /** What came of a frame that is not all there. */
  let held: Writer;
  /** Bytes to wait for before it is looked at again: one for each of the header, then the body. 0: nothing is held. */
  let missing = 0;

  function cut(piece: Uint8Array): void {
    const c = new Cursor(piece);
    const { end } = c;
    while (c.at < end) {
      const start = c.at;
      const type = c.varint();
      const ref = c.varint();
      const size = c.varint(); // below 0 if one before it is
      const after = c.at + size;
      if (size >= 0) {
        const most = longest(type);
        exact(ref);
        // The lowest bit is that of the first byte, of a type beyond 2^53 too.
        if (most === undefined && !(piece[start]! & 1)) throw new ProtocolViolation("unknown frame " + type, Code.unsupported);
        if (size > (most ?? limit)) throw new ProtocolViolation("too long frame " + type, Code.too_large);
        if (after <= end) {
          c.end = after;
          if (most) take(type, ref, c);
          c.end = end;
          c.at = after;
          continue;
        }
      }
      missing = size < 0 ? 1 : after - end;
      held = new Writer(Math.min(end - start + missing, limit));
      held.raw(piece.subarray(start));
      return;
    }
  }

  return {
    push(piece) {
      while (missing) {
        const more = piece.subarray(0, missing);
        held.raw(more);
        if ((missing -= more.length)) return;
        piece = piece.subarray(more.length);
        cut(held.take());
      }
      cut(piece);
    },
    finish() {
      if (missing) malformed();
    },
  };
}
