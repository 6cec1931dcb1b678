// What one message costs from the carrier's bytes to a subscription's sink, and one publish from
// the courier's call to the carrier: ns each, over a session in memory.
import { encodeDown, messageBody } from "../test/codec/relay.ts";
import { FakeRelay } from "../test/fake-session.ts";
import { settle } from "../test/time.ts";

async function receive(size: number): Promise<number> {
  const relay = new FakeRelay();
  const link = relay.link();
  let got = 0;
  const request = { channel: "a:b", from: { kind: "live" }, latest: false, limit: 0, barrier: false, own: false, datagram: false, credit: 2 ** 50 } as const;
  link.subscribe(request, { ok() {}, message: () => void got++, gap() {}, status() {}, end() {} });
  await settle();
  const frame = encodeDown.message(1, 1, 1, messageBody({ payload: new Uint8Array(size), publisher: "user-17", time: 1_767_225_600_000 }));
  const each = Math.ceil(65_536 / frame.length);
  const chunk = new Uint8Array(each * frame.length);
  for (let i = 0; i < each; i++) chunk.set(frame, i * frame.length);
  const rounds = Math.ceil(1_000_000 / each);
  const since = performance.now();
  for (let i = 0; i < rounds; i++) relay.handler!.data(0, chunk);
  const ns = ((performance.now() - since) * 1e6) / got;
  link.close(0, "");
  return ns;
}

async function publish(size: number): Promise<number> {
  const relay = new FakeRelay();
  const link = relay.link();
  await settle();
  relay.session.write = () => {};
  const p = { channel: "a:b", producer: new Uint8Array(16), n: 1, age: 0, void: false, body: new Uint8Array(size) };
  let sent = 0;
  let time = 0;
  for (let ref = 1; sent < 500_000; ) {
    const since = performance.now();
    const from = ref;
    for (let i = 0; i < 500 && link.publish(p, () => {}); i++) ref++;
    await Promise.resolve();
    time += performance.now() - since;
    sent += ref - from;
    for (let r = from; r < ref; r++) relay.handler!.data(0, encodeDown.ok(r, { epoch: 1, seq: r }));
    await Promise.resolve();
  }
  link.close(0, "");
  return (time * 1e6) / sent;
}

for (let i = 0; i < 3; i++) {
  const ns = [await receive(1024), await receive(100), await publish(100)].map(Math.round);
  console.log(`ns: ${ns[0]} a message of 1 KiB, ${ns[1]} one of 100 B, ${ns[2]} a publish of 100 B`);
}
