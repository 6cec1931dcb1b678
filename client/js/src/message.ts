// A message as a subscriber gets it, and as a publisher gives it.

import { BadRequestError, MeridianError, TooLargeError } from "./errors.ts";
import type { Position } from "./position.ts";
import { Cursor, utf8, Writer } from "./varint.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bounds in bytes of what is not the payload, and of a payload where the relay names no lower one. */
const maxKey = 256;
const maxOther = 4096;
const maxPayload = 1 << 20;

/** The last that a Date can say, in milliseconds. */
const lastDate = 864e13;

/** Headers of a message: frozen, and without a prototype, so that any name is harmless. */
export type Headers = Readonly<Record<string, string>>;

const noHeaders: Headers = Object.freeze(Object.create(null));

interface Parts {
  bytes: Uint8Array;
  key: string | undefined;
  headers: Headers;
  contentType: string | undefined;
  publisher: string | undefined;
  time: number;
}

/** One message of a channel. Its parts are read when they are asked for. */
export class Message {
  readonly channel: string;
  readonly position: Position;
  readonly #body: Uint8Array;
  #parts: Parts | undefined;

  /** body is an encoded message that nobody changes any more. */
  constructor(channel: string, position: Position, body: Uint8Array) {
    this.channel = channel;
    this.position = position;
    this.#body = body;
  }

  /** The payload: a view that shares its buffer with other messages. Copy what is kept for long, and do not change it. */
  get bytes(): Uint8Array {
    return this.#read().bytes;
  }

  /** Undefined: none. */
  get key(): string | undefined {
    return this.#read().key;
  }

  get headers(): Headers {
    return this.#read().headers;
  }

  /** A media type; undefined: not said. */
  get contentType(): string | undefined {
    return this.#read().contentType;
  }

  /** Whom the publisher's token speaks for; undefined: not said. */
  get publisher(): string | undefined {
    return this.#read().publisher;
  }

  /** When the relay ordered it, in whole milliseconds of the relay's clock. Never decreases along a channel. */
  get time(): Date {
    return new Date(Math.min(this.#read().time, lastDate));
  }

  /** The payload as text. What is not UTF-8 becomes U+FFFD. */
  text(): string {
    return decoder.decode(this.bytes);
  }

  /** The payload as JSON. Throws MeridianError, with the SyntaxError as its cause, if it is none. */
  json(): any {
    try {
      return JSON.parse(this.text());
    } catch (e) {
      const { epoch, seq } = this.position;
      throw new MeridianError(`message ${epoch}:${seq} of ${this.channel} is not JSON: use text() or bytes`, { cause: e });
    }
  }

  #read(): Parts {
    return (this.#parts ??= read(this.#body));
  }
}

function read(body: Uint8Array): Parts {
  const c = new Cursor(body);
  let bytes = body.subarray(0, 0);
  let key, contentType, publisher;
  let time = 0;
  let headers: Record<string, string> | undefined;
  while (c.next()) {
    if (c.tag === 10) bytes = c.view();
    if (c.tag === 18) key = loose(c);
    if (c.tag === 26) {
      let name = "";
      let value = "";
      for (const entry = c.inner(); entry.next(); ) {
        if (entry.tag === 10) name = loose(entry);
        if (entry.tag === 18) value = loose(entry);
      }
      headers ??= Object.create(null) as Record<string, string>;
      headers[name] = value;
    }
    if (c.tag === 34) contentType = loose(c);
    if (c.tag === 114) publisher = loose(c);
    if (c.tag === 120) time = c.value;
  }
  return {
    bytes,
    key: key || undefined,
    headers: headers ? Object.freeze(headers) : noHeaders,
    contentType: contentType || undefined,
    publisher: publisher || undefined,
    time,
  };
}

function loose(c: Cursor): string {
  return decoder.decode(c.view());
}

/** What `publish` takes: exactly one of text, json and bytes. */
export type Outgoing = ({ text: string } | { json: unknown } | { bytes: ArrayBuffer | ArrayBufferView }) & {
  /** For mode latest and keyed retention; at most 256 bytes of UTF-8. */
  key?: string;
  /** With contentType at most 4096 bytes, as they are encoded. */
  headers?: Record<string, string>;
  /** A media type. */
  contentType?: string;
  /** Makes one message of all that carry it, by the same subject, within ten minutes. Not sent to subscribers. */
  id?: string;
};

/** Encodes a message, copying its payload. payload: the relay's limit in bytes; 0: not said. Throws BadRequestError and TooLargeError. */
export function encodeMessage(m: Outgoing, payload: number): Uint8Array {
  const w = new Writer();
  const most = Math.min(payload || maxPayload, maxPayload);
  bounded(w, 1, payloadOf(m), "payload", most);
  bounded(w, 2, text("key", m.key ?? ""), "key", maxKey);
  const before = w.length;
  const headers = m.headers ?? {};
  // Of a Map or a list, Object.entries would be something else.
  if (typeof headers !== "object" || Symbol.iterator in headers) throw new BadRequestError("headers: give a plain object of strings");
  const entries = Object.entries(headers).map(([name, value]) => ({
    name: text("header name", name),
    value: text("header " + name, value),
    // In the order of its bytes, as every SDK: the relay compares what comes under one id.
    order: String.fromCharCode(...utf8(name.slice(0, maxOther))),
  }));
  for (const e of entries.sort((a, b) => (a.order < b.order ? -1 : 1))) {
    w.varint(26);
    w.sized(() => {
      w.always(1, e.name);
      w.always(2, e.value);
    });
  }
  w.data(4, text("contentType", m.contentType ?? ""));
  if (m.id !== undefined && !text("id", m.id)) throw new BadRequestError("id is empty: leave it out, or give one");
  within("headers and content type", w.length - before, maxOther);
  return w.take();
}

/** Writes a field whose value has at most so many bytes. */
function bounded(w: Writer, n: number, v: Uint8Array | string, what: string, most: number): void {
  within(what, typeof v === "string" && v.length * 3 > most ? utf8(v).length : v.length, most);
  w.data(n, v);
}

function within(what: string, size: number, most: number): void {
  if (size > most) throw new TooLargeError(`${what} of ${size} bytes: at most ${most}`);
}

function payloadOf(m: Outgoing): Uint8Array | string {
  const given = m && typeof m === "object" ? ["text", "json", "bytes"].filter((k) => k in m) : [];
  if (given.length !== 1) throw new BadRequestError(`message with ${given.join(" and ") || "no payload"}: give one of text, json and bytes`);
  if ("text" in m) return text("text", m.text);
  try {
    if ("json" in m) {
      const json = JSON.stringify(m.json);
      if (json !== undefined) return json;
      throw new TypeError("it has no JSON");
    }
    const b = m.bytes;
    return ArrayBuffer.isView(b) ? new Uint8Array(b.buffer, b.byteOffset, b.byteLength) : bytesOf(b);
  } catch (e) {
    throw new BadRequestError(`${given[0]}: ${e instanceof Error ? e.message : e}`, { cause: e });
  }
}

function bytesOf(b: ArrayBuffer): Uint8Array {
  if (!/ArrayBuffer\]$/.test(Object.prototype.toString.call(b))) throw new TypeError("give a Uint8Array or an ArrayBuffer");
  return new Uint8Array(b);
}

/** Text that has a UTF-8: a lone surrogate has none, and would be changed silently. */
function text(what: string, s: string): string {
  if (typeof s !== "string") throw new BadRequestError(`${what} is no string: give text`);
  if (/\p{Cs}/u.test(s)) throw new BadRequestError(`${what} has a lone surrogate, which UTF-8 cannot hold: remove it, or send bytes`);
  return s;
}

/** The producer that stands for an id of a subject. */
export async function producerOf(subject: string, id: string): Promise<Uint8Array> {
  const who = utf8(text("subject", subject));
  const w = new Writer();
  // Its length in 8 bytes; a token bounds it to 16 KiB.
  w.raw(Uint8Array.of(0, 0, 0, 0, 0, 0, who.length >> 8, who.length));
  w.raw(who);
  w.raw(utf8(text("id", id)));
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) throw new BadRequestError("an id needs crypto.subtle: serve the page over https or from localhost");
  return new Uint8Array(await subtle.digest("SHA-256", w.take()), 0, 16);
}
