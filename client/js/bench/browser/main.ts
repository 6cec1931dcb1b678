// Prints what the SDK does in Chromium, each figure with its target and all runs.
// Run: node bench/browser/main.ts [connect|history|live|publish|unread|heap …] [--runs N] [--for 60m] [--patience S] [--profiles DIR]
// Without names: all but heap, which takes an hour. Exit code 1: a target is missed.
import { parseArgs } from "node:util";
import { absent } from "../../e2e/browser.ts";
import { connect } from "./connect.ts";
import { print } from "./figure.ts";
import type { Figure } from "./figure.ts";
import { heap } from "./heap.ts";
import { publishing } from "./publish.ts";
import { history, live } from "./receive.ts";
import { Rig } from "./rig.ts";
import { stalled } from "./unread.ts";

const measurements: Record<string, (rig: Rig) => AsyncGenerator<Figure>> = {
  connect, history, live, publish: publishing, unread: stalled, heap,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: "string" }, for: { type: "string", default: "60m" }, patience: { type: "string", default: "0" }, profiles: { type: "string" } },
});
const names = positionals.length ? positionals : Object.keys(measurements).filter((n) => n !== "heap");
const patience = Number(values.patience);
const unknown = names.filter((n) => !(n in measurements));
const minutes = Number(/^(\d+)m$/.exec(values.for)?.[1]);
const runs = values.runs === undefined ? undefined : Number(values.runs);
if (unknown.length || !minutes || !(patience >= 0) || (runs !== undefined && !(runs >= 1))) {
  console.error(`bench: names are ${Object.keys(measurements).join(", ")}; --runs N; --for MINUTESm; --patience SECONDS, to wait for a quiet machine before each run; --profiles DIR`);
  process.exit(2);
}
const why = absent("chromium");
if (why) {
  console.log(why);
  process.exit(0);
}

const rig = await Rig.open({ runs, minutes, patience, profiles: values.profiles });
const stop = () => void rig.close().finally(() => process.exit(130));
process.on("SIGINT", stop).on("SIGTERM", stop);
const missed: string[] = [];
try {
  console.log(`${await rig.browser.version()}, ${(await import("node:os")).cpus().length} cores, ${new Date().toISOString()}`);
  for (const name of names) {
    for await (const figure of measurements[name]!(rig)) if (print(figure)) missed.push(figure.name);
  }
} finally {
  await rig.close();
}
console.log(missed.length ? `missed: ${missed.length}\n${missed.map((m) => `  ${m}`).join("\n")}` : "no target is missed");
process.exitCode = missed.length ? 1 : 0;
