/** Begins: the form, what the browser remembers, and the connection's state in words. */

import { Chat } from "./chat.js";
import { Connection, isPrivate } from "./connection.js";
import { View } from "./view.js";

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);

const form = at("enter");
const connection = new Connection({
  changed,
  heard: (message) => chat.heard(message),
  heardBatch: (type, params, messages) => chat.heardBatch(type, params, messages),
});
const chat = new Chat(connection);
chat.view = new View(chat);

/** What the browser remembers for the next time; a password is never among it. */
const memory = {
  read: () => {
    try {
      return JSON.parse(localStorage.getItem("chat") ?? "{}");
    } catch {
      return {};
    }
  },
  write: (changes) => {
    try {
      localStorage.setItem("chat", JSON.stringify({ ...memory.read(), ...changes }));
    } catch {
      // A browser that may keep nothing is asked again each time.
    }
  },
};

/** Channels to be in once connected. @type {string[]} */
let wanted = [];
/** @type {ReturnType<typeof setInterval> | undefined} */
let counting;

/**
 * @param {string} state
 * @param {string} detail
 */
function changed(state, detail) {
  chat.changed(state);
  clearInterval(counting);
  document.body.dataset.state = state;
  const refused = state === "refused";
  form.hidden = !(refused || state === "idle");
  at("chat").hidden = !form.hidden;
  at("problem").textContent = refused ? detail : "";
  if (refused && /e-?mail/i.test(detail)) at("email-row").hidden = false;
  const said = { connecting: "Connecting …", registering: "Saying hello …" };
  at("status").textContent = said[state] ?? "";
  at("retry").hidden = state !== "waiting";
  if (state === "waiting") countDown(Number(detail));
  if (state === "open") opened();
  if (!form.hidden) at("nick").focus();
}

/** The channel that a link led to: ``/#team`` to #team. */
function fromLink() {
  try {
    const name = decodeURIComponent(location.hash.slice(1));
    return name && !/^[#&]/.test(name) ? `#${name}` : name;
  } catch {
    return "";
  }
}

/** @param {number} seconds */
function countDown(seconds) {
  const end = Date.now() + seconds * 1000;
  const show = () => {
    const left = Math.max(1, Math.ceil((end - Date.now()) / 1000));
    at("status").textContent = `The connection is lost. Trying again in ${left} s.`;
  };
  show();
  counting = setInterval(show, 1000);
}

function opened() {
  const open = chat.list.filter(({ kind, joined }) => kind === "channel" && joined).map(({ name }) => name);
  const again = chat.active;
  for (const name of new Set([...open, ...wanted])) connection.send("JOIN", name);
  for (const buffer of chat.list) if (buffer.kind === "query") chat.catchUp(buffer);
  if (connection.capabilities.has("draft/chathistory")) {
    const since = memory.read().seen ?? new Date(Date.now() - 7 * 86_400_000).toISOString();
    const now = new Date(Date.now() + 60_000).toISOString();
    connection.send("CHATHISTORY", "TARGETS", `timestamp=${since}`, `timestamp=${now}`, "50");
  }
  wanted = [];
  if (again !== chat.server) chat.show(again);
  at("input").focus();
}

function remember() {
  if (connection.state !== "open") return;
  const channels = chat.list.filter(({ kind, joined }) => kind === "channel" && joined).map(({ name }) => name);
  memory.write({ nick: connection.account, channels, seen: new Date().toISOString() });
  try {
    // A guest who reloads the page goes on; who has a password is asked for it.
    sessionStorage.setItem("guest", connection.person.password ? "" : "yes");
  } catch {
    // As above.
  }
}
setInterval(remember, 5000);
addEventListener("pagehide", remember);

/** @param {boolean} create */
function enter(create) {
  const nick = at("nick").value.trim();
  const password = at("password").value;
  if (create && !password) {
    at("problem").textContent = "An account needs a password.";
    at("password").focus();
    return;
  }
  const channels = at("channels").value.split(/[\s,]+/).filter(Boolean);
  wanted = channels.map((name) => (/^[#&]/.test(name) ? name : `#${name}`));
  chat.forget();
  chat.show(chat.server);
  connection.start({ nick, password, email: at("email").value.trim(), create });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  enter(event.submitter?.id === "create");
});
at("retry").addEventListener("click", () => connection.retry());
at("disconnect").addEventListener("click", () => {
  remember();
  connection.stop();
});

const known = memory.read();
at("nick").value = known.nick ?? "";
at("channels").value = fromLink() || (known.channels ?? []).join(" ");
at("password").disabled = at("create").disabled = !isPrivate;
at("insecure").hidden = isPrivate;
document.body.dataset.state = "idle";
let guest = "";
try {
  guest = sessionStorage.getItem("guest") ?? "";
} catch {
  // As above.
}
if (guest && known.nick) enter(false);
else at("nick").focus();
