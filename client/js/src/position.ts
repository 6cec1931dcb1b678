/** Where a message stands in its channel: `seq` counts without holes within an `epoch`. Both are below 2^53. */
export interface Position {
  readonly epoch: number;
  readonly seq: number;
}

/** Before everything. */
export const zero: Position = { epoch: 0, seq: 0 };

/** Whether a comes before b: by epoch, then seq. */
export function before(a: Position, b: Position): boolean {
  return a.epoch < b.epoch || (a.epoch === b.epoch && a.seq < b.seq);
}
