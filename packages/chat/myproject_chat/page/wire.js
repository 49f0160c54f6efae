/**
 * Lines of IRC: taken apart, and put together. Sources: https://modern.ircdocs.horse,
 * https://ircv3.net/specs/extensions/message-tags.
 */

/**
 * @typedef {object} Message
 * @property {Map<string, string>} tags
 * @property {string} nick Who it is from: a nick, a server's name, or nothing.
 * @property {string} command In capitals.
 * @property {string[]} params
 */

const UNESCAPED = { ":": ";", s: " ", r: "\r", n: "\n", "\\": "\\" };
const ESCAPED = { ";": "\\:", " ": "\\s", "\r": "\\r", "\n": "\\n", "\\": "\\\\" };

/** Colours and styles of text, which are not shown. */
const STYLES = /\x03(\d{1,2}(,\d{1,2})?)?|\x04([0-9a-f]{6}(,[0-9a-f]{6})?)?|[\x02\x0f\x11\x16\x1d\x1e\x1f]/gi;

/**
 * Take a line apart.
 * @param {string} line without its end
 * @returns {Message}
 */
export function parse(line) {
  const tags = new Map();
  let rest = line;
  const word = () => {
    const [first, ...others] = rest.split(" ");
    rest = others.join(" ").replace(/^ +/, "");
    return first;
  };
  if (rest.startsWith("@")) {
    for (const tag of word().slice(1).split(";")) {
      const [name, ...value] = tag.split("=");
      tags.set(name, value.join("=").replace(/\\(.?)/g, (_, one) => UNESCAPED[one] ?? one));
    }
  }
  const nick = rest.startsWith(":") ? word().slice(1).split("!")[0] : "";
  const command = word().toUpperCase();
  const params = [];
  while (rest) {
    if (rest.startsWith(":")) {
      params.push(rest.slice(1));
      break;
    }
    params.push(word());
  }
  return { tags, nick, command, params };
}

/**
 * Put a line together. The last parameter may be anything; what would end a line is made a space.
 * @param {string} command
 * @param {string[]} params
 * @param {Object<string, string>} [tags]
 * @returns {string}
 */
export function format(command, params, tags = {}) {
  const written = Object.entries(tags).map(
    ([name, value]) => `${name}=${value.replace(/[; \r\n\\]/g, (one) => ESCAPED[one])}`,
  );
  const words = params.map((param) => param.replace(/[\r\n\0]+/g, " "));
  const last = words.at(-1);
  if (last !== undefined && (last === "" || last.startsWith(":") || last.includes(" "))) {
    words[words.length - 1] = `:${last}`;
  }
  return [...(written.length ? [`@${written.join(";")}`] : []), command, ...words].join(" ");
}

/**
 * What two names are compared by: CASEMAPPING=ascii.
 * @param {string} name
 */
export function fold(name) {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/**
 * Text without colours and styles.
 * @param {string} text
 */
export function plain(text) {
  return text.replace(STYLES, "");
}

/**
 * Cut text into pieces that fit a line, between words where there are any.
 * @param {string} text
 * @param {number} room bytes of UTF-8 in a piece
 * @returns {string[]}
 */
export function pieces(text, room) {
  const encoder = new TextEncoder();
  const size = (part) => encoder.encode(part).length;
  const found = [];
  let piece = "";
  for (const word of text.split(/(?<= )/)) {
    if (size(piece + word) <= room) {
      piece += word;
      continue;
    }
    if (piece) found.push(piece);
    piece = "";
    for (const character of word) {
      if (size(piece + character) > room) {
        found.push(piece);
        piece = "";
      }
      piece += character;
    }
  }
  if (piece) found.push(piece);
  return found;
}

/**
 * Text in base64, by its UTF-8.
 * @param {string} text
 */
export function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
