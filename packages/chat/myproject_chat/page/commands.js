/** What a person types behind a slash. */

import { fold, pieces } from "./wire.js";

/** @typedef {import("./chat.js").Chat} Chat */

/**
 * Bytes of text in one line: 512, less the sender's mask, the command, the target and the line's end.
 * @param {string} name
 */
const roomFor = (name) => Math.max(100, 380 - new TextEncoder().encode(name).length);

/** @type {Object<string, {use: string, run: (chat: Chat, words: string[], text: string) => void}>} */
export const COMMANDS = {
  join: {
    use: "/join #channel [key]: join a channel",
    run: (chat, [name = "", ...key]) => {
      const channel = chat.isChannel(name) ? name : `#${name}`;
      chat.wanted = fold(channel);
      if (chat.buffers.get(chat.wanted)?.joined) chat.show(chat.open(channel));
      else chat.connection.send("JOIN", channel, ...key);
    },
  },
  part: {
    use: "/part [reason]: leave this channel, or close this conversation",
    run: (chat, _, text) => {
      const buffer = chat.active;
      if (buffer.kind === "channel" && buffer.joined) chat.connection.send("PART", buffer.name, ...(text ? [text] : []));
      else chat.close(buffer);
    },
  },
  msg: {
    use: "/msg nick text: say something to somebody alone",
    run: (chat, [name = ""], text) => say(chat, name, text.slice(name.length).trim()),
  },
  query: {
    use: "/query nick: open a conversation",
    run: (chat, [name = ""]) => name && chat.show(chat.open(name)),
  },
  me: {
    use: "/me does something: say what you do",
    run: (chat, _, text) => {
      for (const piece of pieces(text, roomFor(chat.active.name) - 10)) chat.say(chat.active, piece, true);
    },
  },
  topic: {
    use: "/topic text: set the channel's topic",
    run: (chat, _, text) => chat.connection.send("TOPIC", chat.active.name, ...(text ? [text] : [])),
  },
  nick: { use: "/nick name: take another nick", run: (chat, [name = ""]) => chat.connection.send("NICK", name) },
  away: {
    use: "/away [reason]: be away; without a reason, be back",
    run: (chat, _, text) => chat.connection.send("AWAY", ...(text ? [text] : [])),
  },
  whois: {
    use: "/whois nick: ask who somebody is",
    run: (chat, [name = chat.active.name]) => chat.connection.send("WHOIS", name, name),
  },
  invite: {
    use: "/invite nick: invite somebody to this channel",
    run: (chat, [name = ""]) => chat.connection.send("INVITE", name, chat.active.name),
  },
  kick: {
    use: "/kick nick [reason]: put somebody out of this channel",
    run: (chat, [name = ""], text) => {
      const reason = text.slice(name.length).trim();
      chat.connection.send("KICK", chat.active.name, name, ...(reason ? [reason] : []));
    },
  },
  quote: {
    use: "/quote line: send a line as it is",
    run: (chat, _, text) => chat.connection.write(text),
  },
  help: {
    use: "/help: this; //text says a text that begins with a slash",
    run: (chat) => {
      for (const { use } of Object.values(COMMANDS)) chat.tell(chat.active, use);
      chat.tell(chat.active, "Any other goes to the server: /list, /mode, /help nick. Tab completes nicks; Alt+Up and Alt+Down change the channel.");
    },
  },
};

/**
 * @param {Chat} chat
 * @param {string} name
 * @param {string} text
 */
function say(chat, name, text) {
  if (!name || !text) return;
  const buffer = chat.open(name);
  for (const piece of pieces(text, roomFor(name))) chat.say(buffer, piece);
  chat.show(buffer);
}

/**
 * Do what was typed.
 * @param {Chat} chat
 * @param {string} typed may have several lines
 */
export function obey(chat, typed) {
  for (const line of typed.split(/\r?\n/).filter((one) => one.trim())) {
    const command = /^\/(?!\/)(\S+)\s*(.*)$/.exec(line);
    if (command) {
      const [, name, text] = command;
      const words = text.split(/\s+/).filter(Boolean);
      const known = COMMANDS[fold(name)];
      if (known && !(fold(name) === "help" && words.length)) known.run(chat, words, text);
      else chat.connection.write(`${name.toUpperCase()} ${text}`.trim());
    } else if (chat.active.kind === "server") {
      chat.tell(chat.active, "Nobody hears this: join a channel with /join, or see /help", "error");
    } else {
      say(chat, chat.active.name, line.replace(/^\/\//, "/"));
    }
  }
}
