// What the processes below this one take of the processor.
import { readdirSync, readFileSync } from "node:fs";

const ticks = 100; // a second, on every Linux that people use

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  /** User and system time in seconds. */
  readonly seconds: number;
}

function processes(): Process[] {
  const list: Process[] = [];
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      const end = stat.lastIndexOf(")");
      const fields = stat.slice(end + 2).split(" ");
      const name = stat.slice(stat.indexOf("(") + 1, end);
      list.push({
        pid: +pid, parent: +fields[1]!, seconds: (+fields[11]! + +fields[12]!) / ticks,
        name: label(name, readFileSync(`/proc/${pid}/cmdline`, "latin1")),
      });
    } catch {
      // it has ended
    }
  }
  return list;
}

/** Chromium's processes by what they do. */
function label(name: string, command: string): string {
  const [, type] = /--type=([\w-]+)/.exec(command) ?? [];
  if (!type) return name;
  const [, service] = /--utility-sub-type=(\w+)/.exec(command) ?? [];
  return service ?? type;
}

/** Seconds of processor time so far, of this process and all below it, by pid. */
function usage(): Map<number, [name: string, seconds: number]> {
  const list = processes();
  const ours = new Map<number, [string, number]>();
  for (let more = [process.pid]; more.length; ) {
    const level = list.filter((p) => more.includes(p.pid));
    for (const p of level) ours.set(p.pid, [p.name, p.seconds]);
    more = list.filter((p) => more.includes(p.parent)).map((p) => p.pid);
  }
  return ours;
}

/** Seconds that all processors of the machine were busy. */
function busy(): number {
  const [user, nice, system, , , irq, soft] = readFileSync("/proc/stat", "latin1").split("\n")[0]!.split(/ +/).slice(1).map(Number);
  return (user! + nice! + system! + irq! + soft!) / ticks;
}

/** Waits until the machine has had nothing else to do for two seconds, at most so many seconds. */
export async function quiet(patience: number): Promise<void> {
  for (const end = performance.now() + 1000 * patience; performance.now() < end; ) {
    const before = busy();
    await new Promise((resolve) => setTimeout(resolve, 2000));
    if (busy() - before < 0.3) return;
  }
}

/** What was taken in a time. */
export interface Shares {
  /** Seconds of a core by each kind of our processes, most first; what had next to nothing is left out. */
  readonly ours: readonly (readonly [name: string, seconds: number])[];
  /** Cores taken by processes of others: where it is large, the figure is theirs too. */
  readonly others: number;
  /** Seconds that it was. */
  readonly elapsed: number;
}

/** Begins to count; the function returned says what was taken since. */
export function watchProcessor(): () => Shares {
  const before = usage();
  const busyBefore = busy();
  const began = performance.now();
  return () => {
    const elapsed = (performance.now() - began) / 1000;
    const by = new Map<string, number>();
    let others = busy() - busyBefore;
    for (const [pid, [name, seconds]] of usage()) {
      const more = seconds - (before.get(pid)?.[1] ?? 0);
      by.set(name, (by.get(name) ?? 0) + more);
      others -= more;
    }
    const ours = [...by].filter(([, seconds]) => seconds >= 0.01 * elapsed).sort((a, b) => b[1] - a[1]);
    return { ours, others: Math.max(0, others / elapsed), elapsed };
  };
}
