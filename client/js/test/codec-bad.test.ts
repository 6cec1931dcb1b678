import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../src/codes.ts";
import { frameReader, ProtocolViolation, decodeDatagram } from "../src/frames.ts";
import type { FrameSink } from "../src/frames.ts";
import { Message } from "../src/message.ts";
import { splitter } from "../src/splitter.ts";
import { Cursor, Writer } from "../src/varint.ts";
import { bad, unhex } from "./codec/golden.ts";
import { lister, readDown } from "./codec/json.ts";
import { UpReader, decodeUp, encodeDown, frame, messageBody } from "./codec/relay.ts";

/** Longest bodies of all types, as docs/protocol.md has them. */
const longest: Record<number, number> = {
  0x02: 32768, 0x04: 1054976, 0x06: 2048, 0x08: 64, 0x0a: 64, 0x0c: 32768, 0x0e: 64,
  0x20: 8192, 0x22: 256, 0x24: 8192, 0x26: 1053984, 0x28: 256, 0x2b: 64, 0x2c: 64, 0x2f: 8192,
};
const down = [0x20, 0x22, 0x24, 0x26, 0x28, 0x2b, 0x2c, 0x2f];
const bytesOf = (b: Uint8Array): Uint8Array[] => Array.from(b, (x) => Uint8Array.of(x));

/** The code that reading ends with; undefined: it is well. */
function ends(read: () => void): number | undefined {
  try {
    read();
  } catch (e) {
    assert.ok(e instanceof ProtocolViolation, String(e));
    assert.ok(e.message.length > 5 && e.message.length < 123, e.message);
    return e.code;
  }
  return undefined;
}

test("bad streams end as Go's reader ends them", () => {
  for (const b of bad.streams) {
    // Only Go's reader passes over a Publish: to a client it is out of place.
    const skipped = b.name === "end within a Publish that is passed over";
    for (const pieces of [[unhex(b.hex)], bytesOf(unhex(b.hex))]) {
      let frames = 0;
      const s = splitter((type) => longest[type], () => frames++);
      const code = ends(() => {
        for (const p of pieces) s.push(p);
        s.finish();
      });
      assert.equal(code, skipped ? Code.too_large : Code[b.ends], b.name);
      assert.equal(frames, b.frames ?? 0, b.name);
      assert.notEqual(readDown(pieces).code, undefined, b.name + ", for a client");
    }
  }
});

test("bad bodies end as Go's scanners end them", () => {
  // A publisher's faults that the home refuses: a subscriber that gets one reads on.
  const home = /twice|not UTF-8|cut off inside a rune|sets its/;
  for (const b of bad.bodies) {
    const body = unhex(b.hex);
    const code = ends(() => {
      if (b.of === "datagram") assert.equal(decodeDatagram(body), undefined, b.name);
      else if (b.of === "publish") decodeUp(4, 1, new Cursor(body));
      else if (b.of === "credit") decodeUp(8, 1, new Cursor(body));
      else if (b.of === "message") frameReader(lister([])).push(encodeDown.message(1, 1, 1, body));
      else frameReader(lister([])).push(frame(b.of === "ok" ? 0x22 : 0x26, 1, body));
    });
    const fine = b.of === "datagram" || (b.of === "message" && home.test(b.name));
    assert.equal(code, fine ? undefined : Code.protocol, b.name);
  }
});

test("a message is looked at when it comes, not when it is read", () => {
  const nobody = new Proxy({} as FrameSink, { get: () => () => {} });
  for (const body of [[0x0a, 5, 0x61], [0x1a, 2, 0x0a, 5], [0x0b, 0x0c], [0x00, 0x00], [0x08]]) {
    assert.equal(ends(() => frameReader(nobody).push(encodeDown.message(1, 1, 1, Uint8Array.from(body)))), Code.protocol, String(body));
    assert.equal(decodeDatagram(encodeDown.datagram(1, 1, 1, Uint8Array.from(body))), undefined, String(body));
  }
  assert.equal(ends(() => frameReader(nobody).push(encodeDown.message(1, 1, 1, Uint8Array.of(0x0a, 1, 0x61)))), undefined);
});

test("groups are malformed, whatever stands in them", () => {
  for (const body of [[0x0b, 0x00], [0x0b, 0x0c], [0x0c, 0x00], [0x0e, 0x00], [0x0f, 0x00]])
    assert.equal(readDown([frame(0x22, 1, Uint8Array.from(body))]).code, Code.protocol, String(body));
});

test("a type beyond 2^53 is skipped if it is odd, and only then", () => {
  for (const [last, code] of [[0xd5, undefined], [0xd4, Code.unsupported]] as const)
    assert.equal(readDown([Uint8Array.of(last, 0xbb, 0xcc, 0x9e, 0xbd, 0x8f, 0xb2, 0xc4, 0x20, 1, 0)]).code, code);
});

test("a frame that only goes up is out of place", () => {
  for (const type of [0x02, 0x04, 0x06, 0x08, 0x0a, 0x0c, 0x0e]) {
    assert.equal(readDown([frame(type, 1)]).code, Code.protocol, `type ${type}`);
    assert.equal(readDown([frame(type, 1).slice(0, 2)]).code, Code.protocol, `type ${type}, cut`);
  }
});

test("ref 0 is the session's, and only the session's", () => {
  for (const type of down) {
    const body = type === 0x26 ? Uint8Array.of(1, 1) : new Uint8Array(0);
    const ofSession = type === 0x20 || type === 0x2f || type === 0x24;
    const ofRequest = type !== 0x20 && type !== 0x2f;
    assert.equal(readDown([frame(type, 0, body)]).code, ofSession ? undefined : Code.protocol, `type ${type}, ref 0`);
    assert.equal(readDown([frame(type, 1, body)]).code, ofRequest ? undefined : Code.protocol, `type ${type}, ref 1`);
    assert.equal(readDown([frame(type, 2 ** 53 - 1, body)]).code, ofRequest ? undefined : Code.protocol, `type ${type}, last ref`);
    assert.equal(readDown([frame(type, 2 ** 53, body)]).code, Code.protocol, `type ${type}, ref 2^53`);
  }
});

test("the longest frame of a type passes, one byte more does not, before it has come", () => {
  // Field 100 of bytes, which nobody knows, of n bytes in all.
  const field = (n: number): Uint8Array => {
    for (let size = 1; ; size++) {
      const w = new Writer();
      w.field(100, new Uint8Array(n - 2 - size));
      if (w.length === n) return w.take();
    }
  };
  for (const type of down) {
    const ref = type === 0x20 || type === 0x2f ? 0 : 1;
    const position = new Uint8Array(type === 0x26 ? 2 : 0).fill(1);
    const most = longest[type]!;
    const body = new Uint8Array(Buffer.concat([position, field(most - position.length)]));
    assert.equal(readDown([frame(type, ref, body)]).code, undefined, `type ${type}`);
    const over = frame(type, ref, new Uint8Array(most + 1)).slice(0, -most - 1);
    assert.equal(readDown([over]).code, Code.too_large, `type ${type}, one more`);
  }
  assert.equal(readDown([frame(0x31, 5, new Uint8Array(65536)), encodeDown.pong(1)]).frames.length, 1, "unknown and odd");
  assert.equal(readDown([frame(0x31, 5, new Uint8Array(65537))]).code, Code.too_large);
  assert.equal(readDown([frame(0x30, 5)]).code, Code.unsupported);
});

test("positions from 2^53 are refused in every frame that has one", () => {
  const beyond = 2 ** 53;
  const good = { epoch: 2 ** 53 - 1, seq: 2 ** 53 - 1 };
  for (const at of [{ epoch: beyond, seq: 1 }, { epoch: 1, seq: beyond }, { epoch: 2 ** 63, seq: 1 }]) {
    for (const [name, b, well] of [
      ["ok", encodeDown.ok(1, at, good), encodeDown.ok(1, good, good)],
      ["head of ok", encodeDown.ok(1, good, at), encodeDown.ok(1, good, good)],
      ["end", encodeDown.end(1, { last: at }), encodeDown.end(1, { last: good })],
      ["gap", encodeDown.gap(1, at, good), encodeDown.gap(1, good, good)],
      ["next of gap", encodeDown.gap(1, good, at), encodeDown.gap(1, good, good)],
      ["message", encodeDown.message(1, at.epoch, at.seq, messageBody({})), encodeDown.message(1, good.epoch, good.seq, messageBody({}))],
    ] as const) {
      assert.equal(readDown([b]).code, Code.protocol, name);
      assert.equal(readDown([well]).code, undefined, name);
    }
    assert.equal(decodeDatagram(encodeDown.datagram(1, at.epoch, at.seq, messageBody({}))), undefined);
  }
});

test("limits and durations beyond bounds are held to them, names are not", () => {
  const huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
  const list = readDown([
    frame(0x20, 0, Uint8Array.of(0x22, 22, 0x08, ...huge, 0x10, ...huge, 0x38, ...huge)),
    frame(0x24, 1, Uint8Array.of(0x08, ...huge, 0x10, ...huge, 0x18, ...huge)),
    frame(0x22, 1, Uint8Array.of(0x28, ...huge)),
  ]);
  assert.equal(list.code, undefined);
  assert.deepEqual(list.frames.map((f) => f.fields), [
    { limits: { payload: "9007199254740991", unanswered: "9007199254740991" }, token_expires_ms: "86400000" },
    { code: 999, retry_after_ms: "86400000", deadline_ms: "86400000" },
    { token_expires_ms: "86400000" },
  ]);
});

test("text of the relay must be UTF-8; of a message it becomes readable", () => {
  for (const b of [frame(0x20, 0, Uint8Array.of(10, 1, 0xff)), frame(0x24, 1, Uint8Array.of(34, 1, 0xff)), frame(0x24, 1, Uint8Array.of(42, 3, 18, 1, 0xff)), frame(0x2f, 0, Uint8Array.of(26, 1, 0xff))])
    assert.equal(readDown([b]).code, Code.protocol);
  const m = new Message("a:b", { epoch: 1, seq: 1 }, Uint8Array.of(10, 1, 0xff, 18, 1, 0xff, 26, 6, 10, 1, 0xff, 18, 1, 0xff));
  assert.deepEqual([m.text(), m.key, Object.entries(m.headers)], ["\ufffd", "\ufffd", [["\ufffd", "\ufffd"]]]);
});

test("a state or a reason that a newer relay has is no fault", () => {
  const got = readDown([frame(0x2b, 1, Uint8Array.of(8, 9)), frame(0x28, 1, Uint8Array.of(40, 9))]);
  assert.deepEqual(got, { frames: [{ type: "Gap", ref: 1, fields: { reason: "GAP_TRIMMED" } }], code: undefined });
});

test("what follows a violation in the same piece is not read, what came before is", () => {
  const b = Buffer.concat([encodeDown.pong(1), frame(0x30, 1), encodeDown.pong(2)]);
  assert.deepEqual(readDown([new Uint8Array(b)]), { frames: [{ type: "Pong", ref: 1, fields: {} }], code: Code.unsupported });
});

test("a length that is only claimed costs at most 64 KiB; a byte at a time takes linear time", () => {
  const head = frame(0x26, 1, new Uint8Array(1_000_000)).subarray(0, 5);
  const before = process.memoryUsage().arrayBuffers;
  const readers = Array.from({ length: 100 }, () => frameReader(lister([])));
  for (const r of readers) r.push(head);
  assert.ok(process.memoryUsage().arrayBuffers - before < 100 * 70_000);

  const time = (size: number): number => {
    const whole = bytesOf(encodeDown.message(1, 1, 1, messageBody({ payload: new Uint8Array(size) })));
    const start = performance.now();
    assert.equal(readDown(whole).frames.length, 1);
    return performance.now() - start;
  };
  time(20_000);
  const [small, large] = [Math.min(time(20_000), time(20_000)), time(1_000_000)];
  assert.ok(large < 50 * 6 * small + 200, `20 KB in ${small} ms, 1 MB in ${large} ms`);
});

test("the relay's half refuses what does not go up", () => {
  assert.equal(ends(() => new UpReader(() => {}).push(encodeDown.pong(1))), Code.unsupported);
});
