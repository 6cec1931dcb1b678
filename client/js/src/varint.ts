// Varints and protobuf fields, read from and written to byte arrays.

import { ProtocolViolation } from "./codes.ts";

/** Numbers that name something are at most this: what JavaScript holds exactly. */
export const MAX = Number.MAX_SAFE_INTEGER;

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
export const encoder = new TextEncoder();

export function utf8(s: string): Uint8Array {
  return encoder.encode(s);
}

/** What is not the protocol. */
export function malformed(): never {
  throw new ProtocolViolation("malformed bytes");
}

/** A number that names something, if it is one. */
export function exact(v: number): number {
  return v > MAX ? malformed() : v;
}

/** Reads varints and fields between `at` and `end` of some bytes. May be used again for others. */
export class Cursor {
  declare bytes: Uint8Array;
  declare at: number;
  declare end: number;
  /** Of the field that `next` read: number × 8 + wire type. */
  tag = 0;
  /** A varint's value, exact up to 2^53-1 and never below that if it is beyond; the length of bytes. */
  value = 0;

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Reads a varint; -1: it is not all there, and nothing was read. Throws if it is longer than ten bytes or 64 bits. */
  varint(): number {
    const { bytes, end } = this;
    let at = this.at;
    let v = 0;
    let b = 128;
    for (let scale = 1; b > 127; scale *= 128) {
      if (at >= end) return -1;
      b = bytes[at++]!;
      if (scale > 2 ** 62 && b > 1) malformed();
      v += (b & 127) * scale;
    }
    this.at = at;
    return v;
  }

  /** Reads a varint that must be there. */
  number(): number {
    const v = this.varint();
    return v < 0 ? malformed() : v;
  }

  /** Reads the next field into `tag` and `value`; false: there is none. Of bytes, `at` is then behind them. */
  next(): boolean {
    if (this.at >= this.end) return false;
    const tag = (this.tag = this.number());
    const type = tag % 8;
    if (type === 1) this.at += 8;
    else if (type === 5) this.at += 4;
    else {
      this.value = this.number();
      if (type) this.at += this.value;
    }
    // Groups are malformed: version 3 of protobuf has none.
    if (tag < 8 || tag >= 2 ** 32 || (type > 2 && type !== 5) || this.at > this.end) malformed();
    return true;
  }

  /** The bytes of the field that `next` read: a view. */
  view(): Uint8Array {
    return this.bytes.subarray(this.at - this.value, this.at);
  }

  /** A cursor on the field that `next` read. */
  inner(): Cursor {
    return new Cursor(this.view());
  }

  /** The text of the field that `next` read; it must be UTF-8. */
  text(): string {
    try {
      return strict.decode(this.view());
    } catch {
      return malformed();
    }
  }
}

/** What a field can hold. Of numbers, what is behind the point is not written. */
export type Value = number | string | Uint8Array;

/** Writes varints and fields, in their shortest form, into a buffer that grows. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer>;
  /** Bytes written. */
  length = 0;

  /** room: bytes to begin with. */
  constructor(room = 0) {
    this.#bytes = new Uint8Array(room);
  }

  /** The buffer, with room for so many bytes more. */
  #room(n: number): Uint8Array {
    const old = this.#bytes;
    n += this.length;
    if (n > old.length) {
      this.#bytes = new Uint8Array(Math.max(2 * old.length, n, 64));
      this.#bytes.set(old);
    }
    return this.#bytes;
  }

  /** v is a whole number from 0 to 2^53-1. */
  varint(v: number): void {
    const bytes = this.#room(8);
    for (; v > 127; v = Math.floor(v / 128)) bytes[this.length++] = (v % 128) | 128;
    bytes[this.length++] = v;
  }

  raw(b: Uint8Array): void {
    this.#room(b.length).set(b, this.length);
    this.length += b.length;
  }

  /** What `fill` writes, with its length before it. */
  sized(fill: () => void): void {
    const start = this.length;
    fill();
    const end = this.length;
    const n = end - start;
    this.varint(n); // for room, and to know its size
    this.#bytes.copyWithin(start + this.length - end, start, end);
    this.length = start;
    this.varint(n);
    this.length += n;
  }

  /** A field, also if it is 0 or empty. */
  field(n: number, v: Value): void {
    const number = typeof v === "number";
    this.varint(n * 8 + (number ? 0 : 2));
    if (number) this.varint(Math.floor(v));
    else if (typeof v === "string") this.sized(() => (this.length += encoder.encodeInto(v, this.#room(3 * v.length).subarray(this.length)).written));
    else {
      this.varint(v.length);
      this.raw(v);
    }
  }

  /** Fields from 1 on; what is 0 or empty is left out. */
  fields(values: readonly Value[]): void {
    let n = 0;
    for (const v of values) {
      n++;
      if (((v as Uint8Array).length ?? v) >= 1) this.field(n, v);
    }
  }

  /** Everything written; the writer is empty afterwards, and the bytes belong to the caller. */
  take(): Uint8Array<ArrayBuffer> {
    const b = this.#bytes.subarray(0, this.length);
    this.#bytes = new Uint8Array(0);
    this.length = 0;
    return b;
  }
}
