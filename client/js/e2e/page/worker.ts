// The probe in a module worker, with the SDK as its sources are.
import * as meridian from "../../src/index.ts";
Object.assign(globalThis, { meridian });
const { perform } = await import("./probe.ts");

addEventListener("message", ({ data: [id, name, args] }: MessageEvent) => {
  void perform(name, args).then(
    (ok) => postMessage([id, ok]),
    (err) => postMessage([id, undefined, String(err)]),
  );
});
postMessage("ready");
