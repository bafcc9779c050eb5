// SPDX-License-Identifier: Apache-2.0
// Elements, numbers and tables. Texts of a run only ever become text nodes: nothing here parses markup.
"use strict";

const kern = { data: null, views: [], charts: new Map(), selected: null };

/** An element with attributes (a function is a listener, true an empty attribute) and children (texts or nodes). */
kern.el = function (tag, attributes, ...children) {
  const svg = tag.startsWith("svg:");
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
};

/** Replaces what is in the element of this id. */
kern.fill = function (id, ...children) {
  const node = document.getElementById(id);
  node.replaceChildren(...kern.el("div", {}, ...children).childNodes);
  return node;
};

/** The same for what is read aloud when it changes: what would look the same stays, so that nothing is said again. */
kern.refill = function (id, ...children) {
  const node = document.getElementById(id), fresh = kern.el("div", {}, ...children);
  const shown = kern.el("div", {}, ...[...node.childNodes].map((child) => child.cloneNode(true)));
  if (!shown.isEqualNode(fresh)) node.replaceChildren(...fresh.childNodes);
};

const number = {
  /** 12,345 */
  whole: (value) => Math.round(value).toLocaleString("en-US"),
  fixed: (value, digits) => value.toFixed(digits),
  /** A speed-up: three digits behind the point near 1, three significant ones elsewhere. */
  factor(value) {
    if (!(value > 0)) return "–";
    return (value >= 0.9 && value < 10 ? value.toFixed(3) : value.toPrecision(3)) + "×";
  },
  share: (value) => (100 * value).toFixed(value < 0.095 ? 1 : 0) + " %",
  /** Microseconds with four significant digits. */
  us(value) {
    if (value >= 1e6) return (value / 1e6).toPrecision(4) + " s";
    if (value >= 1e4) return (value / 1e3).toPrecision(4) + " ms";
    return value.toPrecision(4) + " µs";
  },
  duration(seconds) {
    if (seconds < 90) return seconds.toFixed(1) + " s";
    if (seconds < 5400) return (seconds / 60).toFixed(1) + " min";
    return (seconds / 3600).toFixed(1) + " h";
  },
  usd: (value) => "$" + (value === 0 ? "0" : value.toFixed(value < 1 ? 4 : value < 100 ? 2 : 0)),
  tokens: (value) => (value < 1e4 ? number.whole(value) : value < 1e7 ? (value / 1e3).toFixed(0) + " k" :
    (value / 1e6).toFixed(1) + " M"),
  /** "98 % interval", "99.98 % interval": as many digits as tell it from certainty. */
  percentInterval(gain) {
    const left = 1 - gain.confidence, digits = left > 0 ? Math.max(0, Math.ceil(-Math.log10(left) - 2 - 1e-9)) : 0;
    return (100 * gain.confidence).toFixed(digits) + " % interval";
  },
};
kern.number = number;

kern.plural = (count, word, words) => number.whole(count) + " " + (count === 1 ? word : words || word + "s");
kern.measured = (isModelled) => (isModelled ? "modelled" : "measured");
kern.tag = (isModelled) => kern.el("span", { class: isModelled ? "tag modelled" : "tag" }, kern.measured(isModelled));
/** "1.118 to 1.127" */
kern.interval = (gain) => number.factor(gain.low).slice(0, -1) + " to " + number.factor(gain.high);
/** "seed split_kv.cu": the first words of a summary. */
kern.brief = function (text, length) {
  const line = String(text || "").split("\n")[0];
  if (line.length <= length) return line;
  const cut = line.slice(0, length - 1), word = cut.lastIndexOf(" ");
  return (word > length / 2 ? cut.slice(0, word) : cut).trimEnd() + "…";
};

/** columns: [title, isNumber]; rows: lists of texts or nodes; the first column of a row heads it. */
kern.table = function (caption, columns, rows, attributes) {
  const cell = (value, index) => {
    const isHead = index === 0;
    return kern.el(isHead ? "th" : "td", { class: columns[index][1] ? "n" : null, scope: isHead ? "row" : null }, value);
  };
  return kern.el("table", attributes || {},
    caption ? kern.el("caption", {}, kern.el("span", {}, caption)) : null,
    kern.el("thead", {}, kern.el("tr", {}, columns.map(([title, isNumber]) =>
      kern.el("th", { scope: "col", class: isNumber ? "n" : null }, title)))),
    kern.el("tbody", {}, rows.map((row) => kern.el("tr", {}, row.map(cell)))));
};

/** A chart's figures as a table, folded away; `id` keeps it open when the page is drawn anew. */
kern.folded = function (id, table) {
  const open = document.getElementById(id)?.open;
  return kern.el("details", { id, open: open || null }, kern.el("summary", {}, "Show as table"),
    kern.el("div", { class: "scroll" }, table));
};

kern.color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

/** A candidate's number that leads to its card where it has one. */
kern.candidate = function (ordinal) {
  if (!kern.data.elites.some((elite) => elite.ordinal === ordinal)) return "#" + ordinal;
  return kern.el("a", { href: "#elite", click: () => kern.select(ordinal) }, "#" + ordinal);
};

kern.select = function (ordinal) {
  kern.selected = ordinal;
  kern.drawElite();
  for (const button of document.querySelectorAll(".heat button"))
    button.setAttribute("aria-pressed", String(Number(button.dataset.ordinal) === ordinal));
};

/** Draws every view from kern.data; where the keyboard was stays where it was. */
kern.render = function () {
  const focused = document.activeElement?.id;
  for (const view of kern.views) view(kern.data);
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true });
};
