// What publishing costs in the courier: nanoseconds a publish, with a link that answers at once.
//
//   node bench/courier.ts
//
// Baseline: a promise and an answer for each publish, without order, resending or bounds.
import { startCourier } from "../src/courier.ts";
import type { LinkLike, Publication } from "../src/link.ts";
import type { Position } from "../src/position.ts";

const body = new Uint8Array(100);
const inFlight = 500;
const count = 300_000;

/** Answers what a turn sent in the next one. */
class Echo {
  end = undefined;
  onRoom: (() => void) | undefined;
  #seq = 0;
  #answers: ((at: Position | undefined, end: undefined) => void)[] = [];

  publish(_: Publication, answer: (at: Position | undefined, end: undefined) => void): boolean {
    if (!this.#answers.length) setImmediate(() => this.#flush());
    this.#answers.push(answer);
    return true;
  }

  #flush(): void {
    const list = this.#answers;
    this.#answers = [];
    for (const f of list) f({ epoch: 1, seq: ++this.#seq }, undefined);
  }
}

type Post = (channel: string) => Promise<Position>;

function courier(): Post {
  const co = startCourier(1 << 23);
  co.use(new Echo() as unknown as LinkLike);
  return (channel) => co.post(channel, body);
}

function baseline(): Post {
  const echo = new Echo();
  return (channel) =>
    new Promise((resolve) => {
      echo.publish({ channel, producer: body, n: 1, age: 0, void: false, body }, (at) => resolve(at!));
    });
}

/** Nanoseconds a publish, pipelined over some channels. */
async function measure(post: Post, channels: number): Promise<number> {
  const names = Array.from({ length: channels }, (_, i) => "demo:" + i);
  let next = 0;
  const from = performance.now();
  const one = async () => {
    while (next < count) await post(names[next++ % channels]!);
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  return ((performance.now() - from) * 1e6) / count;
}

for (const channels of [1, 200]) {
  for (let i = 0; i < 3; i++) {
    const base = await measure(baseline(), channels);
    const ours = await measure(courier(), channels);
    console.log(`${channels} channels: ${ours.toFixed(0)} ns a publish, ${(ours / base).toFixed(1)} × the baseline's ${base.toFixed(0)}`);
  }
}
