/** What each command and numeric of the server's changes in the chat. */

import { fold, plain } from "./wire.js";

/** @typedef {import("./chat.js").Chat} Chat */
/** @typedef {import("./wire.js").Message} Message */

/**
 * When something was said.
 * @param {Map<string, string>} tags
 */
export function timeOf(tags) {
  const told = tags.get("time");
  return told ? new Date(told) : new Date();
}

/** @param {string} reason */
const because = (reason) => (reason ? ` (${plain(reason)})` : "");

/** @param {Chat} chat @param {Message} message */
function speak(chat, message) {
  const [target, text] = message.params;
  if (/^\x01(?!ACTION )/.test(text)) return;
  chat.settle(message.tags.get("label"), true);
  const mine = chat.isMe(message.nick);
  const line = chat.spoken(message);
  const place = target.replace(/^[~&@%+]+(?=#)/, "");
  if (chat.isChannel(place)) chat.add(chat.open(place), line);
  else if (mine) chat.add(chat.open(target), line);
  else if (message.nick.includes(".") || !message.nick || target === "*") chat.add(chat.server, line);
  else chat.add(chat.open(message.nick), line);
}

/** @type {Object<string, (chat: Chat, message: Message) => void>} */
export const HANDLERS = {
  PRIVMSG: speak,
  NOTICE: speak,
  "001": (chat, { params }) => chat.tell(chat.server, params.at(-1) ?? ""),
  "005": (chat, { params }) => {
    for (const token of params.slice(1, -1)) {
      const [name, value = ""] = token.split("=");
      const prefix = /^\((.*)\)(.*)$/.exec(name === "PREFIX" ? value : "");
      if (prefix) chat.prefixes = Object.fromEntries([...prefix[1]].map((mode, at) => [mode, prefix[2][at]]));
      if (name === "CHANTYPES") chat.channelTypes = value;
      if (name === "NETWORK") chat.server.name = value;
      if (name === "CHANMODES") chat.modesWithWord = new Set(value.split(",").slice(0, 3).join(""));
    }
    chat.view.listChanged();
  },
  "900": (chat, { params }) => {
    chat.account = params[2];
    chat.tell(chat.server, params.at(-1) ?? "");
  },
  REGISTER: (chat, { params }) => chat.tell(chat.server, params.at(-1) ?? ""),
  NOTE: (chat, { params }) => chat.tell(chat.active, params.at(-1) ?? ""),
  WARN: (chat, { params }) => chat.tell(chat.active, params.at(-1) ?? "", "error"),
  JOIN: (chat, message) => {
    const { nick, params: [name], tags } = message;
    const buffer = chat.open(name);
    if (chat.isMe(nick)) {
      buffer.joined = true;
      buffer.members.clear();
      chat.catchUp(buffer);
      chat.asked.add(buffer.key);
      chat.connection.send("WHO", name);
      // Of several that one comes into at once, the first.
      if (chat.active === chat.server || chat.wanted === buffer.key) chat.show(buffer);
      chat.wanted = "";
      chat.view.listChanged();
    } else {
      buffer.members.set(fold(nick), { nick, prefix: "", away: false });
      chat.add(buffer, { text: `${nick} has joined`, time: timeOf(tags) });
      chat.view.membersChanged(buffer);
    }
  },
  PART: (chat, { nick, params: [name, reason = ""], tags }) => {
    const buffer = chat.open(name);
    if (chat.isMe(nick)) {
      chat.close(buffer);
      return;
    }
    buffer.members.delete(fold(nick));
    chat.add(buffer, { text: `${nick} has left${because(reason)}`, time: timeOf(tags) });
    chat.view.membersChanged(buffer);
  },
  KICK: (chat, { nick, params: [name, who, reason = ""], tags }) => {
    const buffer = chat.open(name);
    buffer.members.delete(fold(who));
    if (chat.isMe(who)) {
      buffer.joined = false;
      buffer.members.clear();
    }
    chat.add(buffer, { text: `${who} was put out by ${nick}${because(reason)}`, time: timeOf(tags) });
    chat.view.membersChanged(buffer);
    chat.view.listChanged();
  },
  QUIT: (chat, message) => {
    const text = `${message.nick} has gone${because(message.params[0] ?? "")}`;
    chat.everywhere(message.nick, text, (buffer, key) => buffer.members.delete(key), message);
  },
  NICK: (chat, message) => {
    const { nick, params: [name] } = message;
    if (chat.isMe(nick)) {
      chat.connection.nick = chat.connection.person.nick = name;
      chat.tell(chat.active, `You are now ${name}`);
      chat.view.listChanged();
    }
    const rename = (buffer, key) => {
      const member = buffer.members.get(key);
      buffer.members.delete(key);
      if (member) buffer.members.set(fold(name), { ...member, nick: name });
      else if (!chat.buffers.has(fold(name))) {
        chat.buffers.delete(buffer.key);
        buffer.name = name;
        chat.buffers.set(buffer.key, buffer);
        chat.view.listChanged();
      }
    };
    chat.everywhere(nick, chat.isMe(name) ? "" : `${nick} is now ${name}`, rename, message);
  },
  AWAY: (chat, message) => {
    const away = message.params.length > 0;
    const note = (buffer, key) => Object.assign(buffer.members.get(key) ?? {}, { away });
    chat.everywhere(message.nick, "", note, message);
  },
  MODE: (chat, { nick, params: [name, modes = "", ...words], tags }) => {
    const buffer = chat.buffers.get(fold(name));
    if (!buffer || !chat.isChannel(name)) return;
    const shown = words.join(" ");
    let adding = true;
    for (const mode of modes) {
      if (mode === "+" || mode === "-") adding = mode === "+";
      else if (mode in chat.prefixes) {
        const member = buffer.members.get(fold(words.shift() ?? ""));
        if (member) member.prefix = ranked(chat, member.prefix, chat.prefixes[mode], adding);
      } else if (chat.modesWithWord.has(mode)) words.shift();
    }
    chat.add(buffer, { text: `${nick} sets ${modes} ${shown}`.trim(), time: timeOf(tags) });
    chat.view.membersChanged(buffer);
  },
  TOPIC: (chat, { nick, params: [name, topic = ""], tags }) => {
    const buffer = chat.open(name);
    buffer.topic = plain(topic);
    chat.add(buffer, { text: `${nick} sets the topic: ${buffer.topic}`, time: timeOf(tags) });
    chat.view.membersChanged(buffer);
  },
  331: (chat, { params: [, name] }) => Object.assign(chat.open(name), { topic: "" }),
  332: (chat, { params: [, name, topic] }) => {
    const buffer = chat.open(name);
    buffer.topic = plain(topic);
    chat.view.membersChanged(buffer);
  },
  353: (chat, { params: [, , name, names = ""] }) => {
    const buffer = chat.buffers.get(fold(name));
    if (!buffer) return;
    const signs = Object.values(chat.prefixes).join("");
    for (const one of names.split(" ").filter(Boolean)) {
      let at = 0;
      while (signs.includes(one[at])) at += 1;
      const nick = one.slice(at).split("!")[0];
      const away = buffer.members.get(fold(nick))?.away ?? false;
      buffer.members.set(fold(nick), { nick, prefix: one.slice(0, at), away });
    }
    chat.view.membersChanged(buffer);
  },
  352: (chat, { params }) => {
    const [, name, user, host, , nick, flags] = params;
    const buffer = chat.buffers.get(fold(name));
    const member = buffer?.members.get(fold(nick));
    if (buffer && member && chat.asked.has(buffer.key)) member.away = flags.startsWith("G");
    else chat.tell(chat.active, `${nick} (${user}@${host}) ${flags} ${params.at(-1)?.replace(/^\d+ /, "")}`);
  },
  315: (chat, { params: [, name] }) => {
    const buffer = chat.buffers.get(fold(name));
    chat.asked.delete(fold(name));
    if (buffer) chat.view.membersChanged(buffer);
  },
  INVITE: (chat, { nick, params: [who, name] }) => {
    if (chat.isMe(who)) chat.tell(chat.active, `${nick} invites you to ${name}: /join ${name}`);
    else chat.tell(chat.open(name), `${nick} invites ${who}`);
  },
  RENAME: (chat, { params: [name, other, reason = ""] }) => {
    const buffer = chat.open(name);
    chat.buffers.delete(buffer.key);
    buffer.name = other;
    chat.buffers.set(buffer.key, buffer);
    chat.tell(buffer, `This is now ${other}${because(reason)}`);
    chat.show(buffer);
  },
  REDACT: (chat, { nick, params: [target, id, reason = ""] }) => {
    const buffer = chat.buffers.get(fold(chat.isMe(target) ? nick : target));
    const line = buffer?.lines.find((one) => one.id === id);
    if (!buffer || !line) return;
    Object.assign(line, { state: "redacted", text: `taken back${because(reason)}` });
    chat.view.linesChanged(buffer);
  },
  MARKREAD: (chat, { params: [name, moment = "*"] }) => {
    const buffer = chat.buffers.get(fold(name));
    const read = new Date(moment.replace("timestamp=", ""));
    if (!buffer || moment === "*" || read <= buffer.read) return;
    buffer.read = read;
    chat.count(buffer);
  },
  ACK: (chat, { tags }) => chat.settle(tags.get("label"), true),
};
const WHOIS = {
  301: ([nick, text]) => `${nick} is away: ${text}`,
  311: ([nick, user, host, , name]) => `${nick} is ${name} (${user}@${host})`,
  312: ([nick, server, about]) => `${nick} is on ${server} (${about})`,
  317: ([nick, idle, since]) =>
    `${nick} is here since ${new Date(Number(since) * 1000).toLocaleString()}, and was last heard ${idle} s ago`,
  319: ([nick, channels]) => `${nick} is in ${channels}`,
  330: ([nick, account]) => `${nick} is logged in as ${account}`,
};
for (const [numeric, words] of Object.entries(WHOIS)) {
  HANDLERS[numeric] = (chat, { params }) => chat.tell(chat.active, words(params.slice(1)));
}
for (const ignored of ["PONG", "ACCOUNT", "CHGHOST", "SETNAME", "TAGMSG", "375", "376", "422"]) {
  HANDLERS[ignored] = () => {};
}

/**
 * A member's signs after one of them came or went, the highest first.
 * @param {Chat} chat
 * @param {string} signs
 * @param {string} sign
 * @param {boolean} adding
 */
function ranked(chat, signs, sign, adding) {
  const left = signs.replace(sign, "") + (adding ? sign : "");
  return Object.values(chat.prefixes).filter((one) => left.includes(one)).join("");
}
