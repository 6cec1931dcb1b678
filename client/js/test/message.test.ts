import assert from "node:assert/strict";
import { test } from "node:test";
import { BadRequestError, MeridianError, TooLargeError } from "../src/errors.ts";
import { Message, encodeMessage, producerOf } from "../src/message.ts";
import type { Outgoing } from "../src/message.ts";
import { hex } from "./codec/golden.ts";
import { messageBody } from "./codec/relay.ts";

const at = { epoch: 3, seq: 42 };
const read = (body: Uint8Array): Message => new Message("chat:lobby", at, body);
const encode = (m: unknown, payload = 0): Uint8Array => encodeMessage(m as Outgoing, payload);

test("a message as the home sends it", () => {
  const m = read(messageBody({
    payload: "hi", key: "a", headers: [["b", "2"], ["a", "1"]], contentType: "text/plain", publisher: "größe", time: 1767225600000,
  }));
  assert.equal(m.channel, "chat:lobby");
  assert.deepEqual(m.position, at);
  assert.deepEqual([...m.bytes], [104, 105]);
  assert.deepEqual([m.text(), m.key, m.contentType, m.publisher], ["hi", "a", "text/plain", "größe"]);
  assert.deepEqual(Object.entries(m.headers), [["b", "2"], ["a", "1"]]);
  assert.equal(m.time.toISOString(), "2026-01-01T00:00:00.000Z");
});

test("a message of nothing", () => {
  const m = read(new Uint8Array(0));
  assert.deepEqual([m.bytes.length, m.text(), m.key, m.contentType, m.publisher, m.time.getTime()], [0, "", undefined, undefined, undefined, 0]);
  assert.deepEqual(Object.keys(m.headers), []);
});

test("empty text is as none", () => {
  const m = read(Uint8Array.of(18, 0, 34, 0, 114, 0));
  assert.deepEqual([m.key, m.contentType, m.publisher], [undefined, undefined, undefined]);
});

test("the payload is a view, not a copy", () => {
  const body = messageBody({ payload: "hello" });
  assert.equal(read(body).bytes.buffer, body.buffer);
});

test("headers cannot reach a prototype, and cannot be changed", () => {
  const { headers } = read(messageBody({ headers: [["__proto__", "x"], ["constructor", "y"], ["toString", "z"]] }));
  assert.equal(Object.getPrototypeOf(headers), null);
  assert.deepEqual(Object.entries(headers), [["__proto__", "x"], ["constructor", "y"], ["toString", "z"]]);
  assert.equal(({} as any).x, undefined);
  assert.equal(headers["hasOwnProperty"], undefined);
  assert.throws(() => ((headers as any).a = "1"), TypeError);
  assert.throws(() => ((read(messageBody({})).headers as any).a = "1"), TypeError);
});

test("text never throws and keeps what UTF-8 can hold, a byte order mark too", () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  assert.equal(typeof read(messageBody({ payload: all })).text(), "string");
  for (const s of ["\ufeffx", "\0", "😀\u2028", "\uffff", "e\u0301"]) assert.equal(read(encode({ text: s })).text(), s);
});

test("what is published is what is read: any byte, any Unicode, 0 bytes and the limit", () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  assert.deepEqual(read(encode({ bytes: all })).bytes, all);
  let unicode = "";
  for (let c = 0; c < 0x110000; c += 0x101) if (c < 0xd800 || c > 0xdfff) unicode += String.fromCodePoint(c);
  assert.equal(read(encode({ text: unicode })).text(), unicode);
  assert.equal(read(encode({ text: "" })).text(), "");
  assert.equal(encode({ bytes: new Uint8Array(0) }).length, 0);
  for (const json of [0, null, "", [], { a: [1, { b: null }] }, "\u2028", "\ud800"]) assert.deepEqual(read(encode({ json })).json(), json);
  assert.equal(read(encode({ bytes: new Uint8Array(1 << 20) })).bytes.length, 1 << 20);
});

test("bytes of any kind, copied", () => {
  const b = Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7);
  const kinds: [unknown, number[]][] = [
    [b, [...b]],
    [b.buffer, [...b]],
    [b.subarray(2, 4), [2, 3]],
    [new DataView(b.buffer, 1, 3), [1, 2, 3]],
    [new Uint16Array(b.buffer, 2, 1), [2, 3]],
    [Buffer.from([9, 8]), [9, 8]],
    [new Uint8Array(new SharedArrayBuffer(2)), [0, 0]],
    [new SharedArrayBuffer(2), [0, 0]],
  ];
  for (const [bytes, want] of kinds) assert.deepEqual([...read(encode({ bytes })).bytes], want);
  const out = encode({ bytes: b });
  b.fill(99);
  assert.deepEqual([...read(out).bytes], [0, 1, 2, 3, 4, 5, 6, 7]);
});

test("json that is none: a typed error names the message and its channel", () => {
  const m = read(messageBody({ payload: "{" }));
  assert.throws(() => m.json(), (e) => e instanceof MeridianError && e.cause instanceof SyntaxError && e.message.includes("3:42 of chat:lobby"));
});

test("headers stand in the order of their bytes, whatever order they were given in", () => {
  // U+FFFD sorts before U+10000 by bytes, behind its surrogates by code units.
  const m = read(encode({ text: "", headers: { "\u{10000}": "4", b: "2", "\ufffd": "3", a: "", "": "0" } }));
  assert.deepEqual(Object.keys(m.headers), ["", "a", "b", "\ufffd", "\u{10000}"]);
  assert.equal(hex(encode({ text: "hi", headers: { b: "2", a: "" }, key: "k", contentType: "t" })), "0a026869" + "12016b" + "1a050a01611200" + "1a060a0162120132" + "220174");
});

test("nothing is changed silently: what has no UTF-8 is refused", () => {
  for (const [m, word] of [
    [{ text: "a\ud800" }, "text"],
    [{ text: "x", key: "\udc00" }, "key"],
    [{ text: "x", headers: { "\ud800": "v" } }, "header name"],
    [{ text: "x", headers: { h: "\ud800x" } }, "header h"],
    [{ text: "x", contentType: "\ud800" }, "contentType"],
  ] as const)
    assert.throws(() => encode(m), (e) => e instanceof BadRequestError && e.message.startsWith(word) && e.message.includes("lone surrogate"));
});

test("what is no message is refused with what to give", () => {
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  const bad: [unknown, RegExp][] = [
    [undefined, /give one of text, json and bytes/],
    [null, /no payload/],
    ["hi", /no payload/],
    [{}, /no payload/],
    [{ txt: "x" }, /no payload/],
    [{ text: "x", json: 1 }, /text and json: give one/],
    [{ text: 5 }, /text is no string/],
    [{ text: undefined }, /text is no string/],
    [{ json: undefined }, /json: it has no JSON/],
    [{ json: () => {} }, /json: it has no JSON/],
    [{ json: cyclic }, /json: .*circular/],
    [{ json: 1n }, /json: .*BigInt/],
    [{ json: { toJSON() { throw new Error("mine"); } } }, /json: mine/],
    [{ json: { toJSON() { throw null; } } }, /json: null/],
    [{ bytes: [1, 2] }, /bytes: give a Uint8Array/],
    [{ bytes: "x" }, /bytes: give a Uint8Array/],
    [{ bytes: undefined }, /bytes: give a Uint8Array/],
    [{ bytes: new Blob([]) }, /bytes: give a Uint8Array/],
    [{ text: "x", key: 5 }, /key is no string/],
    [{ text: "x", headers: { a: 1 } }, /header a is no string/],
    [{ text: "x", headers: new Map([["a", "b"]]) }, /plain object/],
    [{ text: "x", headers: [["a", "b"]] }, /plain object/],
    [{ text: "x", headers: "a: b" }, /plain object/],
    [{ text: "x", contentType: {} }, /contentType is no string/],
    [{ text: "x", id: "" }, /id/],
    [{ text: "x", id: 7 }, /id/],
  ];
  for (const [m, words] of bad) assert.throws(() => encode(m), (e) => e instanceof BadRequestError && words.test(e.message), String(words));
  const gone = new ArrayBuffer(8);
  const view = new Uint8Array(gone);
  structuredClone(gone, { transfer: [gone] });
  for (const bytes of [gone, view]) assert.throws(() => encode({ bytes }), BadRequestError);
  assert.throws(() => encode({ json: cyclic }), (e) => (e as Error).cause instanceof TypeError);
});

test("limits hold to the byte, and an error says size and limit", () => {
  const tooLarge = (m: unknown, words: string, payload?: number): void =>
    assert.throws(() => encode(m, payload), (e) => e instanceof TooLargeError && e.message.includes(words), words);
  encode({ text: "x".repeat(1000) }, 1000);
  tooLarge({ text: "x".repeat(1001) }, "payload of 1001 bytes: at most 1000", 1000);
  encode({ text: "ß".repeat(500) }, 1000);
  tooLarge({ text: "ß".repeat(501) }, "payload of 1002 bytes", 1000);
  tooLarge({ json: "x".repeat(999) }, "payload of 1001 bytes", 1000);
  tooLarge({ bytes: new Uint8Array(1001) }, "payload of 1001 bytes", 1000);
  tooLarge({ bytes: new Uint8Array((1 << 20) + 1) }, "at most 1048576");
  tooLarge({ bytes: new Uint8Array((1 << 20) + 1) }, "at most 1048576", 2 ** 40);
  encode({ text: "", key: "k".repeat(256) });
  tooLarge({ text: "", key: "k".repeat(257) }, "key of 257 bytes: at most 256");
  encode({ text: "", key: "ß".repeat(128) });
  tooLarge({ text: "", key: "ß".repeat(129) }, "key of 258 bytes");
  // Tag and length of the header, of its name and of its value: 1+2, 1+1, 1+2.
  const most = 4096 - 3 - 2 - 3 - 1;
  encode({ text: "", headers: { h: "v".repeat(most) } });
  tooLarge({ text: "", headers: { h: "v".repeat(most + 1) } }, "headers and content type of 4097 bytes: at most 4096");
  tooLarge({ text: "", headers: { h: "v".repeat(most) }, contentType: "t" }, "of 4099 bytes");
  encode({ text: "", contentType: "t".repeat(4093) });
  tooLarge({ text: "", contentType: "t".repeat(4094) }, "of 4097 bytes");
  tooLarge({ text: "", headers: { ["n".repeat(1e6)]: "" } }, "headers and content type");
  tooLarge({ text: "", headers: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => ["h" + i, ""])) }, "headers and content type");
});

test("the producer of an id is the one that Go derives", async () => {
  // relay.ProducerOf("größe", "order-1"), and of an empty subject and id.
  assert.equal(hex(await producerOf("größe", "order-1")), "0d028928e8225e0d3199463cc6d679ae");
  assert.equal(hex(await producerOf("", "")), "af5570f5a1810b7af78caf4bc70a660f");
  await assert.rejects(producerOf("u", "\ud800"), BadRequestError);
});

test("where there is no crypto.subtle, the error says why", async (t) => {
  const { crypto } = globalThis;
  t.after(() => Object.defineProperty(globalThis, "crypto", { value: crypto, configurable: true, writable: true }));
  for (const value of [undefined, {}]) {
    Object.defineProperty(globalThis, "crypto", { value, configurable: true, writable: true });
    await assert.rejects(producerOf("u", "x"), (e) => e instanceof BadRequestError && e.message.includes("https"));
  }
});
