import { mock } from "node:test";
import type { TestContext } from "node:test";

/**
 * Virtual time for one test: timers, Date and performance.now move only by `advance`, which lets
 * everything that is due run, in small steps with microtasks between.
 */
export interface VirtualTime {
  /** Moves time by so many milliseconds. */
  advance(ms: number): Promise<void>;
  /** Moves the wall clock alone, as a person does who sets it. */
  setWall(byMs: number): void;
}

export function virtualTime(t: TestContext, start = 1_700_000_000_000): VirtualTime {
  let steady = 1000;
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: start });
  const perf = mock.method(performance, "now", () => steady);
  t.after(() => {
    perf.mock.restore();
    mock.timers.reset();
  });
  let shift = 0;
  const real = Date.now;
  return {
    async advance(ms) {
      await settle();
      for (let left = ms; left > 0; ) {
        const step = Math.min(left, left > 20_000 ? 1000 : left > 2_000 ? 100 : 10);
        left -= step;
        steady += step;
        mock.timers.tick(step);
        await settle();
      }
    },
    setWall(byMs) {
      shift += byMs;
      Date.now = () => real() + shift;
      t.after(() => {
        Date.now = real;
      });
    },
  };
}

/** Lets every promise that can settle do so. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
