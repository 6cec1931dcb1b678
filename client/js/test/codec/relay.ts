// The relay's half of the codec, for fake relays in tests: writes what comes down, reads what goes up.

import type { GapReason, Publication, SubscribeRequest, Welcome, WireStart } from "../../src/link.ts";
import type { Position } from "../../src/position.ts";
import type { End } from "../../src/session.ts";
import { splitter } from "../../src/splitter.ts";
import type { Splitter } from "../../src/splitter.ts";
import { Cursor, Writer } from "../../src/varint.ts";

/** A frame that goes up, as it was read. */
export type Up =
  | { type: "hello"; ref: 0; token: string; lanes: number; agent: string; versionMin: number; versionMax: number; streams: number }
  | { type: "publish"; ref: number; publication: Publication; subject: string }
  | { type: "subscribe"; ref: number; request: SubscribeRequest; subject: string }
  | { type: "credit"; ref: number; bytes: number }
  | { type: "cancel"; ref: number }
  | { type: "refresh"; ref: number; token: string }
  | { type: "ping"; ref: number };

/** One whole frame of any type. */
export function frame(type: number, ref: number, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const w = new Writer();
  w.varint(type);
  w.varint(ref);
  w.varint(body.length);
  w.raw(body);
  return w.take();
}

/** A field, if it is not 0 or empty. */
function put(w: Writer, n: number, v: number | string | Uint8Array): void {
  if (typeof v === "number" ? v >= 1 : v.length) w.field(n, v);
}

function body(fill: (w: Writer) => void): Uint8Array {
  const w = new Writer();
  fill(w);
  return w.take();
}

export const defaultWelcome: Welcome = {
  session: "s-test",
  edge: "edge-test",
  region: "test",
  limits: { payload: 65536, unanswered: 1048576, subscriptions: 1000, streams: 15 },
  tokenExpires: 0,
};

export const defaultEnd: End = { code: 0, retryAfter: 0, deadline: 0, detail: "", alternatives: [], last: undefined };

/** Writes each frame that comes down. What is left out is 0, empty or as in the defaults above. */
export const encodeDown = {
  welcome(w: Partial<Welcome> = {}): Uint8Array {
    const v = { ...defaultWelcome, ...w };
    return frame(0x20, 0, body((w) => {
      put(w, 1, v.session);
      put(w, 2, v.edge);
      put(w, 3, v.region);
      w.field(4, body((w) => {
        put(w, 1, v.limits.payload);
        put(w, 2, v.limits.unanswered);
        put(w, 3, v.limits.subscriptions);
        put(w, 4, v.limits.streams);
      }));
      put(w, 7, v.tokenExpires);
    }));
  },
  ok(ref: number, at?: Position, head?: Position, tokenExpires = 0): Uint8Array {
    return frame(0x22, ref, body((w) => {
      put(w, 1, at?.epoch ?? 0);
      put(w, 2, at?.seq ?? 0);
      put(w, 3, head?.epoch ?? 0);
      put(w, 4, head?.seq ?? 0);
      put(w, 5, tokenExpires);
    }));
  },
  end(ref: number, e: Partial<End> = {}, shard = ""): Uint8Array {
    const v = { ...defaultEnd, ...e };
    return frame(0x24, ref, body((w) => {
      put(w, 1, v.code);
      put(w, 2, v.retryAfter);
      put(w, 3, v.deadline);
      put(w, 4, v.detail);
      if (shard || v.alternatives.length) {
        w.field(5, body((w) => {
          put(w, 1, shard);
          for (const a of v.alternatives) w.field(2, a);
        }));
      }
      put(w, 6, v.last?.epoch ?? 0);
      put(w, 7, v.last?.seq ?? 0);
    }));
  },
  /** body: an encoded message, as `messageBody` makes one. */
  message(ref: number, epoch: number, seq: number, body: Uint8Array): Uint8Array {
    const w = new Writer();
    w.varint(epoch);
    w.varint(seq);
    w.raw(body);
    return frame(0x26, ref, w.take());
  },
  gap(ref: number, after: Position, next: Position, reason: GapReason = "trimmed"): Uint8Array {
    return frame(0x28, ref, body((w) => {
      put(w, 1, after.epoch);
      put(w, 2, after.seq);
      put(w, 3, next.epoch);
      put(w, 4, next.seq);
      put(w, 5, 1 + ["trimmed", "compacted", "epoch"].indexOf(reason));
    }));
  },
  status(ref: number, state: "lost" | "restored"): Uint8Array {
    return frame(0x2b, ref, body((w) => put(w, 1, state === "lost" ? 1 : 2)));
  },
  pong(ref: number): Uint8Array {
    return frame(0x2c, ref);
  },
  goAway(g: { reason?: number; deadline?: number; alternatives?: readonly string[] } = {}): Uint8Array {
    return frame(0x2f, 0, body((w) => {
      put(w, 1, g.reason ?? 60);
      put(w, 2, g.deadline ?? 0);
      for (const a of g.alternatives ?? []) w.field(3, a);
    }));
  },
  datagram(ref: number, epoch: number, seq: number, body: Uint8Array): Uint8Array {
    const w = new Writer();
    w.varint(ref);
    w.varint(epoch);
    w.varint(seq);
    w.raw(body);
    return w.take();
  },
};

/** A message's body as the home leaves it. Headers in the order given. */
export function messageBody(m: {
  payload?: Uint8Array | string;
  key?: string;
  headers?: readonly (readonly [string, string])[];
  contentType?: string;
  publisher?: string;
  /** Unix milliseconds. */
  time?: number;
}): Uint8Array {
  return body((w) => {
    put(w, 1, m.payload ?? "");
    put(w, 2, m.key ?? "");
    for (const [name, value] of m.headers ?? []) {
      w.field(3, body((w) => {
        w.field(1, name);
        w.field(2, value);
      }));
    }
    put(w, 4, m.contentType ?? "");
    put(w, 14, m.publisher ?? "");
    put(w, 15, m.time ?? 0);
  });
}

/** Longest body of a frame that goes up, in bytes. */
const longestUp: Record<number, number> = { 2: 32768, 4: 1054976, 6: 2048, 8: 64, 10: 64, 12: 32768, 14: 64 };

/** Reads a stream that goes up; each frame is given to `take`. Throws ProtocolViolation on what is not the protocol. */
export class UpReader {
  readonly #splitter: Splitter;

  constructor(take: (f: Up) => void) {
    this.#splitter = splitter((type) => longestUp[type], (type, ref, body) => take(decodeUp(type, ref, body)));
  }
  push(chunk: Uint8Array): void {
    this.#splitter.push(chunk);
  }
  finish(): void {
    this.#splitter.finish();
  }
}

/** The frames of a whole stream that goes up. */
export function readUp(bytes: Uint8Array): Up[] {
  const list: Up[] = [];
  const r = new UpReader((f) => list.push(f));
  r.push(bytes);
  r.finish();
  return list;
}

/** Reads the body of one frame that goes up. */
export function decodeUp(type: number, ref: number, c: Cursor): Up {
  switch (type) {
    case 2: {
      const h = { type: "hello" as const, ref: 0 as const, token: "", lanes: 0, agent: "", versionMin: 0, versionMax: 0, streams: 0 };
      while (c.next()) {
        if (c.tag === 8) h.versionMin = c.value;
        if (c.tag === 16) h.versionMax = c.value;
        if (c.tag === 34) h.token = c.text();
        if (c.tag === 40) h.lanes = c.value;
        if (c.tag === 50) h.agent = c.text();
        if (c.tag === 56) h.streams = c.value;
      }
      return h;
    }
    case 4: {
      let channel = "";
      let subject = "";
      let [producer, body] = [new Uint8Array(0), new Uint8Array(0)];
      let [n, age, isVoid] = [0, 0, false];
      while (c.next()) {
        if (c.tag === 10) channel = c.text();
        if (c.tag === 18) producer = c.view().slice();
        if (c.tag === 24) n = c.value;
        if (c.tag === 32) age = c.value;
        if (c.tag === 40) isVoid = c.value !== 0;
        if (c.tag === 50) subject = c.text();
        if (c.tag === 58) body = c.view().slice();
      }
      return { type: "publish", ref, subject, publication: { channel, producer, n, age, void: isVoid, body } };
    }
    case 6: {
      const v: number[] = Array(13).fill(0);
      let [channel, subject] = ["", ""];
      while (c.next()) {
        if (c.tag === 10) channel = c.text();
        else if (c.tag === 106) subject = c.text();
        else if (c.tag % 8 === 0 && c.tag < 104) v[c.tag / 8] = c.value;
      }
      const from: WireStart =
        v[2] === 1
          ? { kind: "after", position: { epoch: v[3]!, seq: v[4]! } }
          : v[2] === 2
            ? { kind: "last", count: v[5]! }
            : v[2] === 3
              ? { kind: "since", ms: v[6]! }
              : { kind: v[2] === 4 ? "first" : "live" };
      const request: SubscribeRequest = {
        channel, from, latest: v[7] === 1, limit: v[8]!, barrier: !!v[9], own: !!v[10], datagram: !!v[11], credit: v[12]!,
      };
      return { type: "subscribe", ref, subject, request };
    }
    case 8: {
      let bytes = 0;
      while (c.next()) if (c.tag === 8) bytes = c.value;
      return { type: "credit", ref, bytes };
    }
    case 12: {
      let token = "";
      while (c.next()) if (c.tag === 10) token = c.text();
      return { type: "refresh", ref, token };
    }
  }
  return { type: type === 10 ? "cancel" : "ping", ref };
}
