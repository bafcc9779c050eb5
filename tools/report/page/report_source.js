// SPDX-License-Identifier: Apache-2.0
// The best kernel's source, line by line, with what its parent had; unchanged stretches are folded.
"use strict";

{
  const { el, number } = kern;
  const k_context = 4, k_fold = 10;
  const unfolded = new Set();
  const k_token = new RegExp([
    "(//.*$|/\\*.*?(?:\\*/|$))", '("(?:\\\\.|[^"\\\\])*"|\\b\\d[\\w.]*)', "(^\\s*#\\s*\\w+)",
    "\\b(__\\w+__|template|typename|constexpr|const|static|struct|if|else|for|while|do|return|switch|case|break|continue|using|namespace|" +
      "inline|auto|void|int|float|double|bool|char|unsigned|asm|volatile|uint32_t|uint64_t|int32_t|int64_t|half|__half2?|__nv_bfloat16\\d?)\\b",
  ].join("|"), "g");
  const k_classes = ["c", "s", "d", "k"];

  /** The line as text nodes and coloured spans; a block comment that is open at its beginning is coloured as one. */
  function colored(text, state) {
    const parts = [];
    let at = 0;
    if (state.isComment) {
      const end = text.indexOf("*/");
      at = end < 0 ? text.length : end + 2;
      state.isComment = end < 0;
      parts.push(el("span", { class: "c" }, text.slice(0, at)));
    }
    k_token.lastIndex = at;
    for (let match = k_token.exec(text); match; match = k_token.exec(text)) {
      if (match.index > at) parts.push(text.slice(at, match.index));
      parts.push(el("span", { class: k_classes[match.slice(1).findIndex((group) => group !== undefined)] }, match[0]));
      at = match.index + match[0].length;
      if (match[1] && match[1].startsWith("/*") && !match[1].endsWith("*/")) state.isComment = true;
    }
    if (at < text.length) parts.push(text.slice(at));
    return parts;
  }

  /** Runs of unchanged lines that are far enough from any change: [from, to) by the index of the first one. */
  function folds(lines) {
    const near = new Set();
    lines.forEach(([kind], i) => {
      if (kind !== 0) for (let j = i - k_context; j <= i + k_context; ++j) near.add(j);
    });
    const found = new Map();
    for (let i = 0; i < lines.length; ++i) {
      if (near.has(i)) continue;
      let end = i;
      while (end < lines.length && !near.has(end)) ++end;
      if (end - i >= k_fold) found.set(i, end);
      i = end;
    }
    return found;
  }

  const k_kinds = [["", " ", "unchanged"], ["added", "+", "added"], ["removed", "−", "removed"]];

  function rowOf([kind, before, after, text], state) {
    const [name, sign, word] = k_kinds[kind];
    return el("tr", { class: name || null }, el("td", { class: "number" }, before || ""), el("td", { class: "number" }, after || ""),
      el("td", { class: "mark", "aria-label": kind ? word : null }, sign), el("td", { class: "text" }, colored(text, state)));
  }

  let drawn = "";

  kern.views.push(function (data) {
    const source = data.source;
    // A live page is drawn often: what somebody reads stays where it is as long as it is the same.
    const key = source ? [source.ordinal, source.parent, unfolded.size, Boolean(kern.isPrinting)].join() : "none";
    if (key === drawn) return;
    drawn = key;
    if (!source) {
      kern.fill("source-lead", "No kernel yet.");
      return kern.fill("source-text");
    }
    const lines = source.lines, added = lines.filter(([kind]) => kind === 1).length, removed = lines.filter(([kind]) => kind === 2).length;
    const tuning = Object.entries(data.best_tuning).map(([name, value]) => `${name} = ${value}`).join(", ");
    kern.fill("source-lead", source.parent ? `#${source.ordinal} against its parent #${source.parent}: ${kern.plural(added, "line")} added (blue, +), ` +
      `${number.whole(removed)} removed (orange, −).` : `#${source.ordinal}, which has no parent.`, tuning ? ` Tunables: ${tuning}.` : "");
    const state = { isComment: false }, rows = [];
    const hidden = source.parent ? folds(lines) : new Map();
    for (let i = 0; i < lines.length; ++i) {
      const end = hidden.get(i), id = `fold-${source.ordinal}-${i}`;
      if (end === undefined || unfolded.has(id) || kern.isPrinting) {
        rows.push(rowOf(lines[i], state));
        continue;
      }
      for (let j = i; j < end; ++j) colored(lines[j][3], state);  // for the state alone
      rows.push(el("tr", { class: "fold" }, el("td", { colspan: 4 }, el("button", { type: "button", class: "button", id, click: () => {
        unfolded.add(id);
        kern.render();
      } }, `Show ${number.whole(end - i)} unchanged lines`))));
      i = end - 1;
    }
    return kern.fill("source-text", el("div", { class: "code", tabindex: 0, role: "region", "aria-label": "Source of the best kernel" },
      el("table", {}, el("tbody", {}, rows))));
  });
}
