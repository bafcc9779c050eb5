// SPDX-License-Identifier: Apache-2.0
// What is told in tables: where proposals ended, and what lessons they left.
"use strict";

{
  const { el, number } = kern;

  const k_words = {
    reply: "reply held no candidate", duplicate: "compiles to known code", unfinished: "left unfinished", placing: "no gain for its cell",
    elite: "became an elite",
  };

  function track(step, most) {
    const bar = (count, name) => {
      const node = el("span", { class: "bar" + name });
      node.style.flexBasis = (100 * count) / most + "%";
      node.style.flexGrow = 0;
      return count > 0 ? node : null;
    };
    return el("span", { class: "track", "aria-hidden": "true" }, bar(step.reached - step.ended, ""), bar(step.ended, " ended"));
  }

  kern.views.push(function (data) {
    const most = Math.max(1, ...data.funnel.map((step) => step.reached));
    const elites = data.funnel.find((step) => step.step === "elite")?.reached || 0;
    const asked = data.funnel[0]?.reached || 0;
    kern.fill("funnel-lead", `Of ${kern.plural(asked, "proposal")} that are over, seeds included, ${number.whole(elites)} became elites of their ` +
      "cells at some time. Blue goes on, orange ended at this step.");
    const rows = data.funnel.filter((step) => step.ended > 0 || ["reply", "compile", "time", "placing", "elite"].includes(step.step));
    kern.fill("funnel-table", kern.table(null, [["step"], ["reached", true], ["ended here", true], ["", false], ["why, most frequent first"]],
      rows.map((step) => [k_words[step.step] ? step.step + ": " + k_words[step.step] : step.step, number.whole(step.reached),
        step.ended > 0 ? number.whole(step.ended) : "–", track(step, most), step.reasons.slice(0, 5).map((reason) =>
          `${reason.reason} ${number.whole(reason.count)}`).join(", ") + (step.reasons.length > 5 ? ", …" : "")])));
  });

  /** A gain with its interval on a common scale from `low` to `high`, with a line at 1. */
  function strip(lesson, low, high) {
    const at = (value) => 4 + (152 * (Math.log(value) - Math.log(low))) / (Math.log(high) - Math.log(low));
    const color = lesson.low > 1 ? "var(--accent)" : lesson.high < 1 ? "var(--warm)" : "var(--faint)";
    return el("svg:svg", { width: 160, height: 16, "aria-hidden": "true" },
      el("svg:line", { x1: at(1), x2: at(1), y1: 0, y2: 16, stroke: "var(--line)", "stroke-width": 1.5 }),
      el("svg:line", { x1: at(lesson.low), x2: at(lesson.high), y1: 8, y2: 8, stroke: color, "stroke-width": 2 }),
      el("svg:circle", { cx: at(lesson.gain), cy: 8, r: 4, fill: color }));
  }

  kern.views.push(function (data) {
    const lessons = data.lessons;
    const from = lessons.candidates_read < lessons.candidates_told ? `the newest ${number.whole(lessons.candidates_read)} of ` +
      `${number.whole(lessons.candidates_told)} candidates` : kern.plural(lessons.candidates_told, "candidate");
    kern.fill("lessons-lead", `What a technique did to times, by the effects of ${from}` + (lessons.imported > 0 ?
      ` and ${kern.plural(lessons.imported, "effect")} of earlier runs` : "") + `: surest first, warnings last. Gains are ${kern.measured(data.run.is_modelled)}.`);
    if (lessons.list.length === 0)
      return kern.fill("lessons-table", el("p", { class: "soft" }, "Too few changes have been timed to tell anything."));
    const low = Math.min(0.95, ...lessons.list.map((lesson) => lesson.low)), high = Math.max(1.05, ...lessons.list.map((lesson) => lesson.high));
    return kern.fill("lessons-table", kern.table(null, [["technique"], ["gain where it helped", true], ["95 % interval", true], [""], ["tried", true],
      ["helped", true], ["slower", true], ["refused", true], ["mostly where"]], lessons.list.map((lesson) => [lesson.technique,
      number.factor(lesson.gain), `${lesson.low.toFixed(3)} to ${lesson.high.toFixed(3)}`, strip(lesson, low, high), number.whole(lesson.tried),
      number.whole(lesson.helped), number.whole(lesson.slower), number.whole(lesson.failed), lesson.state])));
  });
}
