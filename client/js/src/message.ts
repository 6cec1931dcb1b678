// A message as a subscriber gets it, and as a publisher gives it.

import { BadRequestError, MeridianError, TooLargeError } from "./errors.ts";
import type { Position } from "./position.ts";
import { Cursor, utf8, Writer } from "./varint.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bounds in bytes of what is not the payload, and of a payload where the relay names no lower one. */
const maxKey = 256;
const maxOther = 4096;
const maxPayload = 1 << 20;

/** Headers of a message: frozen, and without a prototype, so that any name is harmless. */
export type Headers = Readonly<Record<string, string>>;

interface Parts {
  bytes: Uint8Array;
  key: string | undefined;
  headers: Headers;
  contentType: string | undefined;
  publisher: string | undefined;
  time: Date;
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

  /** When the relay ordered it, by the relay's clock. Never decreases along a channel. */
  get time(): Date {
    return this.#read().time;
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
  const headers: Record<string, string> = Object.create(null);
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
      headers[name] = value;
    }
    if (c.tag === 34) contentType = loose(c);
    if (c.tag === 114) publisher = loose(c);
    if (c.tag === 120) time = c.value;
  }
  return {
    bytes,
    key: key || undefined,
    headers: Object.freeze(headers),
    contentType: contentType || undefined,
    publisher: publisher || undefined,
    time: new Date(Math.min(time, 864e13)),
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
  const body = payloadOf(m);
  const most = Math.min(payload || maxPayload, maxPayload);
  if (body.length > most) throw tooLarge("payload", body.length, most);
  const w = new Writer();
  w.data(1, body);
  const key = wellFormed("key", m.key ?? "");
  if (key.length > maxKey) throw tooLarge("key", key.length, maxKey);
  w.data(2, key);
  const before = w.length;
  const entries = Object.entries(m.headers ?? {}).map(([name, value]) => {
    const b = wellFormed("header name", name);
    return { sort: String.fromCharCode(...b), name: b, value: wellFormed("header " + name, value) };
  });
  entries.sort((a, b) => (a.sort < b.sort ? -1 : 1));
  for (const e of entries) {
    w.varint(26);
    w.sized(() => {
      w.always(1, e.name);
      w.always(2, e.value);
    });
  }
  w.data(4, wellFormed("contentType", m.contentType ?? ""));
  const other = w.length - before;
  if (other > maxOther) throw tooLarge("headers and content type", other, maxOther);
  return w.take();
}

function payloadOf(m: Outgoing): Uint8Array {
  const given = m && typeof m === "object" ? ["text", "json", "bytes"].filter((k) => k in m) : [];
  if (given.length !== 1) throw new BadRequestError(`message with ${given.join(" and ") || "no payload"}: give one of text, json and bytes`);
  if ("text" in m) return wellFormed("text", m.text);
  try {
    if ("json" in m) {
      const json = JSON.stringify(m.json);
      if (json !== undefined) return utf8(json);
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

/** UTF-8 of text that has one: of a lone surrogate there is none. */
function wellFormed(what: string, s: string): Uint8Array {
  if (typeof s !== "string") throw new BadRequestError(`${what} is no string: give text`);
  if (/\p{Cs}/u.test(s)) throw new BadRequestError(`${what} has a lone surrogate, which UTF-8 cannot hold: remove it, or send bytes`);
  return utf8(s);
}

function tooLarge(what: string, size: number, most: number): TooLargeError {
  return new TooLargeError(`${what} of ${size} bytes: at most ${most}`);
}

/** The producer that stands for an id of a subject. */
export async function producerOf(subject: string, id: string): Promise<Uint8Array> {
  const who = wellFormed("subject", subject);
  const w = new Writer();
  const size = new Uint8Array(8);
  new DataView(size.buffer).setUint32(4, who.length);
  w.raw(size);
  w.raw(who);
  w.raw(wellFormed("id", id));
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) throw new BadRequestError("an id needs crypto.subtle: serve the page over https or from localhost");
  return new Uint8Array(await subtle.digest("SHA-256", w.take()), 0, 16);
}
