/**
 * What there is to see: channels, conversations, who is there, what was said. Changed by what the server
 * says; shown by view.js, which is told what has changed.
 */

import { HANDLERS, timeOf } from "./handlers.js";
import { fold, plain } from "./wire.js";

/** @typedef {import("./wire.js").Message} Message */

/**
 * @typedef {object} Line
 * @property {string} id The server's name for it, or our label while it is on its way, or nothing.
 * @property {Date} time
 * @property {"message" | "action" | "notice" | "info" | "error"} kind
 * @property {string} nick
 * @property {string} text
 * @property {boolean} mine
 * @property {boolean} mention
 * @property {"" | "sending" | "lost" | "redacted"} state
 */

/** Lines kept of each buffer, and asked for at once. */
const KEPT = 3000;
const PAGE = 50;

/** Numerics that are told where they are about, and not to everyone: answers to WHOIS, for one. */
const QUIET = new Set([
  "002", "003", "004", "221", "251", "252", "253", "254", "255", "265", "266", "315", "318", "329", "333",
  "366", "396", "900", "903",
]);

export class Buffer {
  /**
   * @param {string} name
   * @param {"server" | "channel" | "query"} kind
   */
  constructor(name, kind) {
    this.name = name;
    this.kind = kind;
    /** @type {Line[]} */
    this.lines = [];
    /** @type {Map<string, {nick: string, prefix: string, away: boolean}>} */
    this.members = new Map();
    this.topic = "";
    this.joined = false;
    this.unread = 0;
    this.mentions = 0;
    /** Until when it has been read. */
    this.read = new Date(0);
    /** Whether there is no older line, or one has been asked for. */
    this.complete = kind === "server";
    this.loading = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.marking = undefined;
  }

  get key() {
    return fold(this.name);
  }
}

/**
 * @typedef {object} View
 * @property {() => void} listChanged
 * @property {(buffer: Buffer) => void} membersChanged
 * @property {(buffer: Buffer) => void} linesChanged
 * @property {(buffer: Buffer, line: Line) => void} lineAdded
 * @property {() => boolean} isRead
 */

export class Chat {
  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    this.connection = connection;
    /** @type {View} */
    this.view = /** @type {any} */ (null);
    this.forget();
  }

  /** Begin with nothing. */
  forget() {
    this.server = new Buffer("Server", "server");
    /** @type {Map<string, Buffer>} */
    this.buffers = new Map([["", this.server]]);
    this.active = this.server;
    this.prefixes = { o: "@", v: "+" };
    this.modesWithWord = new Set("beIkfl");
    this.channelTypes = "#";
    this.account = "";
    /** The channel that a person has asked to come into. */
    this.wanted = "";
    /** Channels whose WHO we asked for ourselves, to know who is away. */
    this.asked = new Set();
  }

  /** @param {string} name */
  isChannel(name) {
    return name !== "" && this.channelTypes.includes(name[0]);
  }

  /** @param {string} nick */
  isMe(nick) {
    return fold(nick) === fold(this.connection.nick);
  }

  /**
   * The buffer of a name, made if need be.
   * @param {string} name
   */
  open(name) {
    let buffer = this.buffers.get(fold(name));
    if (!buffer) {
      buffer = new Buffer(name, this.isChannel(name) ? "channel" : "query");
      this.buffers.set(buffer.key, buffer);
      if (buffer.kind === "query") this.catchUp(buffer);
      this.view.listChanged();
    }
    return buffer;
  }

  /** @param {Buffer} buffer */
  close(buffer) {
    if (buffer === this.server) return;
    this.buffers.delete(buffer.key);
    if (this.active === buffer) this.show(this.server);
    this.view.listChanged();
  }

  /** @param {Buffer} buffer */
  show(buffer) {
    this.active = buffer;
    this.noteRead(buffer);
    this.view.linesChanged(buffer);
    this.view.membersChanged(buffer);
    this.view.listChanged();
  }

  /** All buffers, as they are listed: the server, channels, conversations. */
  get list() {
    const rank = { server: 0, channel: 1, query: 2 };
    return [...this.buffers.values()].sort(
      (a, b) => rank[a.kind] - rank[b.kind] || a.key.localeCompare(b.key),
    );
  }

  // Lines

  /**
   * @param {Buffer} buffer
   * @param {Partial<Line>} line
   */
  add(buffer, line) {
    const whole = {
      id: "", time: new Date(), kind: "info", nick: "", text: "", mine: false, mention: false, state: "", ...line,
    };
    if (whole.id && buffer.lines.some((one) => one.id === whole.id)) return;
    buffer.lines.push(whole);
    if (buffer.lines.length > KEPT) {
      buffer.lines.splice(0, buffer.lines.length - KEPT);
      buffer.complete = buffer.kind === "server";
    }
    if (this.isSpoken(whole) && !whole.mine) {
      if (buffer === this.active && this.view.isRead()) this.noteRead(buffer);
      else {
        buffer.unread += 1;
        if (whole.mention || buffer.kind === "query") buffer.mentions += 1;
      }
      this.view.listChanged();
    }
    this.view.lineAdded(buffer, whole);
  }

  /**
   * Something that no one has said.
   * @param {Buffer} buffer
   * @param {string} text
   * @param {"info" | "error"} [kind]
   */
  tell(buffer, text, kind = "info") {
    this.add(buffer, { kind, text: plain(text) });
  }

  /** @param {Line} line */
  isSpoken({ kind }) {
    return kind === "message" || kind === "action" || kind === "notice";
  }

  /**
   * The line that a message is.
   * @param {Message} message
   * @returns {Partial<Line>}
   */
  spoken({ tags, nick, command, params }) {
    let text = params[1] ?? "";
    let kind = command === "NOTICE" ? "notice" : "message";
    const action = /^\x01ACTION ?(.*?)\x01?$/s.exec(text);
    if (action) [kind, text] = ["action", action[1]];
    text = plain(text);
    const mine = this.isMe(nick);
    const own = this.connection.nick.replace(/[^\w]/g, "\\$&");
    const mention = !mine && new RegExp(`(^|[^\\w-])${own}($|[^\\w-])`, "i").test(text);
    return { id: tags.get("msgid") ?? "", time: timeOf(tags), kind: /** @type {any} */ (kind), nick, text, mine, mention };
  }

  /**
   * Say something; it stands there, grey, until the server has sent it back.
   * @param {Buffer} buffer
   * @param {string} text
   * @param {boolean} [action]
   */
  say(buffer, text, action = false) {
    const sent = action ? `\x01ACTION ${text}\x01` : text;
    const label = this.connection.ask("PRIVMSG", buffer.name, sent);
    const echoed = this.connection.capabilities.has("echo-message");
    if (label || !echoed) {
      const line = { id: label, kind: action ? "action" : "message", nick: this.connection.nick, text, mine: true };
      this.add(buffer, { .../** @type {any} */ (line), state: echoed ? "sending" : "" });
    }
  }

  /**
   * What we sent under a label, taken out or marked.
   * @param {string | undefined} label
   * @param {boolean} arrived
   */
  settle(label, arrived) {
    if (!label) return;
    for (const buffer of this.buffers.values()) {
      const at = buffer.lines.findIndex((line) => line.id === label && line.state === "sending");
      if (at < 0) continue;
      if (arrived) buffer.lines.splice(at, 1);
      else buffer.lines[at].state = "lost";
      this.view.linesChanged(buffer);
    }
  }

  // History

  /**
   * Ask for the latest lines, as far as they are not here.
   * @param {Buffer} buffer
   */
  catchUp(buffer) {
    if (this.connection.state !== "open" || !this.connection.capabilities.has("draft/chathistory")) return;
    buffer.loading = true;
    this.connection.send("CHATHISTORY", "LATEST", buffer.name, "*", `${PAGE}`);
    if (buffer.kind === "query") this.connection.send("MARKREAD", buffer.name);
  }

  /**
   * Ask for lines before the oldest.
   * @param {Buffer} buffer
   */
  older(buffer) {
    const oldest = buffer.lines.find((line) => line.id && !line.state);
    if (buffer.loading || buffer.complete || !oldest || this.connection.state !== "open") return;
    if (!this.connection.capabilities.has("draft/chathistory")) return;
    buffer.loading = true;
    this.connection.send("CHATHISTORY", "BEFORE", buffer.name, `msgid=${oldest.id}`, `${PAGE}`);
  }

  /**
   * @param {Buffer} buffer
   * @param {Message[]} messages
   */
  remember(buffer, messages) {
    const known = new Set(buffer.lines.map((line) => line.id).filter(Boolean));
    const found = messages
      .filter(({ command }) => command === "PRIVMSG" || command === "NOTICE")
      .map((message) => ({ state: "", ...this.spoken(message) }));
    const fresh = /** @type {Line[]} */ (found.filter((line) => !known.has(line.id ?? "")));
    const latest = buffer.lines.at(-1);
    // More was said while we were away than was asked for: what lies between is found by scrolling up.
    const gap = fresh.length === PAGE && known.size > 0 && latest && fresh[0].time > latest.time;
    if (gap) buffer.lines = buffer.lines.filter((line) => line.state);
    if (buffer.loading && found.length < PAGE) buffer.complete = true;
    if (gap) buffer.complete = false;
    buffer.loading = false;
    buffer.lines = [...buffer.lines, ...fresh].sort((a, b) => a.time.getTime() - b.time.getTime());
    this.count(buffer);
    this.view.linesChanged(buffer);
  }

  /**
   * Count what is unread, by the server's marker.
   * @param {Buffer} buffer
   */
  count(buffer) {
    const unread = buffer.lines.filter((line) => this.isSpoken(line) && !line.mine && line.time > buffer.read);
    buffer.unread = unread.length;
    buffer.mentions = buffer.kind === "query" ? unread.length : unread.filter((line) => line.mention).length;
    if (buffer === this.active && this.view.isRead()) this.noteRead(buffer);
    this.view.listChanged();
  }

  /**
   * All of it has been seen.
   * @param {Buffer} buffer
   */
  noteRead(buffer) {
    if (buffer.unread || buffer.mentions) {
      buffer.unread = buffer.mentions = 0;
      this.view.listChanged();
    }
    const last = buffer.lines.findLast((line) => this.isSpoken(line) && !line.state);
    if (!last || last.time <= buffer.read || buffer.kind === "server") return;
    buffer.read = last.time;
    if (!this.connection.capabilities.has("draft/read-marker")) return;
    clearTimeout(buffer.marking);
    buffer.marking = setTimeout(
      () => this.connection.send("MARKREAD", buffer.name, `timestamp=${buffer.read.toISOString()}`),
      1000,
    );
  }

  // What the server says

  /**
   * The connection is there, or is not any more.
   * @param {string} state
   */
  changed(state) {
    if (state !== "waiting") return;
    for (const buffer of this.buffers.values()) {
      buffer.loading = false;
      buffer.members.clear();
      for (const line of buffer.lines) if (line.state === "sending") line.state = "lost";
    }
    this.view.linesChanged(this.active);
    this.view.membersChanged(this.active);
  }

  /**
   * @param {string} type
   * @param {string[]} params
   * @param {Message[]} messages
   */
  heardBatch(type, params, messages) {
    if (type === "chathistory") {
      const buffer = this.buffers.get(fold(params[0] ?? ""));
      if (buffer) this.remember(buffer, messages);
    } else if (type === "draft/chathistory-targets") {
      for (const { params: [, name] } of messages) if (!this.isChannel(name)) this.open(name);
    } else {
      for (const message of messages) this.heard(message);
    }
  }

  /** @param {Message} message */
  heard(message) {
    const { command, params, tags } = message;
    const handler = HANDLERS[command];
    if (handler) handler(this, message);
    else if (/^[45]\d\d$/.test(command) || command === "FAIL") {
      const about = this.buffers.get(fold(params.find((one) => this.buffers.has(fold(one)) && one) ?? ""));
      const text = command === "FAIL" ? params.at(-1) : params.slice(1).join(" ");
      if (params[0] === "CHATHISTORY" && about) about.loading = false;
      if (command !== "FAIL" || !["CHATHISTORY", "MARKREAD"].includes(params[0])) {
        this.tell(about?.kind === "server" ? this.active : about ?? this.active, text ?? "", "error");
      }
      this.settle(tags.get("label"), false);
    } else if (/^\d{3}$/.test(command) && !QUIET.has(command)) {
      this.tell(/^3[0-4]|^67/.test(command) ? this.active : this.server, params.slice(1).join(" "));
    } else if (command === "ERROR") this.tell(this.active, params.join(" "), "error");
  }

  /**
   * Tell in every buffer where somebody is.
   * @param {string} nick
   * @param {string} text
   * @param {(buffer: Buffer, key: string) => void} change
   * @param {Message} message
   */
  everywhere(nick, text, change, message) {
    for (const buffer of this.buffers.values()) {
      if (!buffer.members.has(fold(nick)) && !(buffer.kind === "query" && buffer.key === fold(nick))) continue;
      change(buffer, fold(nick));
      if (text) this.add(buffer, { text, time: timeOf(message.tags) });
      this.view.membersChanged(buffer);
    }
  }
}
