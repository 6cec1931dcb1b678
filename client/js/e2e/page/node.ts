// The probe in a Node that speaks JSON lines: [name, args] in, [ok, error] out, one at a time.
import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import * as meridian from "../../src/index.ts";
import { perform } from "./probe.ts";

const errors: string[] = [];
for (const event of ["uncaughtException", "unhandledRejection"]) process.on(event, (err) => errors.push(`${event}: ${err}`));

Object.assign(globalThis, {
  meridian: {
    ...meridian,
    connect: (url: string, options: meridian.ConnectOptions) =>
      // Node 20 has no WebSocket of its own.
      meridian.connect(url, globalThis.WebSocket ? options : { ...options, WebSocket: WebSocket as never }),
  },
});

for await (const line of createInterface(process.stdin)) {
  const [name, args] = JSON.parse(line) as [string, unknown[]];
  const answer = await perform(name, args).then(
    (ok) => [name === "tell" ? { ...(ok as object), errors } : ok],
    (err) => [undefined, String(err)],
  );
  console.log(JSON.stringify(answer));
}
