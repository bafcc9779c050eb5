// SPDX-License-Identifier: Apache-2.0
// The grid of elites: a table whose cells have colour and numbers and can be reached by the keyboard, and one elite's card.
"use strict";

{
  const { el, number } = kern;

  /** How far a speed-up is from 1, as a share of the scale: -1 (slower) to 1 (faster); logarithmic. */
  const position = (speedup, scale) => Math.max(-1, Math.min(1, Math.log(speedup) / scale));

  const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const luminance = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);

  function paint(node, share) {
    const strength = 0.1 + 0.85 * Math.abs(share);
    const from = channels(kern.color("raised")), to = channels(kern.color(share < 0 ? "warm" : "accent"));
    const rgb = from.map((c, i) => Math.round(c + strength * (to[i] - c)));
    node.style.background = `rgb(${rgb.join(" ")})`;
    // Black or white, whichever stands out more: one of the two always does by 4.58 to 1.
    node.style.color = luminance(rgb) > 0.179 ? "#000" : "#fff";
    return node;
  }

  function cellOf(data, elite, scale, name) {
    if (!elite) return el("td", { class: "empty" }, el("span", { "aria-hidden": "true" }, "·"), el("span", { class: "spoken" }, "empty"));
    const isBest = data.best && elite.ordinal === data.best.ordinal;
    const spoken = `${name}: elite #${elite.ordinal}, ${number.factor(elite.speedup)} of the baseline` + (isBest ? ", the best" : "");
    const button = el("button", { type: "button", id: "cell-" + elite.ordinal, "data-ordinal": elite.ordinal, "aria-label": spoken,
      "aria-pressed": String(elite.ordinal === kern.selected), "aria-controls": "elite", click: () => kern.select(elite.ordinal),
      keydown: move }, el("b", {}, number.factor(elite.speedup)), el("span", {}, "#" + elite.ordinal));
    return paint(el("td", { class: isBest ? "best" : null }, button), position(elite.speedup, scale));
  }

  /** Arrows go to the next filled cell of the row or of the column. */
  function move(event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const cell = event.currentTarget.closest("td"), rows = [...cell.closest("tbody").rows];
    let row = rows.indexOf(cell.parentNode), column = cell.cellIndex;
    for (;;) {
      row += step[0]; column += step[1];
      const next = rows[row]?.cells[column];
      if (!next || next.tagName !== "TD") return;
      const button = next.querySelector("button");
      if (button) { button.focus(); return; }
    }
  }

  /** Rows of the table: all combinations of the other axes' labels, in the grid's order. */
  function rowsOf(axes) {
    return axes.slice(0, -1).reduce((rows, axis) => rows.flatMap((row) => axis.labels.map((label) => [...row, label])), [[]]);
  }

  kern.views.push(function (data) {
    const columns = data.axes.at(-1), others = data.axes.slice(0, -1);
    const byCell = new Map(data.elites.map((elite) => [elite.cell, elite]));
    const rows = rowsOf(data.axes), filled = rows.filter((row) => columns.labels.some((label) =>
      byCell.has([...row, label].join("/"))));
    const scale = Math.max(0.05, ...data.elites.filter((elite) => elite.speedup > 0).map((elite) => Math.log(elite.speedup)));
    kern.fill("grid-lead", `The fastest proven kernel of each kind: ${data.metrics.num_elites} of ${number.whole(data.cells)} cells are ` +
      `filled. Numbers are speed-ups over the baseline, ${kern.measured(data.run.is_modelled)}; choose a cell for its times.`);
    const table = el("table", { class: "heat" },
      el("caption", {}, el("span", {}, `Rows: ${others.map((axis) => axis.name).join(" / ") || "all"}. Columns: ${columns.name}, ` +
        `${columns.meaning}.`)),
      el("thead", {}, el("tr", {}, el("td", {}), columns.labels.map((label) => el("th", { scope: "col" }, label)))),
      el("tbody", {}, filled.map((row) => el("tr", {}, el("th", { scope: "row" }, row.join(" / ") || "all"),
        columns.labels.map((label) => cellOf(data, byCell.get([...row, label].join("/")), scale, [...row, label].join(", ")))))));
    const keys = [-1, -0.5, 0, 0.5, 1].map((share) => el("span", {}, paint(el("i", {}), share), " ",
      number.factor(Math.exp(share * scale)) + (share === -1 ? " or slower" : "")));
    const hidden = rows.length - filled.length;
    kern.fill("grid-table", table, el("p", { class: "key" }, keys, hidden > 0 ? `${kern.plural(hidden, "row")} without an elite not shown.` : null));
    if (!data.elites.some((elite) => elite.ordinal === kern.selected)) kern.selected = data.best ? data.best.ordinal : null;
    kern.drawElite();
  });

  kern.drawElite = function () {
    const data = kern.data, elite = data.elites.find((one) => one.ordinal === kern.selected);
    if (!elite) return kern.refill("elite", el("p", { class: "soft" }, "No elite yet."));
    // A modelled ratio has no spread: an interval of it would look like certainty.
    const over = (gain, whom) => gain ? `${number.factor(gain.x)} ${whom} (` + (gain.is_modelled ? "modelled" :
      `${number.percentInterval(gain)} ${kern.interval(gain)}, n = ${kern.plural(gain.rounds, "round")}`) + ")" : null;
    const facts = [over(elite.over_baseline, "over the baseline"), elite.parent ? over(elite.over_parent, `over its parent #${elite.parent}`) : null,
      elite.bottleneck || null, elite.kernels.length ? elite.kernels.map((kernel) => `${kern.brief(kernel.kernel, 40)}: ${kernel.registers} registers` +
        (kernel.spill_bytes ? `, ${kernel.spill_bytes} B of spills` : "")).join("; ") : null,
      elite.proof.judgement.startsWith("flagged") ? "A model has doubts: " + elite.proof.judgement : null].filter(Boolean);
    return kern.refill("elite", el("h3", {}, `#${elite.ordinal} `, el("code", {}, elite.id.slice(0, 8)), ` ${elite.cell.split("/").join(" · ")}, by ` +
      `${elite.operator}${elite.endpoint ? " with " + elite.endpoint : ""}`, " ", kern.tag(elite.is_modelled)),
    el("ul", {}, facts.map((fact) => el("li", {}, fact))),
    elite.summary ? el("p", { class: "quote" }, kern.brief(elite.summary, 600)) : null,
    el("details", { id: "elite-times", open: document.getElementById("elite-times")?.open || null }, el("summary", {}, "Times"),
      el("div", { class: "scroll" }, kern.table(null, [["workload"], ["time", true], ["p10", true], ["p90", true], ["n", true], ["× baseline", true],
        ["GB/s", true], ["TFLOP/s", true]], elite.times.map((time) => [time.workload, number.us(time.own.us), time.own.p10.toPrecision(4),
        time.own.p90.toPrecision(4), number.whole(time.own.n), time.over_baseline ? number.factor(time.over_baseline.x) : "–",
        number.whole(time.gb_per_s), number.fixed(time.tflop_per_s, 2)])))));
  };
}
