/**
 * The connection: a WebSocket to where the page came from, the capabilities, the login, and coming back
 * when it is lost.
 *
 *   idle -> connecting -> registering -> open
 *             ^   |            |           |
 *             |   +------------+-----------+-> waiting (lost; tries again)
 *             +------------------------------------+
 *   refused: the server will not have this nick, or this password. A person has to say something else.
 */

import { base64, format, parse } from "./wire.js";

/** @typedef {import("./wire.js").Message} Message */

/**
 * @typedef {object} Person
 * @property {string} nick
 * @property {string} password Empty without an account.
 * @property {string} email For a new account; usually empty.
 * @property {boolean} create Whether the account is to be made.
 */

const WANTED = [
  "account-notify", "account-tag", "away-notify", "batch", "cap-notify", "chghost", "echo-message",
  "extended-join", "invite-notify", "labeled-response", "message-tags", "multi-prefix", "sasl",
  "server-time", "setname", "standard-replies", "draft/account-registration", "draft/channel-rename",
  "draft/chathistory", "draft/message-redaction", "draft/read-marker",
];

/** Numerics by which a login fails (https://ircv3.net/specs/extensions/sasl-3.1). */
const LOGIN_FAILED = new Set(["902", "904", "905", "906", "908"]);
/** Numerics by which a nick is refused. */
const NICK_REFUSED = new Set(["432", "433", "436", "437"]);

/** Milliseconds: between two looks whether the server is there, and until it has to have answered. */
const LOOK = 45_000;
const PATIENCE = 20_000;
const LONGEST_WAIT = 30_000;

/** Whether nobody on the way can read what the page sends. */
export const isPrivate =
  location.protocol === "https:" || ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

/**
 * @typedef {object} Listener
 * @property {(state: string, detail: string) => void} changed
 * @property {(message: Message) => void} heard
 * @property {(type: string, params: string[], messages: Message[]) => void} heardBatch
 */

export class Connection {
  /** @param {Listener} listener */
  constructor(listener) {
    this.listener = listener;
    this.state = "idle";
    /** @type {Map<string, string>} what the server offers, with values */
    this.offered = new Map();
    /** @type {Set<string>} */
    this.capabilities = new Set();
    this.nick = "";
    this.labels = 0;
    this.failures = 0;
    /** @type {Map<string, {type: string, params: string[], messages: Message[], parent: string}>} */
    this.batches = new Map();
    addEventListener("online", () => this.state === "waiting" && this.retry());
  }

  /**
   * Connect for the first time.
   * @param {Person} person
   */
  start(person) {
    this.person = person;
    this.account = person.nick;
    this.welcomed = false;
    this.failures = 0;
    this.retry();
  }

  /** Connect, now. */
  retry() {
    clearTimeout(this.timer);
    this.drop();
    this.offered.clear();
    this.capabilities.clear();
    this.batches.clear();
    this.nick = this.person.nick;
    this.change("connecting", "");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${location.pathname}`, ["text.ircv3.net"]);
    this.socket = socket;
    socket.onopen = () => {
      this.change("registering", "");
      this.send("CAP", "LS", "302");
      this.send("NICK", this.nick);
      this.send("USER", this.person.nick.replace(/[^A-Za-z0-9]/g, "").slice(0, 9) || "web", "0", "*", this.person.nick);
    };
    socket.onmessage = (event) => this.socket === socket && this.receive(parse(event.data));
    socket.onclose = () => this.socket === socket && this.lost();
    this.watch();
  }

  /** Leave, and do not come back. */
  stop() {
    clearTimeout(this.timer);
    if (this.state === "open") this.send("QUIT", "Left the page");
    this.drop();
    this.change("idle", "");
  }

  drop() {
    clearTimeout(this.looking);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  lost() {
    this.drop();
    const wait = Math.min(LONGEST_WAIT, 1000 * 2 ** this.failures++) * (0.75 + Math.random() / 2);
    this.timer = setTimeout(() => this.retry(), wait);
    this.change("waiting", `${Math.max(1, Math.round(wait / 1000))}`);
  }

  /**
   * A person has to say something else.
   * @param {string} why
   */
  refuse(why) {
    this.drop();
    this.change("refused", why);
  }

  change(state, detail) {
    this.state = state;
    this.listener.changed(state, detail);
  }

  /** See to it that a server that is gone is noticed: a lost network says nothing. */
  watch() {
    clearTimeout(this.looking);
    this.looking = setTimeout(() => {
      this.looking = setTimeout(() => this.lost(), PATIENCE);
      if (this.state === "open") this.send("PING", "there?");
    }, LOOK);
  }

  /**
   * Send a line, if there is a connection.
   * @param {string} command
   * @param {...string} params
   */
  send(command, ...params) {
    this.write(format(command, params));
  }

  /**
   * Send a line whose answer is to be known.
   * @param {string} command
   * @param {...string} params
   * @returns {string} its label, which the answer has; empty if the server knows no labels
   */
  ask(command, ...params) {
    if (!this.capabilities.has("labeled-response")) {
      this.send(command, ...params);
      return "";
    }
    const label = `l${++this.labels}`;
    this.write(format(command, params, { label }));
    return label;
  }

  /** @param {string} line */
  write(line) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(line);
  }

  /** @param {Message} message */
  receive(message) {
    this.watch();
    const { command, params, tags } = message;
    const inside = this.batches.get(tags.get("batch") ?? "");
    if (command === "BATCH") this.batch(message);
    else if (inside && inside.type !== "labeled-response") inside.messages.push(message);
    else if (command === "PING") this.send("PONG", ...params);
    else if (command === "CAP") this.negotiate(message);
    else if (this.state === "registering") this.register(message);
    else this.listener.heard(message);
  }

  /** @param {Message} message */
  batch({ tags, params: [reference, type, ...params] }) {
    const name = reference.slice(1);
    if (reference.startsWith("+")) {
      this.batches.set(name, { type, params, messages: [], parent: tags.get("batch") ?? "" });
      return;
    }
    const batch = this.batches.get(name);
    this.batches.delete(name);
    if (batch && batch.type !== "labeled-response") {
      this.listener.heardBatch(batch.type, batch.params, batch.messages);
    }
  }

  // Registration

  /** @param {Message} message */
  negotiate({ params: [, verb, ...rest] }) {
    const names = (rest.at(-1) ?? "").split(" ").filter(Boolean);
    if (verb === "LS" || verb === "NEW") {
      for (const one of names) {
        const [name, ...value] = one.split("=");
        this.offered.set(name, value.join("="));
      }
      if (verb === "LS" && rest[0] === "*") return;
      const wanted = WANTED.filter((name) => this.offered.has(name) && !this.capabilities.has(name));
      if (wanted.length) this.send("CAP", "REQ", wanted.join(" "));
      else if (verb === "LS") this.send("CAP", "END");
    } else if (verb === "DEL") {
      for (const name of names) {
        this.offered.delete(name);
        this.capabilities.delete(name);
      }
    } else if (verb === "ACK" || verb === "NAK") {
      if (verb === "ACK") for (const name of names) this.capabilities.add(name);
      if (this.state === "registering") this.identify();
    }
  }

  /** Log in, or make an account, or go on without. */
  identify() {
    const { password, create } = this.person;
    if (!password) this.send("CAP", "END");
    else if (!isPrivate) this.refuse("This connection is not encrypted, so no password is sent.");
    else if (create && (this.offered.get("draft/account-registration") ?? "").includes("before-connect")) {
      this.makeAccount();
    } else if (create) this.send("CAP", "END");
    else if (!this.capabilities.has("sasl")) this.refuse("This server has no accounts.");
    else this.send("AUTHENTICATE", "PLAIN");
  }

  /** Ask for an account by the name of the nick. */
  makeAccount() {
    if (!this.capabilities.has("draft/account-registration")) {
      this.refuse("This server lets nobody make an account here.");
      return;
    }
    this.send("REGISTER", "*", this.person.email || "*", this.person.password);
  }

  /** @param {Message} message */
  register(message) {
    const { command, params } = message;
    const text = params.at(-1) ?? "";
    if (command === "001") {
      this.nick = params[0];
      this.failures = 0;
      this.welcomed = true;
      this.change("open", text);
      this.listener.heard(message);
      if (this.person.create) this.makeAccount();
      this.person.create = false;
    } else if (command === "AUTHENTICATE") this.authenticate();
    else if (command === "903") this.send("CAP", "END");
    else if (LOGIN_FAILED.has(command)) this.refuse(`The login failed: ${text}`);
    else if (command === "REGISTER") this.registered(message);
    else if (command === "FAIL") this.refuse(text);
    else if (NICK_REFUSED.has(command)) this.renick(text);
    else if (command === "464" || command === "465") this.refuse(text);
    // To who was in before, it is a bad moment.
    else if (command === "ERROR") this.welcomed ? this.lost() : this.refuse(text);
    else this.listener.heard(message);
  }

  authenticate() {
    const secret = base64(`\0${this.account}\0${this.person.password}`);
    for (let at = 0; at <= secret.length; at += 400) {
      this.send("AUTHENTICATE", secret.slice(at, at + 400) || "+");
    }
  }

  /** @param {Message} message */
  registered(message) {
    this.person.create = false;
    if (message.params[0] === "VERIFICATION_REQUIRED") this.refuse(message.params.at(-1) ?? "");
    else this.send("CAP", "END");
  }

  /** @param {string} why */
  renick(why) {
    if (!this.welcomed) {
      this.refuse(why);
      return;
    }
    // Our own shadow, which the server has not yet noticed to be gone.
    this.nick += "_";
    this.send("NICK", this.nick);
  }
}
