/** The page: shows the chat, and hears the person. Text is only ever text: nothing here makes HTML of it. */

import { obey } from "./commands.js";
import { fold } from "./wire.js";

/** @typedef {import("./chat.js").Buffer} Buffer */
/** @typedef {import("./chat.js").Line} Line */

const LINK = /\bhttps?:\/\/[^\s<>"]+[^\s<>".,;:!?')\]}]/g;

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);

/**
 * An element.
 * @param {string} name
 * @param {string} [className]
 * @param {...(Node | string)} children
 */
function make(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/**
 * Text, whose links can be followed.
 * @param {string} text
 */
function linked(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(LINK)) {
    const link = /** @type {HTMLAnchorElement} */ (make("a", "", match[0]));
    link.href = match[0];
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    parts.push(text.slice(from, match.index), link);
    from = match.index + match[0].length;
  }
  return [...parts, text.slice(from)];
}

/** One of twelve colours, the same for a nick wherever it stands. @param {string} nick */
function hue(nick) {
  let sum = 0;
  for (const letter of fold(nick)) sum = (sum * 31 + letter.charCodeAt(0)) >>> 0;
  return `hue-${sum % 12}`;
}

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long", year: "numeric" });

export class View {
  /** @param {import("./chat.js").Chat} chat */
  constructor(chat) {
    this.chat = chat;
    this.log = at("log");
    this.input = at("input");
    /** @type {string[]} what was typed before, the latest last */
    this.typed = [];
    this.recalled = 0;
    this.listen();
  }

  listen() {
    const { chat, log, input } = this;
    at("say").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    input.addEventListener("keydown", (event) => this.key(event));
    input.addEventListener("input", () => this.fit());
    log.addEventListener("scroll", () => {
      at("down").hidden = this.isAtEnd();
      if (log.scrollTop < 200) chat.older(chat.active);
      if (this.isRead()) chat.noteRead(chat.active);
    });
    at("down").addEventListener("click", () => this.toEnd());
    at("buffers").addEventListener("click", (event) => {
      const key = event.target.closest("button")?.dataset.key;
      if (key === undefined) return;
      chat.show(chat.buffers.get(key) ?? chat.server);
      this.drawer("");
      input.focus();
    });
    at("members").addEventListener("click", (event) => {
      const nick = event.target.closest("button")?.dataset.nick;
      if (nick) chat.show(chat.open(nick));
      if (nick) this.drawer("");
    });
    for (const name of ["list", "people"]) {
      at(`show-${name}`).addEventListener("click", () => this.drawer(document.body.dataset.drawer === name ? "" : name));
    }
    at("shade").addEventListener("click", () => this.drawer(""));
    at("leave").addEventListener("click", () => obey(chat, "/part"));
    addEventListener("keydown", (event) => this.shortcut(event));
    const seen = () => this.isRead() && chat.noteRead(chat.active);
    addEventListener("focus", seen);
    document.addEventListener("visibilitychange", seen);
  }

  /** Open a drawer of a narrow screen, or close it. @param {string} name */
  drawer(name) {
    document.body.dataset.drawer = name;
    at("show-list").setAttribute("aria-expanded", `${name === "list"}`);
    at("show-people").setAttribute("aria-expanded", `${name === "people"}`);
  }

  // What the person does

  submit() {
    const typed = this.input.value;
    if (!typed.trim()) return;
    if (this.chat.connection.state !== "open") {
      this.chat.tell(this.chat.active, "There is no connection; what you typed is still there", "error");
      return;
    }
    this.typed.push(typed);
    this.recalled = this.typed.length;
    this.input.value = "";
    this.fit();
    obey(this.chat, typed);
    this.toEnd();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { input } = this;
    const oneLine = !input.value.includes("\n");
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "Tab" && !event.shiftKey && input.value) {
      if (this.complete()) event.preventDefault();
    } else if (event.key === "ArrowUp" && !event.altKey && oneLine && input.selectionStart === 0) this.recall(-1, event);
    else if (event.key === "ArrowDown" && !event.altKey && oneLine) this.recall(1, event);
    else if (event.key === "PageUp" || event.key === "PageDown") {
      event.preventDefault();
      this.log.scrollBy(0, (event.key === "PageUp" ? -0.9 : 0.9) * this.log.clientHeight);
    }
    if (event.key !== "Tab") this.completing = null;
  }

  /** @param {number} step @param {KeyboardEvent} event */
  recall(step, event) {
    const next = this.recalled + step;
    if (next < 0 || next > this.typed.length) return;
    event.preventDefault();
    this.recalled = next;
    this.input.value = this.typed[next] ?? "";
    this.input.setSelectionRange(0, 0);
    this.fit();
  }

  /** Complete a nick; again, the next that fits. */
  complete() {
    const { input } = this;
    if (!this.completing) {
      const before = input.value.slice(0, input.selectionStart);
      const start = before.lastIndexOf(" ") + 1;
      const word = fold(before.slice(start));
      const nicks = [...this.chat.active.members.values()].map(({ nick }) => nick);
      const names = word.startsWith("#") ? this.chat.list.map(({ name }) => name) : nicks;
      const found = names.filter((name) => word && fold(name).startsWith(word)).sort();
      this.completing = { start, found, next: 0, rest: input.value.slice(before.length) };
    }
    const { start, found, next, rest } = this.completing;
    if (!found.length) return false;
    const whole = found[next] + (start === 0 && !found[next].startsWith("#") ? ": " : " ");
    input.value = input.value.slice(0, start) + whole + rest;
    input.setSelectionRange(start + whole.length, start + whole.length);
    this.completing.next = (next + 1) % found.length;
    return true;
  }

  /** @param {KeyboardEvent} event */
  shortcut(event) {
    const { chat } = this;
    if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      const list = chat.list;
      const step = event.key === "ArrowUp" ? list.length - 1 : 1;
      chat.show(list[(list.indexOf(chat.active) + step) % list.length]);
    } else if (event.key === "Escape") {
      this.drawer("");
      this.toEnd();
      this.input.focus();
    }
  }

  /** As high as what is typed. */
  fit() {
    const { style } = this.input;
    style.height = "auto";
    const wanted = this.input.scrollHeight + 2;
    style.height = `${Math.min(160, wanted)}px`;
    style.overflowY = wanted > 160 ? "auto" : "hidden";
  }

  // What has changed

  isAtEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
  }

  /** Whether the person sees the end of what is shown. */
  isRead() {
    return document.hasFocus() && !document.hidden && this.isAtEnd();
  }

  listChanged() {
    const { chat } = this;
    const buttons = chat.list.map((buffer) => {
      const button = make("button", buffer.kind, make("span", "name", buffer.name));
      button.dataset.key = [...chat.buffers].find(([, one]) => one === buffer)?.[0] ?? "";
      if (buffer === chat.active) button.setAttribute("aria-current", "true");
      if (buffer.kind === "channel" && !buffer.joined) button.classList.add("left");
      if (buffer.unread) {
        const count = make("span", buffer.mentions ? "count mention" : "count", `${Math.min(buffer.unread, 999)}`);
        count.setAttribute("aria-label", `${buffer.unread} unread`);
        button.append(count);
      }
      return make("li", "", button);
    });
    at("buffers").replaceChildren(...buttons);
    at("self").textContent = chat.connection.nick;
    const waiting = chat.list.reduce((sum, { mentions }) => sum + mentions, 0);
    const others = chat.list.some((buffer) => buffer !== chat.active && buffer.unread);
    document.body.classList.toggle("unread", others);
    document.title = `${waiting ? `(${waiting}) ` : ""}${chat.active.name} – chat`;
  }

  /** @param {Buffer} buffer */
  membersChanged(buffer) {
    if (buffer !== this.chat.active) return;
    at("title").textContent = buffer.name;
    at("topic").replaceChildren(...linked(buffer.topic));
    at("leave").hidden = buffer.kind === "server";
    document.body.classList.toggle("alone", buffer.kind !== "channel");
    // Of a crowd that comes at once, the last change is the one to show.
    this.members ??= requestAnimationFrame(() => {
      this.members = null;
      this.showMembers(this.chat.active);
    });
  }

  /** @param {Buffer} buffer */
  showMembers(buffer) {
    const signs = Object.values(this.chat.prefixes).join("");
    const rank = ({ prefix }) => (prefix ? signs.indexOf(prefix[0]) : signs.length);
    const members = [...buffer.members.values()].sort(
      (a, b) => rank(a) - rank(b) || fold(a.nick).localeCompare(fold(b.nick)),
    );
    const rows = members.map(({ nick, prefix, away }) => {
      const button = make("button", away ? "away" : "", make("span", "sign", prefix.slice(0, 1)), make("span", hue(nick), nick));
      button.dataset.nick = nick;
      button.title = away ? `${nick} is away` : `Talk to ${nick} alone`;
      return make("li", "", button);
    });
    at("members").replaceChildren(...rows);
    at("count").textContent = at("show-people").textContent = `${members.length} here`;
  }

  /** @param {Buffer} buffer @param {Line} line */
  lineAdded(buffer, line) {
    if (buffer !== this.chat.active) return;
    const end = this.isAtEnd() || line.mine;
    this.log.append(...this.dayBefore(line), this.row(line));
    while (this.log.childElementCount > 3200) this.log.firstElementChild.remove();
    if (end) this.toEnd();
  }

  /** @param {Buffer} buffer */
  linesChanged(buffer) {
    if (buffer !== this.chat.active) return;
    const { log } = this;
    const same = this.shown === buffer;
    const end = !same || this.isAtEnd();
    const fromEnd = log.scrollHeight - log.scrollTop;
    this.day = "";
    // Nobody wants all of it read out again.
    log.setAttribute("aria-live", "off");
    log.replaceChildren(...buffer.lines.flatMap((line) => [...this.dayBefore(line), this.row(line)]));
    requestAnimationFrame(() => log.setAttribute("aria-live", "polite"));
    this.shown = buffer;
    if (end) this.toEnd();
    else log.scrollTop = log.scrollHeight - fromEnd;
    at("down").hidden = this.isAtEnd();
    // A page that is not full has nothing to scroll.
    if (log.scrollHeight <= log.clientHeight) this.chat.older(buffer);
  }

  /** The day, where another begins. @param {Line} line */
  dayBefore({ time }) {
    const name = day.format(time);
    if (name === this.day) return [];
    this.day = name;
    return [make("div", "day", make("span", "", name))];
  }

  /** @param {Line} line */
  row({ time, kind, nick, text, mention, mine, state }) {
    const moment = /** @type {HTMLTimeElement} */ (make("time", "", clock.format(time)));
    moment.dateTime = time.toISOString();
    moment.title = time.toLocaleString();
    const row = make("div", `line ${kind} ${state}`.trim(), moment);
    if (mention) row.classList.add("mention");
    if (mine) row.classList.add("mine");
    if (nick) row.append(make("span", `nick ${hue(nick)}`, kind === "action" ? `• ${nick}` : nick));
    row.append(make("span", "text", ...linked(text)));
    if (state === "lost") row.append(make("span", "note", "not sent"));
    return row;
  }
}
