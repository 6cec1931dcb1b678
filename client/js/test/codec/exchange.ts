// The JavaScript half of relay/wire's TestCampaignJavaScript: a line of JSON in, a line out.
//   {"down": base64, "cuts": [n, …]}  what the SDK reads of a stream in pieces of so many bytes
//   {"datagram": base64}              what it reads of a datagram; null: dropped
//   {"up": seed, "count": n}          so many random frames that it writes, and their fields

import { createInterface } from "node:readline";
import { decodeDatagram } from "../../src/frames.ts";
import { base64, unbase64 } from "./golden.ts";
import { messageFields, readDown } from "./json.ts";
import { random, randomUp } from "./random.ts";

interface Ask {
  down?: string;
  cuts?: number[];
  datagram?: string;
  up?: number;
  count?: number;
}

function* pieces(stream: Uint8Array, cuts: readonly number[]): Generator<Uint8Array> {
  let at = 0;
  for (const n of cuts) {
    yield stream.slice(at, at + n);
    at += n;
  }
  yield stream.slice(at);
}

function answer(ask: Ask): unknown {
  if (ask.down !== undefined) {
    const { frames, code } = readDown(pieces(unbase64(ask.down), ask.cuts ?? []));
    return { frames, code: code ?? 0 };
  }
  if (ask.datagram !== undefined) {
    const d = decodeDatagram(unbase64(ask.datagram));
    return { frames: d ? [{ type: "Datagram", ref: d.ref, fields: messageFields(d.epoch, d.seq, d.body) }] : [], code: 0 };
  }
  const { bytes, frames } = randomUp(random(ask.up!), ask.count!);
  return { bytes: base64(bytes), frames };
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + "\n");
}
