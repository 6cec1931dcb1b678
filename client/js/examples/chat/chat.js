// A chat with history. What others wrote is shown by textContent: never as HTML, never run.
const { log, state, form, name, text } = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));
const most = 500; // messages shown

// What `meridian dev` gives a guest; asked again whenever a token or the certificate may be another.
let subject = "";
async function session() {
  const answer = await fetch(`/session.json?subject=${subject}`);
  if (!answer.ok) throw new Error(`session.json: status ${answer.status}`);
  const given = await answer.json();
  subject = given.subject;
  return given;
}
const { url, webSocketURL } = await session();
name.value = subject;
const relay = meridian.connect(url, {
  webSocketURL,
  certHashes: async () => (await session()).certHashes,
  getToken: async () => (await session()).token,
});
relay.on("state", ({ to, reason, edge, carrier }) => {
  state.dataset.state = to;
  state.textContent = to === "connected" ? `connected to ${edge} by ${carrier}` : reason ? `${to}: ${reason.message}` : to;
});

const waiting = new Map(); // rows of own messages that have not come back, by their reference
const room = relay.channel("demo:chat");
const sub = room.subscribe({ from: "last:50" });
sub.on("gap", ({ after, reset }) => {
  if (reset) {
    // The channel's home began anew: what it had beyond `after` no longer exists.
    for (const row of log.querySelectorAll("article[data-seq]")) {
      const { epoch, seq } = row.dataset;
      if (+epoch > after.epoch || (+epoch === after.epoch && +seq > after.seq)) row.remove();
    }
    for (const [ref, row] of waiting) if (!row.isConnected) waiting.delete(ref);
  }
  add("p", reset ? "The relay began anew, without what stands above." : "Some messages are no longer kept.").className = "notice";
});

/** Adds an element with a text to a parent. */
function add(kind, content, parent = log) {
  const element = document.createElement(kind);
  element.textContent = content;
  parent.append(element);
  return element;
}

/** Adds a row for what was said; without a time it is still on its way. */
function show({ name, text }, time) {
  const row = add("article", "");
  add("b", plain(name).slice(0, 40), row);
  add("time", time ? time.toLocaleTimeString() : "sending", row);
  add("p", plain(text).slice(0, 2000), row);
  return row;
}
const plain = (value) => (typeof value === "string" ? value : (JSON.stringify(value) ?? ""));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = { name: name.value, text: text.value };
  const ref = crypto.randomUUID();
  const row = show(said);
  row.className = "own waiting";
  waiting.set(ref, row);
  text.value = "";
  log.scrollTop = log.scrollHeight;
  try {
    const { position } = await room.publish({ json: said, headers: { ref } });
    Object.assign(row.dataset, position);
    row.classList.remove("waiting"); // acknowledged: it stands
    row.querySelector("time").textContent = "sent";
  } catch (error) {
    waiting.delete(ref);
    add("p", error.message, row).className = "notice";
  }
});

try {
  for await (const m of sub) {
    let said;
    try {
      said = Object(m.json());
    } catch {
      said = { name: m.publisher, text: m.text() }; // not from this page
    }
    const near = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    const own = m.publisher === subject;
    if (own) waiting.get(m.headers.ref)?.remove(); // it has its place now
    if (own) waiting.delete(m.headers.ref);
    const row = show(said, m.time);
    row.title = `${m.publisher} at ${m.position.epoch}:${m.position.seq}`;
    Object.assign(row.dataset, m.position);
    row.classList.toggle("own", own);
    for (const own of waiting.values()) log.append(own); // what waits stands last
    while (log.childElementCount > most) log.firstElementChild.remove();
    if (near) log.scrollTop = log.scrollHeight;
  }
} catch (error) {
  add("p", error.message).className = "notice"; // the relay refuses it for good
}
