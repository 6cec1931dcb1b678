// Prints what the codec costs: nanoseconds for each message read, and each publish written.
// Run: node bench/codec.ts

import { frameReader, Writer, appendPublish } from "../src/frames.ts";
import type { FrameSink } from "../src/frames.ts";
import { Message, encodeMessage } from "../src/message.ts";
import { encodeDown, messageBody } from "../test/codec/relay.ts";

const rounds = 7;

function joined(parts: Uint8Array[]): Uint8Array {
  const w = new Writer();
  for (const p of parts) w.raw(p);
  return w.take();
}

/** Pieces of a stream, as a browser delivers them. */
function pieces(stream: Uint8Array, size: number): Uint8Array[] {
  const list: Uint8Array[] = [];
  for (let at = 0; at < stream.length; at += size) list.push(stream.slice(at, at + size));
  return list;
}

/** Prints the median of several rounds. */
function measure(name: string, count: number, run: () => void): void {
  run();
  const times = Array.from({ length: rounds }, () => {
    const start = performance.now();
    run();
    return ((performance.now() - start) * 1e6) / count;
  }).sort((a, b) => a - b);
  console.log(`${name.padEnd(52)} ${times[rounds >> 1]!.toFixed(0).padStart(6)} ns`);
}

let sum = 0;
function sink(read: (m: Message) => void): FrameSink {
  const none = (): void => {};
  return {
    welcome: none, ok: none, end: none, gap: none, status: none, pong: none, goAway: none,
    message: (_ref, epoch, seq, body) => read(new Message("chat:lobby", { epoch, seq }, body)),
  };
}

for (const size of [1000, 100]) {
  const count = 4e7 / size / 2;
  const body = messageBody({ payload: "x".repeat(size), publisher: "user-17", time: 1767225600000 });
  const stream = joined(Array.from({ length: count }, (_, i) => encodeDown.message(3, 1, i + 1, body)));
  for (const piece of [65536, 1200]) {
    const list = pieces(stream, piece);
    const reads: [string, (m: Message) => void][] = [
      ["", (m) => (sum += m.position.seq)],
      [" and its text", (m) => (sum += m.text().length)],
    ];
    for (const [what, read] of reads)
      measure(`read ${size} B${what}, in pieces of ${piece} B`, count, () => {
        const r = frameReader(sink(read));
        for (const p of list) r.push(p);
      });
  }
  const producer = crypto.getRandomValues(new Uint8Array(16));
  const text = "x".repeat(size);
  measure(`encode and write a publish of ${size} B`, 20_000, () => {
    for (let i = 0; i < 20_000; ) {
      const w = new Writer();
      for (const stop = i + 50; i < stop; i++)
        appendPublish(w, i + 1, { channel: "chat:lobby", producer, n: i + 1, age: 0, void: false, body: encodeMessage({ text }, 65536) });
      sum += w.take().length;
    }
  });
}
if (!sum) throw new Error("nothing was read");
