// Random frames from a seed, random pieces and random damage: for the exchange with Go, and alone.

import { Writer, appendCancel, appendCredit, appendHello, appendPing, appendPublish, appendRefresh, appendSubscribe } from "../../src/frames.ts";
import type { GapReason, WireStart } from "../../src/link.ts";
import { encodeMessage } from "../../src/message.ts";
import type { Outgoing } from "../../src/message.ts";
import type { Position } from "../../src/position.ts";
import { compact, upFields } from "./json.ts";
import type { Read } from "./json.ts";
import { encodeDown, messageBody } from "./relay.ts";
import type { Up } from "./relay.ts";

export interface Random {
  /** A whole number from 0 to n-1. */
  int(n: number): number;
  chance(percent: number): boolean;
  pick<T>(list: readonly T[]): T;
  bytes(n: number): Uint8Array;
  /** Below 2^53; of every magnitude, the ends often. */
  number(): number;
  text(most: number): string;
}

/** mulberry32: small, and the same everywhere. */
export function random(seed: number): Random {
  let a = seed >>> 0;
  const next = (): number => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (n: number): number => Math.floor(next() * n);
  return {
    int,
    chance: (percent) => int(100) < percent,
    pick: (list) => list[int(list.length)]!,
    bytes: (n) => Uint8Array.from({ length: n }, () => int(256)),
    number() {
      const v = int(10);
      if (v === 0) return 0;
      if (v === 1) return 2 ** 53 - 1;
      return Math.floor(next() * 2 ** int(54));
    },
    text(most) {
      const alphabet = ["a", "b", "0", " ", "\0", "ß", "€", "\ufffd", "\ufeff", "\u{10000}", "😀", "__proto__"];
      return Array.from({ length: int(most) }, () => alphabet[int(alphabet.length)]).join("");
    },
  };
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const w = new Writer();
  for (const p of parts) w.raw(p);
  return w.take();
}

const position = (r: Random): Position => ({ epoch: r.number(), seq: r.number() });

/** So many frames that come down, written by the test's relay. */
export function randomDown(r: Random, n: number): Uint8Array {
  const ref = (): number => Math.max(1, r.number());
  const make: (() => Uint8Array)[] = [
    () => encodeDown.welcome({ session: r.text(9), limits: { payload: r.number(), unanswered: r.number(), subscriptions: r.int(2 ** 32), streams: r.int(99) }, tokenExpires: r.number() }),
    () => encodeDown.ok(ref(), position(r), position(r), r.number()),
    () => encodeDown.end(r.pick([0, ref()]), { code: r.int(1000), retryAfter: r.number(), detail: r.text(20), alternatives: Array.from({ length: r.int(4) }, () => r.text(5)), last: position(r) }),
    () => encodeDown.message(ref(), r.number(), r.number(), messageBody({ payload: r.bytes(r.int(200)), key: r.text(4), headers: [[r.text(3), r.text(9)]], publisher: r.text(9), time: r.number() })),
    () => encodeDown.gap(ref(), position(r), position(r), r.pick<GapReason>(["trimmed", "compacted", "epoch"])),
    () => encodeDown.status(ref(), r.pick(["lost", "restored"] as const)),
    () => encodeDown.pong(ref()),
    () => encodeDown.goAway({ reason: r.int(1000), deadline: r.number(), alternatives: Array.from({ length: r.int(4) }, () => r.text(5)) }),
  ];
  return join(Array.from({ length: n }, () => r.pick(make)()));
}

/** The stream in random pieces, some of them empty. */
export function cut(r: Random, stream: Uint8Array): Uint8Array[] {
  const list: Uint8Array[] = [];
  const most = r.pick([2, 8, 64, 4096]);
  for (let at = 0; at < stream.length; ) {
    const n = r.int(most);
    list.push(stream.slice(at, at + n));
    at += n;
  }
  return list;
}

/** The stream with some bytes changed, taken out or put in, or cut off; sometimes unchanged. */
export function mutate(r: Random, stream: Uint8Array): Uint8Array {
  const b = [...stream];
  for (let n = r.int(4); n > 0 && b.length; n--) {
    const at = r.int(b.length);
    switch (r.int(5)) {
      case 0:
        b[at] = r.int(256);
        break;
      case 1:
        b[at]! ^= 1 << r.int(8);
        break;
      case 2:
        b.splice(at, 1 + r.int(3));
        break;
      case 3:
        b.splice(at, 0, ...Array.from({ length: 1 + r.int(10) }, () => r.pick([0xff, 0x80, r.int(256)])));
        break;
      case 4:
        b.length = at;
    }
  }
  return Uint8Array.from(b);
}

function start(r: Random): WireStart {
  return r.pick<() => WireStart>([
    () => ({ kind: "live" }),
    () => ({ kind: "first" }),
    () => ({ kind: "after", position: position(r) }),
    () => ({ kind: "last", count: r.number() }),
    () => ({ kind: "since", ms: r.number() }),
  ])();
}

/** A random message to publish, and its fields in protobuf's JSON. */
function message(r: Random): { body: Uint8Array; fields: Record<string, unknown> } {
  const payload = r.bytes(r.int(r.pick([1, 20, 300])));
  const headers = Object.fromEntries(Array.from({ length: r.int(5) }, () => [r.text(4), r.text(9)]));
  const out: Outgoing = { bytes: payload, key: r.text(5), headers, contentType: r.text(5) };
  const fields = compact({ payload: Buffer.from(payload).toString("base64"), key: out.key, headers, content_type: out.contentType });
  return { body: encodeMessage(out, 0), fields };
}

/** A random frame to go up. */
function up(r: Random): Up {
  const ref = r.number();
  const publication = { channel: r.text(9), producer: r.bytes(r.pick([0, 16])), n: r.number(), age: r.number(), void: r.chance(30), body: r.bytes(0) };
  const request = {
    channel: r.text(9), from: start(r), latest: r.chance(50), limit: r.number(), barrier: r.chance(50),
    own: r.chance(50), datagram: r.chance(50), credit: r.number(),
  };
  return r.pick<Up>([
    { type: "hello", ref: 0, token: r.text(30), lanes: r.int(2 ** 32), agent: r.text(9), versionMin: 0, versionMax: 0, streams: 0 },
    { type: "publish", ref, publication, subject: "" },
    { type: "subscribe", ref, request, subject: "" },
    { type: "credit", ref, bytes: r.number() },
    { type: "cancel", ref },
    { type: "refresh", ref, token: r.text(30) },
    { type: "ping", ref },
  ]);
}

/** Writes a frame with the SDK. */
function write(w: Writer, u: Up): void {
  switch (u.type) {
    case "hello":
      return appendHello(w, u);
    case "publish":
      return appendPublish(w, u.ref, u.publication);
    case "subscribe":
      return appendSubscribe(w, u.ref, u.request);
    case "credit":
      return appendCredit(w, u.ref, u.bytes);
    case "cancel":
      return appendCancel(w, u.ref);
    case "refresh":
      return appendRefresh(w, u.ref, u.token);
    case "ping":
      return appendPing(w, u.ref);
  }
}

/** Random frames that go up, written by the SDK, and what they must read as; message: of a publish. */
export function randomUp(r: Random, n: number): { bytes: Uint8Array; frames: (Read & { message?: Record<string, unknown> })[] } {
  const w = new Writer();
  const frames = Array.from({ length: n }, () => {
    const u = up(r);
    if (u.type !== "publish") {
      write(w, u);
      return upFields(u);
    }
    const { body, fields } = message(r);
    const whole = { ...u, publication: { ...u.publication, body } };
    write(w, whole);
    return { ...upFields(whole), message: fields };
  });
  return { bytes: w.take(), frames };
}
