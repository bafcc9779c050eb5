// SPDX-License-Identifier: Apache-2.0
// Who came from whom: the ancestry of all elites as a tree that grows to the right, the best one's line marked.
"use strict";

{
  const { el, number } = kern;
  const k_step = 190, k_row = 25, k_margin = 14, k_character = 6.9;

  /**
   * x by generation among those shown, y so that leaves are rows and a parent stands before its first child; the best
   * one's line comes first everywhere, so that it runs straight along the top.
   */
  function layout(nodes, onBest) {
    const children = new Map(nodes.map((node) => [node.ordinal, []])), roots = [];
    for (const node of nodes) (children.get(node.parent) || roots).push(node);
    for (const siblings of [roots, ...children.values()]) siblings.sort((a, b) => onBest.has(b.ordinal) - onBest.has(a.ordinal));
    const places = new Map();
    let rows = 0, depths = 0;
    // Children come after their parents, so that no line is longer than the list: no recursion to overflow.
    const depth = new Map();
    for (const node of nodes) {
      depth.set(node.ordinal, depth.has(node.parent) ? depth.get(node.parent) + 1 : 0);
      depths = Math.max(depths, depth.get(node.ordinal));
    }
    const order = [], stack = [...roots].reverse();
    while (stack.length) {
      const node = stack.pop();
      order.push(node);
      stack.push(...[...children.get(node.ordinal)].reverse());
    }
    for (const node of order)
      if (children.get(node.ordinal).length === 0) places.set(node.ordinal, { row: rows++ });
    for (const node of [...order].reverse()) {
      const own = children.get(node.ordinal);
      if (own.length) places.set(node.ordinal, { row: places.get(own[0].ordinal).row });
      const place = places.get(node.ordinal);
      place.x = k_margin + depth.get(node.ordinal) * k_step;
      place.y = k_margin + place.row * k_row + 6;
    }
    return { places, order, width: k_margin * 2 + (depths + 1) * k_step, height: k_margin * 2 + rows * k_row };
  }

  function describe(node) {
    return `#${node.ordinal}, ${node.operator}, ${number.factor(node.speedup)} of the baseline` +
      (node.over_parent ? `, ${number.factor(node.over_parent.x)} (${kern.interval(node.over_parent)}) over its parent #${node.parent}` : "") +
      (node.skipped ? `, ${kern.plural(node.skipped, "candidate")} between it and #${node.parent} not shown` : "") +
      (node.cell ? `, elite of ${node.cell.split("/").join(", ")}` : "") + (node.is_champion ? ", champion of a workload" : "");
  }

  const speedOf = (node) => (node.speedup > 0 ? number.factor(node.speedup) : node.outcome);
  const restOf = (node) => " " + node.operator + (node.is_champion ? " ▲" : "");
  /** Where the text of a node ends, about: its line goes on from there. */
  const endOf = (node, place) => place.x + 16 + k_character * (`#${node.ordinal} ` + speedOf(node) + restOf(node)).length;

  function drawNode(node, place, isBest) {
    const choose = () => { if (node.cell) kern.select(node.ordinal); };
    return el("svg:g", { class: isBest ? "is-best" : node.cell ? "is-elite" : null, tabindex: node.cell ? 0 : null,
      role: node.cell ? "button" : "img", "aria-label": describe(node), id: "line-" + node.ordinal, click: choose,
      keydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } } },
    el("svg:title", {}, describe(node) + (node.summary ? "\n" + kern.brief(node.summary, 160) : "")),
    el("svg:circle", { cx: place.x, cy: place.y, r: isBest ? 7 : node.cell ? 5.5 : 4 }),
    el("svg:text", { x: place.x + 11, y: place.y + 4 }, `#${node.ordinal} `,
      el("svg:tspan", { "font-weight": node.cell ? 650 : 400 }, speedOf(node)),
      el("svg:tspan", { class: "soft" }, restOf(node))));
  }

  kern.views.push(function (data) {
    const nodes = data.lineage;
    const figure = document.getElementById("lineage-graph");
    const scrolled = figure.querySelector(".tree");
    const [left, top] = scrolled ? [scrolled.scrollLeft, scrolled.scrollTop] : [0, 0];
    kern.fill("lineage-lead", nodes.length === 0 ? "Nobody is in the archive yet." : `From the seeds (left) to the elites (blue), with speed-ups over ` +
      `the baseline; the line of the best runs along the top, ▲ marks champions of a workload. ${number.whole(nodes.length)} ` +
      (data.lineage_candidates > nodes.length ? `of ${number.whole(data.lineage_candidates)} candidates of their ancestry are shown.` : "candidates."));
    if (nodes.length === 0) return figure.replaceChildren();
    const byOrdinal = new Map(nodes.map((node) => [node.ordinal, node])), onBest = new Set();
    for (let at = data.best?.ordinal; byOrdinal.has(at); at = byOrdinal.get(at).parent) onBest.add(at);
    const { places, order, width, height } = layout(nodes, onBest);
    const edges = order.filter((node) => places.has(node.parent)).map((node) => {
      const from = places.get(node.parent), to = places.get(node.ordinal);
      const start = Math.min(endOf(byOrdinal.get(node.parent), from), to.x - 30), middle = (start + to.x) / 2;
      return el("svg:path", { d: `M${start},${from.y} C${middle},${from.y} ${middle},${to.y} ${to.x},${to.y}`,
        class: onBest.has(node.ordinal) ? "on-best" : null, "stroke-dasharray": node.skipped ? "3 3" : null });
    });
    const svg = el("svg:svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group",
      "aria-label": `Lineage: ${nodes.length} candidates; the best, #${data.best?.ordinal}, comes from ` +
        [...onBest].slice(1, 6).map((ordinal) => "#" + ordinal).join(", ") }, edges.filter((edge) => !edge.classList.contains("on-best")),
    edges.filter((edge) => edge.classList.contains("on-best")), order.map((node) => drawNode(node, places.get(node.ordinal),
      node.ordinal === data.best?.ordinal)));
    const table = kern.table("Lineage", [["candidate"], ["parent", true], ["operator"], ["outcome"], ["× baseline", true], ["× parent", true],
      ["elite of"]], nodes.map((node) => ["#" + node.ordinal, node.parent ? "#" + node.parent : "–", node.operator, node.outcome,
      number.factor(node.speedup), node.over_parent ? `${number.factor(node.over_parent.x)} (${kern.interval(node.over_parent)})` : "–",
      node.cell || "–"]));
    const tree = el("div", { class: "tree", tabindex: 0, role: "region", "aria-label": "Lineage graph, scrolls" }, svg);
    figure.replaceChildren(tree, kern.folded("lineage-figures", table));
    tree.scrollTo(left, top);
  });
}
