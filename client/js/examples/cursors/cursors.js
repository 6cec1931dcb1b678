// Live cursors: each page publishes where its pointer is, and shows the newest of every other.
const { field, state, count } = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));
const fade = 3000, forget = 10_000; // ms without a word
const crowd = 100; // cursors shown

let subject = "";
async function session() {
  const answer = await fetch(`/session.json?subject=${subject}`);
  if (!answer.ok) throw new Error(`session.json: status ${answer.status}`);
  const given = await answer.json();
  subject = given.subject;
  return given;
}
const { url, webSocketURL } = await session();
const relay = meridian.connect(url, {
  webSocketURL,
  certHashes: async () => (await session()).certHashes,
  getToken: async () => (await session()).token,
});
relay.on("state", ({ to, reason, edge, carrier }) => {
  state.dataset.state = to;
  state.textContent = to === "connected" ? `connected to ${edge} by ${carrier}` : reason ? `${to}: ${reason.message}` : to;
});
const board = relay.channel("demo:cursors");

// Up: at most one position on the way; the newest follows it.
let at = { x: 0.5, y: 0.5 }, moved = false, busy = false;
async function tell() {
  moved = true;
  if (busy) return;
  busy = true;
  while (moved) {
    moved = false;
    await board.publish({ json: at, key: subject }).catch((error) => console.warn(error.message));
    await new Promise((after) => setTimeout(after, 30)); // at most 33 a second
  }
  busy = false;
}
field.addEventListener("pointermove", (event) => {
  const box = field.getBoundingClientRect();
  at = { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  tell();
});
field.addEventListener("keydown", ({ key }) => {
  const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key] ?? [0, 0];
  if (!x && !y) return;
  at = { x: Math.min(1, Math.max(0, at.x + x / 50)), y: Math.min(1, Math.max(0, at.y + y / 50)) };
  tell();
});

// Down: latest by key, so that who is slow sees the newest, never a queue of old ones.
const others = new Map(); // by subject: {element, heard}
const show = () => (count.textContent = others.size ? `Others here: ${others.size}.` : "Nobody else is here.");
setInterval(() => {
  for (const [who, { element, heard }] of others) {
    const silent = performance.now() - heard;
    element.classList.toggle("silent", silent > fade);
    if (silent > forget) element.remove(), others.delete(who);
  }
  show();
}, 500);

for await (const m of board.subscribe({ mode: "latest", datagram: true })) {
  let x, y;
  try {
    ({ x, y } = m.json());
  } catch {}
  if (m.publisher === subject || !(x >= 0 && x <= 1 && y >= 0 && y <= 1)) continue;
  let cursor = others.get(m.publisher);
  if (!cursor && others.size < crowd) {
    cursor = { element: document.createElement("div") };
    cursor.element.className = "cursor";
    cursor.element.style.setProperty("--hue", [...m.publisher].reduce((hue, c) => (hue * 31 + c.codePointAt(0)) % 360, 7));
    cursor.element.append(Object.assign(document.createElement("bdi"), { textContent: m.publisher.slice(0, 40) }));
    field.append(cursor.element);
    others.set(m.publisher, cursor);
    show();
  }
  if (!cursor) continue;
  cursor.heard = performance.now();
  Object.assign(cursor.element.style, { left: `${x * 100}%`, top: `${y * 100}%` });
}
