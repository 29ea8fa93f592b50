// The chat page. Text of messages becomes text nodes and a fixed set of elements, never markup.

const $ = (id) => document.getElementById(id);
const chat = $("chat");
const scroller = $("scroll");
const log = $("log");
const statusLine = $("status");
const form = $("composer");
const box = $("write");
const send = form.querySelector(".send");
const hint = $("hint");
const pill = $("pill");
const { me, topic, assistant } = chat.dataset;

const TOGETHER = 5 * 60 * 1000; // messages of one author within this stand together
const SEND_TIMEOUT = 20_000;
const RETRIES = [1_000, 3_000, 8_000];
const CONTENT_MAX = 60_000; // bytes; the server's limit
const HINT = hint.classList.contains("warn") ? "" : hint.textContent;
const TITLE = document.title;
const touch = matchMedia("(hover: none) and (pointer: coarse)").matches;

let cursor = Number(chat.dataset.cursor);
let ended = false;

// --- making elements -------------------------------------------------------------------------

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const PLAIN = new Set(
  "p h3 h4 h5 blockquote ul li tr th td em strong del code br hr".split(" "),
);

/** The elements of a parsed message. The server's `page.rs` makes the same. */
function rich(nodes) {
  return (nodes ?? []).map((node) => {
    if (typeof node === "string") return document.createTextNode(node);
    const inside = rich(node.c);
    if (PLAIN.has(node.t)) return make(node.t, {}, ...inside);
    if (node.t === "ol") return make("ol", node.start ? { start: node.start } : {}, ...inside);
    if (node.t === "table") return make("div", { class: "table" }, make("table", {}, ...inside));
    if (node.t === "pre") {
      const caption = make("figcaption", {}, make("span", {}, node.lang ?? "text"));
      const code = make("pre", { tabindex: "0" }, make("code", {}, ...inside));
      return make("figure", { class: "code" }, caption, code);
    }
    if (node.t === "a" && /^(https?|mailto):/i.test(node.href ?? "")) {
      const rel = "noopener noreferrer nofollow";
      return make("a", { href: node.href, target: "_blank", rel }, ...inside);
    }
    return make("span", {}, ...inside);
  });
}

// --- times, as the reader writes them --------------------------------------------------------

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const dated = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const inYear = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const anyYear = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });

const dayOf = (at) => new Date(at).toDateString();

function dayName(at) {
  const now = new Date();
  const day = new Date(at);
  if (dayOf(at) === dayOf(now)) return "Today";
  if (dayOf(at) === dayOf(now.getTime() - 86_400_000)) return "Yesterday";
  return (day.getFullYear() === now.getFullYear() ? inYear : anyYear).format(day);
}

function timeOf(at) {
  const date = new Date(at);
  return make("time", { datetime: date.toISOString(), title: dated.format(date) }, clock.format(date));
}

/** Whether `item` begins a day, and whether it stands together with the message before it. */
function place(item) {
  const at = item.dataset.at;
  let before = item.previousElementSibling;
  if (before?.matches(".day")) before = before.previousElementSibling;
  const sameDay = before?.dataset.at && dayOf(before.dataset.at) === dayOf(at);
  const shown = item.previousElementSibling?.matches(".day") ? item.previousElementSibling : null;
  shown?.remove();
  if (!sameDay) {
    const time = make("time", { datetime: dayOf(at) }, dayName(at));
    item.before(make("li", { class: "day", "data-day": "" }, time));
  }
  const together =
    sameDay &&
    before.dataset.author === item.dataset.author &&
    before.dataset.author !== undefined &&
    Date.parse(at) - Date.parse(before.dataset.at) < TOGETHER;
  item.classList.toggle("follows", Boolean(together));
}

// --- the log ---------------------------------------------------------------------------------

const shown = new Map(); // message id -> its item
let unread = 0;
let unseen = 0;

function atBottom() {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
}

function toBottom() {
  scroller.scrollTop = scroller.scrollHeight;
  toldAll();
}

function toldAll() {
  unread = 0;
  pill.hidden = true;
}

/** Does `change`, and keeps showing the end if the reader was there. */
function keepingPlace(change, isNews) {
  const follow = atBottom();
  change();
  $("empty").hidden = log.childElementCount > 0;
  if (follow) toBottom();
  else if (isNews) {
    unread += 1;
    pill.textContent = unread === 1 ? "1 new message" : `${unread} new messages`;
    pill.hidden = false;
  }
}

function item(kind, author, name, at, body) {
  const hidden = name === "You" ? "name unseen" : "name";
  const byline = make("div", { class: "byline" }, make("span", { class: hidden }, name), timeOf(at));
  const attributes = { class: `message ${kind}`, "data-at": at, "data-author": author };
  return make("li", attributes, byline, body);
}

/** A link that saves a file. The server's `page.rs` makes the same. */
function fileOf({ name, size, href }) {
  const link = make("a", { href, download: name }, name);
  if (!/^files\/[\w.~-]+$/.test(href)) link.removeAttribute("href");
  const shown = size === undefined ? [] : [" ", make("span", {}, sizeOf(size))];
  return make("li", {}, link, ...shown);
}

function sizeOf(size) {
  const tenths = (unit) => (Math.floor((size * 10) / unit) / 10).toFixed(1);
  if (size < 1_000) return `${size} bytes`;
  return size < 1_000_000 ? `${tenths(1_000)} kB` : `${tenths(1_000_000)} MB`;
}

function addCopyButtons(root) {
  for (const figure of root.querySelectorAll(".code")) {
    const caption = figure.querySelector("figcaption");
    if (caption.querySelector("button")) continue;
    const button = make("button", { class: "copy", type: "button", "aria-label": "Copy code" }, "Copy");
    button.addEventListener("click", async () => {
      const copied = await copy(figure.querySelector("pre").textContent);
      button.textContent = copied ? "Copied" : "Select it and copy";
      setTimeout(() => (button.textContent = "Copy"), 2_000);
    });
    caption.append(button);
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Plain HTTP has no clipboard interface: the old way, through a selection.
    const field = make("textarea", { class: "unseen", readonly: "" });
    field.value = text;
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    return copied;
  }
}

function heard(said) {
  const known = shown.get(said.id) ?? pendingOf(said);
  if (known) {
    shown.set(said.id, known);
    settle(known);
    // The server's clock counts, as for everybody else.
    known.dataset.at = said.at;
    known.querySelector("time").replaceWith(timeOf(said.at));
    place(known);
    return;
  }
  const mine = !said.from_agent && said.sender === me;
  const kind = said.from_agent ? "agent" : mine ? "mine" : "other";
  const name = said.from_agent ? assistant : mine ? "You" : (said.sender_name ?? said.sender);
  const body = said.from_agent
    ? make("div", { class: "rich", dir: "auto" }, ...rich(said.body))
    : make("div", { class: "plain", dir: "auto" }, said.content);
  const entry = item(kind, said.from_agent ? "agent" : said.sender, name, said.at, body);
  if (said.from_agent && !said.content) body.remove();
  if (said.files?.length) entry.append(make("ul", { class: "files" }, ...said.files.map(fileOf)));
  entry.dataset.id = said.id;
  shown.set(said.id, entry);
  keepingPlace(() => {
    log.append(entry);
    place(entry);
    addCopyButtons(entry);
  }, !mine);
  if (document.hidden && !mine) {
    unseen += 1;
    document.title = `(${unseen}) ${TITLE}`;
  }
}

/** The agent replaced a text. */
function edited(change) {
  const body = shown.get(change.id)?.querySelector(".rich");
  if (!body) return;
  keepingPlace(() => {
    body.replaceChildren(...rich(change.body));
    addCopyButtons(body);
  });
}

/** The agent took a message back. */
function deleted(change) {
  const entry = shown.get(change.id);
  if (!entry) return;
  shown.delete(change.id);
  const [before, after] = [entry.previousElementSibling, entry.nextElementSibling];
  keepingPlace(() => {
    entry.remove();
    if (before?.matches(".day") && (!after || after.matches(".day"))) before.remove();
    if (after?.matches(".message")) place(after);
  });
}

function reacted(change) {
  const entry = shown.get(change.id);
  if (!entry) return;
  keepingPlace(() => {
    entry.querySelector(".reaction")?.remove();
    entry.append(make("div", { class: "reaction" }, change.emoji));
  });
}

function doing(text) {
  keepingPlace(() => {
    $("doing").textContent = text || "Thinking…";
    statusLine.hidden = text === null;
  });
}

function done(event) {
  doing(null);
  if (event.note) {
    const note = make("li", { class: "note", "data-at": event.at }, event.note);
    keepingPlace(() => log.append(note));
  }
}

// --- sending ---------------------------------------------------------------------------------

// What the server has not confirmed: kept over a reload, under an id that makes a repeat harmless.
const KEEP = `arizuko${location.pathname}${topic}`;
const waiting = []; // { id, content, at, entry, tries, held, cutOff }
let sending = false;

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function remember() {
  try {
    const kept = waiting.map(({ id, content, at }) => ({ id, content, at }));
    sessionStorage.setItem(KEEP, JSON.stringify({ draft: box.value, kept }));
  } catch {
    // Storage is full or forbidden: then a reload forgets, and nothing else is lost.
  }
}

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(KEEP)) ?? {};
  } catch {
    return {};
  }
}

/** The message of ours that the server tells us about before it has answered us. */
function pendingOf(said) {
  if (said.from_agent || said.sender !== me) return undefined;
  return waiting.find(({ id }) => said.id.endsWith(`.${id}`))?.entry;
}

function settle(entry) {
  const at = waiting.findIndex((one) => one.entry === entry);
  if (at >= 0) waiting.splice(at, 1);
  entry.classList.remove("sending", "failed");
  entry.querySelector(".fate")?.remove();
  remember();
}

function fate(entry, kind, text, ...actions) {
  entry.classList.remove("sending", "failed");
  entry.classList.add(kind);
  entry.querySelector(".fate")?.remove();
  const role = kind === "failed" ? { role: "alert" } : {};
  keepingPlace(() => entry.append(make("div", { class: "fate", ...role }, make("span", {}, text), ...actions)));
}

function enqueue(id, content, at) {
  const entry = item("mine", me, "You", at, make("div", { class: "plain", dir: "auto" }, content));
  const one = { id, content, at, entry, tries: 0, held: false, cutOff: false };
  waiting.push(one);
  log.append(entry);
  place(entry);
  $("empty").hidden = true;
  fate(entry, "sending", "Sending…");
  toBottom();
  remember();
  pump();
}

/** Sends what waits, one after the other, so that the order stays. */
async function pump() {
  if (sending || ended) return;
  const one = waiting.find(({ held }) => !held);
  if (!one) return;
  sending = true;
  const wait = await attempt(one);
  if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  sending = false;
  pump();
}

/** Tries to send `one`. Returns how long to wait before the next step. */
async function attempt(one) {
  let answer;
  try {
    answer = await fetch("./", {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({ id: one.id, content: one.content, topic: topic || undefined }),
      signal: AbortSignal.timeout(SEND_TIMEOUT),
    });
  } catch {
    answer = null; // No connection, or no answer in time: the message may or may not have arrived.
  }
  if (!waiting.includes(one)) return 0; // The stream has told us meanwhile that it arrived.
  if (answer?.ok) {
    const { id } = await answer.json().catch(() => ({}));
    const twin = id && shown.get(id);
    settle(one.entry);
    if (twin && twin !== one.entry) one.entry.remove();
    else if (id) shown.set(id, one.entry);
    return 0;
  }
  if (answer && answer.status < 500 && answer.status !== 429) {
    await refused(one, answer);
    return 0;
  }
  const asked = Number(answer?.headers.get("retry-after")) * 1_000 || 0;
  if (one.tries < RETRIES.length) {
    const wait = Math.max(RETRIES[one.tries], Math.min(asked, 30_000));
    one.tries += 1;
    fate(one.entry, "sending", answer ? "Busy; trying again…" : "No connection; trying again…");
    return wait;
  }
  // What the connection kept back goes out when it is there again.
  one.cutOff = !answer;
  hold(one, answer ? "Not sent: the server is busy" : "Not sent: no connection");
  return 0;
}

async function refused(one, answer) {
  if (answer.status === 404) return linkEnded();
  const problem = await answer.json().catch(() => ({}));
  hold(one, `Not sent: ${problem.detail || problem.title || `error ${answer.status}`}`, true);
}

function again(one) {
  Object.assign(one, { held: false, cutOff: false, tries: 0 });
  fate(one.entry, "sending", "Sending…");
}

function hold(one, why, withEdit) {
  one.held = true;
  const retry = make("button", { type: "button" }, "Try again");
  retry.addEventListener("click", () => {
    again(one);
    box.focus();
    pump();
  });
  const edit = make("button", { type: "button" }, withEdit ? "Edit" : "Take back");
  edit.addEventListener("click", () => {
    box.value = box.value ? `${one.content}\n${box.value}` : one.content;
    const before = one.entry.previousElementSibling;
    settle(one.entry);
    one.entry.remove();
    if (before?.matches(".day") && !before.nextElementSibling) before.remove();
    $("empty").hidden = log.childElementCount > 0;
    typed();
    box.focus();
  });
  fate(one.entry, "failed", why, retry, edit);
}

// --- the composer ----------------------------------------------------------------------------

const canGrow = CSS.supports("field-sizing", "content");

function typed() {
  const size = new TextEncoder().encode(box.value).length;
  const tooLong = size > CONTENT_MAX;
  send.disabled = ended || tooLong || box.value.trim() === "";
  hint.classList.toggle("warn", tooLong);
  const over = (size - CONTENT_MAX).toLocaleString();
  hint.textContent = tooLong ? `Too long by ${over} characters` : touch ? "" : HINT;
  if (!canGrow) {
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight}px`;
  }
  remember();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (send.disabled) return;
  const content = box.value.trim();
  box.value = "";
  enqueue(newId(), content, new Date().toISOString());
  typed();
  box.focus();
});

box.addEventListener("input", typed);
box.addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word. On a phone, Enter begins a new line.
  const plain = event.key === "Enter" && !event.shiftKey && !event.isComposing && !touch;
  if (plain) {
    event.preventDefault();
    form.requestSubmit();
  }
});

// Typing anywhere writes into the box.
document.addEventListener("keydown", (event) => {
  const elsewhere = event.target === document.body || scroller === event.target;
  const isText = event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (elsewhere && isText && event.key !== " ") box.focus();
});

// --- the stream ------------------------------------------------------------------------------

const line = $("line");
let source = null;
let attempts = 0;
let retryTimer = 0;
let awayTimer = 0;

function connected(isConnected) {
  clearTimeout(awayTimer);
  if (isConnected) {
    attempts = 0;
    line.dataset.state = "here";
    line.textContent = "Connected";
    for (const one of waiting) if (one.cutOff) again(one);
    pump();
  } else {
    // A short interruption is nobody's concern.
    awayTimer = setTimeout(() => {
      line.dataset.state = "away";
      line.textContent = navigator.onLine ? "Reconnecting…" : "You are offline";
    }, 1_200);
  }
}

function listen() {
  clearTimeout(retryTimer);
  source?.close();
  if (ended) return;
  const query = new URLSearchParams({ after: cursor });
  if (topic) query.set("topic", topic);
  source = new EventSource(`./events?${query}`);
  source.onopen = () => connected(true);
  source.onerror = () => {
    connected(false);
    if (source.readyState === EventSource.CLOSED) lookAgain();
  };
  on("message", heard);
  on("edited", edited);
  on("deleted", deleted);
  on("reacted", reacted);
  on("status", (event) => doing(event.text));
  on("done", done);
}

function on(name, handle) {
  source.addEventListener(name, (event) => {
    cursor = Math.max(cursor, Number(event.lastEventId) || 0);
    handle(JSON.parse(event.data));
  });
}

/** The server refused the stream: has the link ended, or is it only away? */
async function lookAgain() {
  const wait = Math.min(1_000 * 2 ** attempts, 30_000) * (0.75 + Math.random() / 2);
  attempts += 1;
  try {
    const answer = await fetch("./", { method: "HEAD", signal: AbortSignal.timeout(10_000) });
    if (answer.status === 404) return linkEnded();
  } catch {
    // Not reachable: the timer tries again.
  }
  clearTimeout(retryTimer);
  retryTimer = setTimeout(listen, wait);
}

function linkEnded() {
  ended = true;
  clearTimeout(awayTimer);
  clearTimeout(retryTimer);
  source?.close();
  line.dataset.state = "away";
  line.textContent = "This link has ended";
  hint.classList.add("warn");
  hint.textContent = "This link has ended. Ask whoever gave it to you for a new one.";
  box.disabled = true;
  send.disabled = true;
  doing(null);
  for (const one of waiting) fate(one.entry, "failed", "Not sent: the link has ended");
}

addEventListener("online", listen);
addEventListener("offline", () => connected(false));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unseen = 0;
  document.title = TITLE;
  if (source?.readyState !== EventSource.OPEN) listen();
});
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => event.persisted && listen());

// --- keeping the end in sight ----------------------------------------------------------------

pill.addEventListener("click", () => {
  toBottom();
  box.focus();
});

// The box grows, a keyboard appears, the window turns: who was at the end stays there. A change of
// size is told after it has happened, so where the reader was is noted at each scroll.
let wasAtBottom = true;
scroller.addEventListener("scroll", noteScroll, { passive: true });
new ResizeObserver(() => wasAtBottom && toBottom()).observe(scroller);

function noteScroll() {
  wasAtBottom = atBottom();
  if (wasAtBottom) toldAll();
}

// Some keyboards cover the page instead of shrinking it.
const view = window.visualViewport;
view?.addEventListener("resize", () => {
  const covered = view.scale === 1 && innerHeight - view.height > 60;
  document.documentElement.style.setProperty("--seen-height", covered ? `${view.height}px` : "");
});

// --- begin -----------------------------------------------------------------------------------

for (const day of log.querySelectorAll(".day")) day.remove();
for (const entry of [...log.querySelectorAll(".message")]) {
  shown.set(entry.dataset.id, entry);
  entry.querySelector("time").replaceWith(timeOf(entry.dataset.at));
  place(entry);
}
addCopyButtons(log);
const { draft, kept } = recall();
if (draft && !box.value) box.value = draft;
for (const { id, content, at } of kept ?? []) {
  const arrived = [...shown.keys()].some((known) => known.endsWith(`.${id}`));
  if (!arrived) enqueue(id, content, at);
}
typed();
toBottom();
if (!touch) box.focus();
listen();
