// Varints and protobuf fields, read from and written to byte arrays.

import { ProtocolViolation } from "./codes.ts";

/** Numbers that name something are at most this: what JavaScript holds exactly. */
export const MAX = Number.MAX_SAFE_INTEGER;

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

export function utf8(s: string): Uint8Array {
  return encoder.encode(s);
}

export function malformed(what: string): never {
  throw new ProtocolViolation("malformed " + what);
}

/** Reads varints and fields between `at` and `end` of some bytes. May be used again for others. */
export class Cursor {
  bytes: Uint8Array;
  at: number;
  end: number;
  /** Of the field that `next` read: number × 8 + wire type. */
  tag = 0;
  /** A varint's value, exact up to 2^53-1 and never below that if it is beyond; the length of bytes. */
  value = 0;
  /** The low 32 bits of the last varint, signed. */
  low = 0;

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Reads a varint; -1: it is not all there. Throws if it is longer than ten bytes or 64 bits. */
  varint(): number {
    const { bytes, end } = this;
    let at = this.at;
    if (at >= end) return -1;
    let b = bytes[at++]!;
    let v = b & 127;
    let low = v;
    for (let shift = 7, scale = 128; b > 127; shift += 7, scale *= 128) {
      if (at >= end) return -1;
      b = bytes[at++]!;
      if (shift > 62 && b > 1) malformed("varint");
      v += (b & 127) * scale;
      if (shift < 32) low |= (b & 127) << shift;
    }
    this.at = at;
    this.low = low;
    return v;
  }

  /** Reads a varint that must be there. */
  number(): number {
    const v = this.varint();
    return v < 0 ? malformed("body") : v;
  }

  /** Reads a varint that names something. */
  name(): number {
    const v = this.number();
    return v > MAX ? malformed("number") : v;
  }

  /** Reads the next field into `tag` and `value`; false: there is none. Of bytes, `at` is then behind them. */
  next(): boolean {
    if (this.at >= this.end) return false;
    const tag = (this.tag = this.number());
    const type = tag % 8;
    // Groups are malformed: version 3 of protobuf has none.
    if (tag < 8 || tag >= 2 ** 32 || (type > 2 && type !== 5)) malformed("field");
    if (type === 1) this.at += 8;
    else if (type === 5) this.at += 4;
    else {
      this.value = this.number();
      if (type) this.at += this.value;
    }
    if (this.at > this.end) malformed("field");
    return true;
  }

  /** The bytes of the field that `next` read: a view. */
  view(): Uint8Array {
    return this.bytes.subarray(this.at - this.value, this.at);
  }

  /** A cursor on the field that `next` read. */
  inner(): Cursor {
    return new Cursor(this.bytes, this.at - this.value, this.at);
  }

  /** The text of the field that `next` read; it must be UTF-8. */
  text(): string {
    try {
      return strict.decode(this.view());
    } catch {
      return malformed("text");
    }
  }
}

/** Writes varints and fields, in their shortest form, into a buffer that grows. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer>;
  /** Bytes written. */
  length = 0;

  /** room: bytes to begin with. */
  constructor(room = 0) {
    this.#bytes = new Uint8Array(room);
  }

  #room(n: number): number {
    const at = this.length;
    const need = (this.length += n);
    if (need > this.#bytes.length) {
      const old = this.#bytes;
      this.#bytes = new Uint8Array(Math.max(2 * old.length, need, 64));
      this.#bytes.set(old.subarray(0, at));
    }
    return at;
  }

  #byte(b: number): void {
    const at = this.#room(1);
    this.#bytes[at] = b;
  }

  /** v is a whole number from 0 to 2^53-1. */
  varint(v: number): void {
    for (; v > 127; v = Math.floor(v / 128)) this.#byte((v % 128) | 128);
    this.#byte(v);
  }

  raw(b: Uint8Array): void {
    const at = this.#room(b.length);
    this.#bytes.set(b, at);
  }

  /** Field of a varint, rounded down; 0 is left out. */
  number(field: number, v: number | boolean): void {
    v = Math.floor(+v);
    if (v > 0) {
      this.varint(field * 8);
      this.varint(v);
    }
  }

  /** Field of bytes or text, also if it is empty. */
  always(field: number, v: Uint8Array | string): void {
    this.varint(field * 8 + 2);
    if (typeof v === "string") this.sized(() => this.#text(v));
    else {
      this.varint(v.length);
      this.raw(v);
    }
  }

  #text(s: string): void {
    const at = this.#room(3 * s.length);
    this.length = at + encoder.encodeInto(s, this.#bytes.subarray(at)).written;
  }

  /** Field of bytes or text; empty is left out. */
  data(field: number, v: Uint8Array | string): void {
    if (v.length) this.always(field, v);
  }

  /** What `fill` writes, with its length before it. */
  sized(fill: (w: this) => void): void {
    const start = this.length;
    fill(this);
    const n = this.length - start;
    let extra = 1;
    for (let v = n; v > 127; v = Math.floor(v / 128)) extra++;
    this.#room(extra);
    this.#bytes.copyWithin(start + extra, start, start + n);
    this.length = start;
    this.varint(n);
    this.length += n;
  }

  /** Everything written; the writer is empty afterwards, and the bytes belong to the caller. */
  take(): Uint8Array<ArrayBuffer> {
    const b = this.#bytes.subarray(0, this.length);
    this.#bytes = new Uint8Array(0);
    this.length = 0;
    return b;
  }
}
