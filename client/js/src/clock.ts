/** A moment on both clocks, in milliseconds: the wall's can be set, the steady one may stand still while the machine sleeps. */
export interface Moment {
  readonly wall: number;
  readonly steady: number;
}

export function now(): Moment {
  return { wall: Date.now(), steady: performance.now() };
}

/** Milliseconds from a to b on the clock that says more; never below 0, as the steady one never goes back. */
export function elapsed(a: Moment, b: Moment = now()): number {
  return Math.max(b.steady - a.steady, b.wall - a.wall);
}
