// SPDX-License-Identifier: Apache-2.0
// Times: the best kernel against the baseline at every workload, and every elite under its roofs.
"use strict";

{
  const { el, number } = kern;

  kern.views.push(function (data) {
    const best = data.best;
    const lead = kern.fill("times-lead");
    if (!best || best.times.length === 0) {
      lead.textContent = "Nothing has been timed yet.";
      kern.chart("times-chart", null);
      kern.fill("times-table");
      return;
    }
    const isUnbeaten = data.baseline?.ordinal === best.ordinal;
    const gains = isUnbeaten ? [] : best.times.filter((time) => time.over_baseline);
    const name = data.baseline ? "#" + data.baseline.ordinal : "the best seed";
    const method = best.is_modelled ? "by the virtual GPU’s time model" + (data.model_error ? `, which is ${data.model_error.words}` : "") + ", no measurement" :
      "paired round by round in one process; the interval is by bootstrap";
    lead.append(isUnbeaten ? "The best seed is the fastest kernel so far." : `How much faster the best kernel #${best.ordinal} is ` +
      `than ${name}, ${method}.`, " A workload’s champion may be another kernel: exports choose among champions.");
    const champions = data.workloads.filter((workload) => workload.champion && workload.champion.ordinal !== best.ordinal);
    const labels = gains.map((time) => time.workload);
    const championOf = (label) => champions.find((workload) => workload.name === label)?.champion;
    kern.chart("times-chart", gains.length === 0 ? null : {
      caption: `Speed-up of #${best.ordinal} over ${name} by workload, ${kern.measured(best.is_modelled)}`,
      label: "Points with intervals: " + gains.map((time) => time.workload + " " + number.factor(time.over_baseline.x) + " (" +
        kern.interval(time.over_baseline) + ")").join("; "),
      height: 70 + 34 * gains.length, type: "line",
      data: { labels, datasets: [
        { label: `#${best.ordinal}` + (best.is_modelled ? "" : `, ${number.percentInterval(gains[0].over_baseline)}`), data: gains.map((time) => time.over_baseline.x),
          whiskers: gains.map((time) => [time.over_baseline.low, time.over_baseline.high]), showLine: false, pointRadius: 5,
          borderColor: kern.color("accent"), backgroundColor: kern.color("accent") },
        ...(champions.length ? [{ label: "champion of the workload (another kernel)", data: labels.map((label) =>
          championOf(label)?.speedup ?? null), showLine: false, pointStyle: "triangle", pointRadius: 6,
          borderColor: kern.color("warm"), backgroundColor: kern.color("warm") }] : [])] },
      options: { indexAxis: "y", scales: { x: kern.axis("× the baseline; right of 1 is faster", { grace: "6%", suggestedMin: 0.98,
        suggestedMax: 1.02 }), y: { offset: true, grid: { display: false } } }, plugins: { kernWhiskers: { reference: 1 } } },
      table: kern.table("Speed-up by workload", [["workload"], ["×", true], ["low", true], ["high", true], ["paired rounds", true]],
        gains.map((time) => [time.workload, number.factor(time.over_baseline.x), number.factor(time.over_baseline.low),
          number.factor(time.over_baseline.high), number.whole(time.over_baseline.rounds)])),
    });
    const spread = (timing) => !timing ? "–" : timing.n < 2 ? number.us(timing.us) : [number.us(timing.us), el("br"), el("span", { class: "soft" },
      timing.p10.toPrecision(4) + " – " + timing.p90.toPrecision(4))];
    const libraries = data.libraries?.times || [];
    const libraryAt = (time) => {
      const library = libraries.find((one) => one.workload === time.workload);
      return library ? el("span", {}, spread(library), el("br"), el("span", { class: "soft" }, library.name)) : "–";
    };
    const row = (time) => {
      const workload = data.workloads.find((one) => one.name === time.workload);
      const champion = workload?.champion;
      return [el("span", {}, time.workload, el("br"), el("span", { class: "soft" }, workload ? workload.shape : "")),
        el("span", {}, spread(time.baseline)), el("span", {}, spread(time.own)), number.whole(time.own.n),
        time.over_baseline ? number.factor(time.over_baseline.x) : "–", ...(libraries.length ? [libraryAt(time)] : []),
        number.whole(time.gb_per_s),
        time.of_copy_rate > 0 ? number.share(time.of_copy_rate) : "?", number.fixed(time.tflop_per_s, 2),
        time.floor_us > 0 ? el("span", {}, number.us(time.floor_us), el("br"), el("span", { class: "soft" }, time.limit)) : "?",
        champion ? el("span", {}, kern.candidate(champion.ordinal), " ", number.factor(champion.speedup)) : "–"];
    };
    kern.fill("times-table", kern.table("Medians with 10th and 90th percentile, " + kern.measured(best.is_modelled) + " on " +
      data.run.device + (libraries.length ? `; libraries on ${data.libraries.date} on a device of this kind (torch ` +
      `${data.libraries.torch}), not paired with these` : "") + "; rates count the task’s compulsory work only; a floor is modelled from the maker’s peaks.",
    [["workload"], ["baseline " + name, true], ["best #" + best.ordinal, true], ["n", true], ["×", true],
      ...(libraries.length ? [["fastest library", true]] : []), ["GB/s", true], ["of copy rate", true], ["TFLOP/s", true], ["floor", true], ["champion", true]], best.times.map(row)));
  });

  function roofLines(data, low, high) {
    const roofs = data.roofs, lines = [];
    const ceiling = roofs.peak_tflop_per_s > 0 ? roofs.peak_tflop_per_s : Infinity;
    const slope = (rate, label, dash) => {
      if (!(rate > 0)) return;
      const points = [low, Math.min(high, (1e3 * ceiling) / rate), high]
        .map((x) => ({ x, y: Math.min(ceiling, (x * rate) / 1e3) }));
      lines.push({ type: "line", label, data: points, showLine: true, pointRadius: 0, pointHitRadius: 0, borderColor: kern.color("soft"),
        borderWidth: 1.5, borderDash: dash, pointStyle: "line" });
    };
    slope(roofs.peak_gb_per_s, `peak ${number.whole(roofs.peak_gb_per_s)} GB/s, ${number.whole(roofs.peak_tflop_per_s)} TFLOP/s (maker’s figures, highest clock)`, []);
    slope(roofs.copy_gb_per_s, `copy rate ${number.whole(roofs.copy_gb_per_s)} GB/s (${kern.measured(data.run.is_modelled)})`, [5, 4]);
    return lines;
  }

  kern.views.push(function (data) {
    const baseline = data.baseline?.ordinal, best = data.best?.ordinal;
    const points = (elites) => elites.flatMap((elite) => elite.times.filter((time) => time.flop_per_byte > 0 && time.tflop_per_s > 0)
      .map((time) => ({ x: time.flop_per_byte, y: time.tflop_per_s, elite, time })));
    const others = points(data.elites.filter((elite) => elite.ordinal !== best && elite.ordinal !== baseline));
    const all = points(data.elites);
    if (all.length === 0) {
      kern.fill("roofline-lead", "Nothing has been timed yet, or the task counts no work.");
      return kern.chart("roofline-chart", null);
    }
    const low = Math.min(...all.map((point) => point.x)) / 4, high = Math.max(400, 2 * Math.max(...all.map((point) => point.x)));
    const floor = data.best ? data.best.times.filter((time) => time.of_floor > 0).map((time) => time.of_floor) : [];
    kern.fill("roofline-lead", "Every elite at every workload: what it computes per byte that must be moved, against the rate it reaches. ",
      floor.length ? `The best stands at ${number.share(Math.min(...floor))} to ${number.share(Math.max(...floor))} of its highest roof.` : "");
    const set = (label, list, color, pointStyle, pointRadius) => ({ label, data: list, pointStyle, pointRadius, borderColor: color,
      backgroundColor: color, showLine: false });
    const own = points(data.elites.filter((elite) => elite.ordinal === best));
    const before = best === baseline ? [] : points([data.baseline].filter(Boolean));
    kern.chart("roofline-chart", {
      caption: `Roofline, ${kern.measured(data.run.is_modelled)} rates`,
      label: `Scatter: ${data.elites.length} elites at ${data.workloads.length} workloads under the roofs of ${data.run.device}.`,
      height: 420, type: "scatter",
      data: { datasets: [set(`best #${best}`, own, kern.color("accent"), "rectRot", 8),
        ...(before.length ? [set(`baseline #${baseline}`, before, kern.color("warm"), "rect", 6)] : []),
        ...(others.length ? [set("other elites", others, kern.color("faint"), "circle", 4)] : []), ...roofLines(data, low, high)] },
      options: {
        scales: { x: kern.axis("intensity, FLOP per compulsory byte", { type: "logarithmic", min: low, max: high }),
          y: kern.axis("TFLOP/s of compulsory work", { type: "logarithmic" }) },
        plugins: { tooltip: { callbacks: { label: ({ raw }) => raw.elite ? `#${raw.elite.ordinal} at ${raw.time.workload}: ` +
          `${number.us(raw.time.own.us)}, ${number.fixed(raw.y, 2)} TFLOP/s, ${number.whole(raw.time.gb_per_s)} GB/s` : "" } } },
      },
      table: kern.table("Rates of every elite", [["elite"], ["workload"], ["FLOP/byte", true], ["TFLOP/s", true], ["GB/s", true],
        ["of its roof", true]], all.slice(0, 600).map(({ elite, time }) => ["#" + elite.ordinal, time.workload,
        number.fixed(time.flop_per_byte, 2), time.tflop_per_s.toPrecision(3), number.whole(time.gb_per_s),
        time.of_floor > 0 ? number.share(time.of_floor) : "?"])),
    });
  });
}
