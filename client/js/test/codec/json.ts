// What was read, as protobuf's JSON: to be compared with the golden fields, and with what Go reads.

import type { FrameSink } from "../../src/frames.ts";
import { frameReader, ProtocolViolation } from "../../src/frames.ts";
import { Message } from "../../src/message.ts";
import { base64 } from "./golden.ts";
import type { Up } from "./relay.ts";

export interface Read {
  type: string;
  ref: number;
  fields: Record<string, unknown>;
}

/** Leaves out what is absent in protobuf: 0, false and empty. */
export function compact(fields: Record<string, unknown>): Record<string, unknown> {
  const empty = (v: unknown): boolean =>
    !v || (typeof v === "object" && Object.keys(v).length === 0);
  return Object.fromEntries(Object.entries(fields).filter(([, v]) => !empty(v)));
}

/** A 64-bit number; 0 is left out. */
const u64 = (v: number): string => (v ? String(v) : "");

/** A sink that lists what it gets. */
export function lister(list: Read[]): FrameSink {
  const put = (type: string, ref: number, fields: Record<string, unknown>): void =>
    void list.push({ type, ref, fields: compact(fields) });
  return {
    welcome: (w) =>
      put("Welcome", 0, {
        session: w.session,
        edge: w.edge,
        region: w.region,
        limits: compact({
          payload: u64(w.limits.payload),
          unanswered: u64(w.limits.unanswered),
          subscriptions: w.limits.subscriptions,
          streams: w.limits.streams,
        }),
        token_expires_ms: u64(w.tokenExpires),
      }),
    ok: (ref, at, head, expires) =>
      put("OK", ref, {
        epoch: u64(at.epoch),
        seq: u64(at.seq),
        head_epoch: u64(head.epoch),
        head_seq: u64(head.seq),
        token_expires_ms: u64(expires),
      }),
    end: (ref, e) =>
      put("End", ref, {
        code: e.code,
        retry_after_ms: u64(e.retryAfter),
        deadline_ms: u64(e.deadline),
        detail: e.detail,
        hint: compact({ alternatives: [...e.alternatives] }),
        epoch: u64(e.last?.epoch ?? 0),
        seq: u64(e.last?.seq ?? 0),
      }),
    message: (ref, epoch, seq, body) => put("Message", ref, messageFields(epoch, seq, body)),
    gap: (ref, after, next, reason) =>
      put("Gap", ref, {
        after_epoch: u64(after.epoch),
        after_seq: u64(after.seq),
        next_epoch: u64(next.epoch),
        next_seq: u64(next.seq),
        reason: "GAP_" + reason.toUpperCase(),
      }),
    status: (ref, state) => put("Status", ref, { state: "STATE_" + state.toUpperCase() }),
    pong: (ref) => put("Pong", ref, {}),
    goAway: (g) =>
      put("GoAway", 0, {
        reason: g.reason,
        deadline_ms: u64(g.deadline),
        alternatives: [...g.alternatives],
      }),
  };
}

export function messageFields(epoch: number, seq: number, body: Uint8Array): Record<string, unknown> {
  const m = new Message("a:b", { epoch, seq }, body);
  return compact({
    epoch: u64(epoch),
    seq: u64(seq),
    message: compact({
      payload: base64(m.bytes),
      key: m.key,
      headers: { ...m.headers },
      content_type: m.contentType,
      publisher: m.publisher,
      time_ms: u64(m.time.getTime()),
    }),
  });
}

/** Reads a stream that comes down, in pieces; what it got, and the code of the violation that ended it. */
export function readDown(pieces: Iterable<Uint8Array>): { frames: Read[]; code: number | undefined } {
  const frames: Read[] = [];
  const reader = frameReader(lister(frames));
  try {
    for (const p of pieces) reader.push(p);
    reader.finish();
  } catch (e) {
    if (e instanceof ProtocolViolation) return { frames, code: e.code };
    throw e;
  }
  return { frames, code: undefined };
}

/** A frame that goes up. */
export function upFields(u: Up): Read {
  const { ref } = u;
  switch (u.type) {
    case "hello":
      return {
        type: "Hello",
        ref,
        fields: compact({
          version_min: u.versionMin,
          version_max: u.versionMax,
          token: u.token,
          lanes: u.lanes,
          agent: u.agent,
          streams: u.streams,
        }),
      };
    case "publish": {
      const p = u.publication;
      return {
        type: "Publish",
        ref,
        fields: compact({
          channel: p.channel,
          producer: base64(p.producer),
          n: u64(p.n),
          age_ms: u64(p.age),
          void: p.void,
          subject: u.subject,
          body: base64(p.body),
        }),
      };
    }
    case "subscribe": {
      const r = u.request;
      const f = r.from;
      return {
        type: "Subscribe",
        ref,
        fields: compact({
          channel: r.channel,
          start: f.kind === "live" ? "" : "START_" + f.kind.toUpperCase(),
          epoch: f.kind === "after" ? u64(f.position.epoch) : "",
          seq: f.kind === "after" ? u64(f.position.seq) : "",
          count: f.kind === "last" ? u64(f.count) : "",
          since_ms: f.kind === "since" ? u64(f.ms) : "",
          mode: r.latest ? "MODE_LATEST" : "",
          limit: u64(r.limit),
          barrier: r.barrier,
          own: r.own,
          datagram: r.datagram,
          credit: u64(r.credit),
          subject: u.subject,
        }),
      };
    }
    case "credit":
      return { type: "Credit", ref, fields: compact({ bytes: u64(u.bytes) }) };
    case "cancel":
      return { type: "Cancel", ref, fields: {} };
    case "refresh":
      return { type: "Refresh", ref, fields: compact({ token: u.token }) };
    case "ping":
      return { type: "Ping", ref, fields: {} };
  }
}
