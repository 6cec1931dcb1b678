// Nanoseconds per message from a link to a `for await`, without the carrier and the codec. The
// baseline is a loop over a generator of the same messages, in the same run.

import { encodeMessage, Message } from "../src/message.ts";
import { subscribe } from "../src/subscription.ts";
import { FakeHost, FakeLink } from "../test/reading.ts";
import type { FakeSubscription } from "../test/reading.ts";

const chunk = 65_536; // bytes that a carrier gives at once

/** Delivers what the credit of each allows, a chunk of one channel in each turn, until n came in all. */
async function run(channels: number, size: number, n: number): Promise<number> {
  const link = new FakeLink();
  const host = new FakeHost(link);
  const body = encodeMessage({ bytes: new Uint8Array(size) }, 0);
  const seqs: number[] = [];
  let taken = 0;
  for (let i = 0; i < channels; i++) {
    const sub = subscribe(host, "bench:" + i, {});
    seqs.push(0);
    link.sub.ok({ epoch: 1, seq: 0 });
    void (async () => {
      for await (const m of sub) if (m.position.seq) taken++;
    })();
  }
  const began = performance.now();
  while (taken < n) {
    const buffer = new Uint8Array(chunk);
    for (let used = 0, i = 0; used + body.length <= chunk; used += body.length, i = (i + 1) % channels) {
      const s = link.subs[i] as FakeSubscription;
      if (s.credit > 0) s.send(1, ++seqs[i]!, buffer.subarray(used, used + body.length));
    }
    await new Promise((r) => setImmediate(r));
  }
  return ((performance.now() - began) * 1e6) / taken;
}

async function baseline(size: number, n: number): Promise<number> {
  const body = encodeMessage({ bytes: new Uint8Array(size) }, 0);
  async function* source() {
    for (let seq = 1; seq <= n; ) {
      const buffer = new Uint8Array(chunk);
      for (let used = 0; used + body.length <= chunk; used += body.length) {
        yield new Message("bench:x", { epoch: 1, seq: seq++ }, buffer.subarray(used, used + body.length));
      }
      await new Promise((r) => setImmediate(r));
    }
  }
  const began = performance.now();
  let taken = 0;
  for await (const m of source()) if (m.position.seq) taken++;
  return ((performance.now() - began) * 1e6) / taken;
}

for (const [channels, size] of [[1, 1000], [200, 1000], [1, 100], [200, 100]] as const) {
  await run(channels, size, 50_000);
  const ratios: number[] = [];
  for (let pair = 0; pair < 5; pair++) {
    const base = await baseline(size, 200_000);
    const ns = await run(channels, size, 200_000);
    ratios.push(ns / base);
    console.log(`${channels} channels, ${size} B: ${ns.toFixed(0)} ns/message, generator ${base.toFixed(0)}, ratio ${(ns / base).toFixed(2)}`);
  }
  console.log(`  median ratio ${ratios.sort((a, b) => a - b)[2]!.toFixed(2)}`);
}
