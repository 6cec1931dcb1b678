// One measured figure, held to its target, and how it is printed.

import type { Shares } from "./processor.ts";

export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** One of each run, in their order. */
  readonly runs: readonly number[];
  /** What the processor did in each run. Absent: not counted. */
  readonly shares?: readonly Shares[];
  /** Messages of a run, to tell what the processor took for each. */
  readonly messages?: number;
  /** What stands for them. Absent: the median. */
  readonly value?: number;
  /** Absent: stated only. */
  readonly target?: { readonly least: number } | { readonly most: number };
}

export function median(list: readonly number[]): number {
  return quantile(list, 0.5);
}

/** The smallest number that a share q of the list does not exceed. */
export function quantile(list: readonly number[], q: number): number {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? NaN;
}

export function round(v: number): string {
  return Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en") : v.toPrecision(3);
}

function misses(f: Figure, value: number): boolean {
  if (!f.target) return false;
  return "least" in f.target ? !(value >= f.target.least) : !(value <= f.target.most);
}

/** Prints a figure and all its runs; returns whether it misses its target. */
export function print(f: Figure): boolean {
  const value = f.value ?? median(f.runs);
  const missed = misses(f, value);
  const target = !f.target ? "stated"
    : "least" in f.target ? `at least ${round(f.target.least)}`
    : `at most ${round(f.target.most)}`;
  const runs = f.runs.length > 1 ? `; runs: ${f.runs.map(round).join(" ")}` : "";
  console.log(`${missed ? "MISSED" : "      "} ${f.name}: ${round(value)} ${f.unit} (${target})${runs}`);
  if (f.shares) {
    const { ours, elapsed } = f.shares.at(-1)!;
    const each = (seconds: number) => (f.messages ? ` (${round((1e6 * seconds) / f.messages)} µs a message)` : "");
    const text = ours.map(([name, seconds]) => `${name} ${percent(seconds / elapsed)}${each(seconds)}`);
    console.log(`        last run: ${text.join(", ")}; processes of others in each: ${f.shares.map((s) => percent(s.others)).join(" ")}`);
  }
  return missed;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}
