import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Writer, appendCancel, appendCredit, appendHello, appendPing, appendPublish, appendRefresh, appendSubscribe, decodeDatagram,
} from "../src/frames.ts";
import type { GapReason, WireStart } from "../src/link.ts";
import { encodeMessage } from "../src/message.ts";
import type { Outgoing } from "../src/message.ts";
import { golden, hex, unbase64, unhex } from "./codec/golden.ts";
import type { Golden } from "./codec/golden.ts";
import { compact, messageFields, readDown, upFields } from "./codec/json.ts";
import { encodeDown, messageBody, readUp } from "./codec/relay.ts";

const up = new Set(["Hello", "Publish", "Subscribe", "Credit", "Cancel", "Refresh", "Ping"]);

/** Fields as the seams keep them: no features, no shard. */
function kept(g: Golden): Record<string, unknown> {
  const { features: _, ...rest } = g.fields;
  if (rest.hint) rest.hint = compact({ alternatives: rest.hint.alternatives });
  if (g.type === "Message" || g.type === "Datagram") rest.message = compact(rest.message);
  return compact(rest);
}

test("every golden frame reads as its fields say, whole and a byte at a time", () => {
  for (const g of golden) {
    const bytes = unhex(g.hex);
    if (g.type === "Datagram") {
      const d = decodeDatagram(bytes);
      assert.equal(d?.ref, g.ref, g.name);
      assert.deepEqual(messageFields(d.epoch, d.seq, d.body), kept(g), g.name);
      continue;
    }
    const want = [{ type: g.type, ref: g.ref, fields: kept(g) }];
    if (up.has(g.type)) {
      assert.deepEqual(readUp(bytes).map(upFields), want, g.name);
      continue;
    }
    assert.deepEqual(readDown([bytes]), { frames: want, code: undefined }, g.name);
    const slow = Array.from(bytes, (b) => Uint8Array.of(b));
    assert.deepEqual(readDown(slow), { frames: want, code: undefined }, g.name + ", a byte at a time");
  }
});

const n = (v: string | undefined): number => Number(v ?? 0);

function wireStart(f: Record<string, any>): WireStart {
  switch (f.start) {
    case "START_AFTER":
      return { kind: "after", position: { epoch: n(f.epoch), seq: n(f.seq) } };
    case "START_LAST":
      return { kind: "last", count: n(f.count) };
    case "START_SINCE":
      return { kind: "since", ms: n(f.since_ms) };
  }
  return { kind: f.start === "START_FIRST" ? "first" : "live" };
}

/** Writes a golden frame; undefined: this SDK has no way to say its fields. */
function write(g: Golden): Uint8Array | undefined {
  const f = g.fields;
  const w = new Writer();
  const at = (a: string, b: string) => ({ epoch: n(f[a]), seq: n(f[b]) });
  const body = () => {
    const { payload, headers, content_type, ...rest } = f.message;
    return messageBody({
      payload: unbase64(payload), headers: Object.entries<string>(headers ?? {}), contentType: content_type ?? "",
      key: rest.key ?? "", publisher: rest.publisher ?? "", time: n(rest.time_ms),
    });
  };
  if (f.subject || f.streams || f.version_min || f.hint?.shard === "") return undefined;
  switch (g.type) {
    case "Hello":
      appendHello(w, { token: f.token ?? "", lanes: f.lanes ?? 0, agent: f.agent ?? "" });
      break;
    case "Publish":
      appendPublish(w, g.ref, {
        channel: f.channel, producer: unbase64(f.producer), n: n(f.n), age: n(f.age_ms), void: f.void ?? false, body: unbase64(f.body),
      });
      break;
    case "Subscribe":
      appendSubscribe(w, g.ref, {
        channel: f.channel, from: wireStart(f), latest: f.mode === "MODE_LATEST", limit: n(f.limit), barrier: f.barrier ?? false,
        own: f.own ?? false, datagram: f.datagram ?? false, credit: n(f.credit),
      });
      break;
    case "Credit":
      appendCredit(w, g.ref, n(f.bytes));
      break;
    case "Cancel":
      appendCancel(w, g.ref);
      break;
    case "Refresh":
      appendRefresh(w, g.ref, f.token);
      break;
    case "Ping":
      appendPing(w, g.ref);
      break;
    case "Welcome":
      return encodeDown.welcome({
        ...f, limits: { payload: n(f.limits.payload), unanswered: n(f.limits.unanswered), subscriptions: f.limits.subscriptions, streams: f.limits.streams },
        tokenExpires: n(f.token_expires_ms),
      });
    case "OK":
      return encodeDown.ok(g.ref, at("epoch", "seq"), at("head_epoch", "head_seq"), n(f.token_expires_ms));
    case "End":
      return encodeDown.end(g.ref, {
        code: f.code ?? 0, retryAfter: n(f.retry_after_ms), deadline: n(f.deadline_ms), detail: f.detail ?? "", last: at("epoch", "seq"),
      }, f.hint?.shard);
    case "Gap":
      return encodeDown.gap(g.ref, at("after_epoch", "after_seq"), at("next_epoch", "next_seq"), f.reason.slice(4).toLowerCase() as GapReason);
    case "Status":
      return encodeDown.status(g.ref, f.state === "STATE_LOST" ? "lost" : "restored");
    case "Pong":
      return encodeDown.pong(g.ref);
    case "GoAway":
      return encodeDown.goAway({ reason: f.reason, deadline: n(f.deadline_ms), alternatives: f.alternatives });
    case "Message":
      return encodeDown.message(g.ref, n(f.epoch), n(f.seq), body());
    case "Datagram":
      return encodeDown.datagram(g.ref, n(f.epoch), n(f.seq), body());
  }
  return w.take();
}

test("what is written has the golden bytes", () => {
  const left: string[] = [];
  for (const g of golden) {
    if (g.decode_only) continue;
    const bytes = write(g);
    if (bytes) assert.equal(hex(bytes), g.hex, g.name);
    else left.push(g.name);
  }
  assert.deepEqual(left, ["hello of a later minor version", "publish by an edge", "subscribe first"]);
});

test("a publisher's message has the bytes that Go's client writes", () => {
  for (const g of golden.filter((g) => (g.type === "Message" && !g.decode_only) || g.type === "Datagram")) {
    const { message: m } = g.fields;
    const out: Outgoing = { bytes: unbase64(m.payload), headers: m.headers ?? {} };
    if (m.key) out.key = m.key;
    if (m.content_type) out.contentType = m.content_type;
    const want = messageBody({
      payload: unbase64(m.payload), key: m.key ?? "", headers: Object.entries<string>(m.headers ?? {}), contentType: m.content_type ?? "",
    });
    assert.equal(hex(encodeMessage(out, 0)), hex(want), g.name);
    assert.ok(g.hex.includes(hex(want)), g.name + ": its bytes stand in the frame");
  }
});

test("fractions of a millisecond are cut off, and a subscribe first is written", () => {
  const w = new Writer();
  appendPublish(w, 1, { channel: "a:b", producer: new Uint8Array(16), n: 1, age: 20.9, void: true, body: new Uint8Array(0) });
  appendSubscribe(w, 2, { channel: "a:b", from: { kind: "first" }, latest: false, limit: 0, barrier: false, own: false, datagram: false, credit: 0 });
  const [p, s] = readUp(w.take());
  assert.equal(p?.type === "publish" && p.publication.age, 20);
  const credit = new Writer();
  appendCredit(credit, 3, 0.5);
  assert.equal(hex(credit.take()), "080300", "less than one is none");
  assert.deepEqual(s?.type === "subscribe" && s.request.from, { kind: "first" });
});
