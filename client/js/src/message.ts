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

/** The fields of a message by number, which keeps the object small: the last of each holds. Of text and payload, views; of headers, all by their names. */
type Fields = Record<number, any>;

/** One message of a channel. Its parts are read when they are asked for. */
export class Message {
  declare readonly channel: string;
  declare readonly position: Position;
  readonly #body: Uint8Array;
  #fields: Fields | undefined;

  /** body is an encoded message that nobody changes any more. */
  constructor(channel: string, position: Position, body: Uint8Array) {
    this.channel = channel;
    this.position = position;
    this.#body = body;
  }

  /** The payload: a view that shares its buffer with other messages. Copy what is kept for long, and do not change it. */
  get bytes(): Uint8Array {
    return (this.#read()[1] ??= this.#body.subarray(0, 0));
  }

  /** Undefined: none. */
  get key(): string | undefined {
    return decode(this.#read()[2]) || undefined;
  }

  get headers(): Headers {
    return Object.freeze((this.#read()[3] ??= Object.create(null)));
  }

  /** A media type; undefined: not said. */
  get contentType(): string | undefined {
    return decode(this.#read()[4]) || undefined;
  }

  /** Whom the publisher's token speaks for; undefined: not said. */
  get publisher(): string | undefined {
    return decode(this.#read()[14]) || undefined;
  }

  /** When the relay ordered it, in whole milliseconds of the relay's clock. Never decreases along a channel. */
  get time(): Date {
    return new Date(Math.min(this.#read()[15] ?? 0, lastDate));
  }

  /** The payload as text. What is not UTF-8 becomes U+FFFD. */
  text(): string {
    return decode(this.bytes);
  }

  /** The payload as JSON. Throws MeridianError, with the SyntaxError as its cause, if it is none. */
  json(): any {
    try {
      return JSON.parse(this.text());
    } catch (e) {
      const { epoch, seq } = this.position;
      throw new MeridianError(`message ${epoch}:${seq} of ${this.channel} is no JSON: use text()`, { cause: e });
    }
  }

  #read(): Fields {
    return (this.#fields ??= read(new Cursor(this.#body)));
  }
}

/** The fields of a message, or of one header in it, which has none itself. */
function read(c: Cursor, header = false): Fields {
  const v: Fields = Array(16);
  while (c.next()) {
    if (c.tag === 26 && !header) {
      const entry = read(c.inner(), true);
      (v[3] ??= Object.create(null))[decode(entry[1])] = decode(entry[2]);
    } else if (c.tag === 120) v[15] = c.value;
    else if (c.tag % 8 === 2) v[c.tag >>> 3] = c.view();
  }
  return v;
}

/** Text of a message; empty where there is none. */
export function decode(bytes: Uint8Array | undefined): string {
  return decoder.decode(bytes);
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
  const bytes = payloadOf(m);
  const w = new Writer(bytes.length + 64);
  const key = text("key", m.key ?? "");
  within("payload", bytes.length, Math.min(payload || maxPayload, maxPayload));
  within("key", key.length, maxKey);
  w.fields([bytes, key]);
  const before = w.length;
  const headers = m.headers ?? {};
  // Of a Map or a list, Object.entries would be something else.
  if (typeof headers !== "object" || Symbol.iterator in headers) throw new BadRequestError("headers: give a plain object");
  const entries = Object.entries(headers).map(([header, v]) => {
    const name = text("header name", header);
    const value = text("header " + header, v);
    // In the order of its bytes, as every SDK: the relay compares what comes under one id.
    return { name, value, order: String.fromCharCode(...name.subarray(0, maxOther)) };
  });
  for (const { name, value } of entries.sort((a, b) => (a.order < b.order ? -1 : 1))) {
    w.varint(26);
    w.sized(() => {
      w.field(1, name);
      w.field(2, value);
    });
  }
  const contentType = text("contentType", m.contentType ?? "");
  if (contentType.length) w.field(4, contentType);
  if (m.id !== undefined && !text("id", m.id).length) throw new BadRequestError("id is empty: leave it out");
  within("headers and content type", w.length - before, maxOther);
  return w.take();
}

function within(what: string, size: number, most: number): void {
  if (size > most) throw new TooLargeError(`${what} of ${size} bytes: at most ${most}`);
}

function payloadOf(m: any): Uint8Array {
  const given = ["text", "json", "bytes"].filter((kind) => kind in Object(m));
  const [kind, other] = given;
  if (!kind || other) throw new BadRequestError(`message with ${given.join(" and ") || "no payload"}: give one of text, json and bytes`);
  if (kind === "text") return text(kind, m.text);
  try {
    if (kind === "json") {
      const json = JSON.stringify(m.json);
      if (json !== undefined) return utf8(json);
      throw new TypeError("it has no JSON");
    }
    // DataView takes buffers only, of other realms and shared ones too.
    const { buffer, byteOffset, byteLength } = ArrayBuffer.isView(m.bytes) ? m.bytes : new DataView(m.bytes);
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch (e) {
    const why = kind === "bytes" ? "give a Uint8Array or an ArrayBuffer" : ((e as Error | null)?.message ?? e);
    throw new BadRequestError(`${kind}: ${why}`, { cause: e });
  }
}

/** The UTF-8 of a text: a lone surrogate has none, and would be changed silently. */
function text(what: string, s: string): Uint8Array {
  if (typeof s !== "string") throw new BadRequestError(what + " is no string: give text");
  if (/\p{Cs}/u.test(s)) throw new BadRequestError(what + " has a lone surrogate: remove it, or send bytes");
  return utf8(s);
}

/** The producer that stands for an id of a subject. */
export async function producerOf(subject: string, id: string): Promise<Uint8Array> {
  const who = text("subject", subject);
  // Its length in 8 bytes; a token bounds it to 16 KiB.
  const named = Uint8Array.from([0, 0, 0, 0, 0, 0, who.length >> 8, who.length, ...who, ...text("id", id)]);
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) throw new BadRequestError("id needs crypto.subtle: serve the page over https or localhost");
  return new Uint8Array(await subtle.digest("SHA-256", named), 0, 16);
}
