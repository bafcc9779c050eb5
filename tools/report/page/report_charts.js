// SPDX-License-Identifier: Apache-2.0
// Charts of the page: one canvas each with a spoken summary and its figures as a table beneath.
"use strict";

{
  const { el, number } = kern;

  /** Whiskers of each point (dataset.whiskers: [low, high] along the value axis) and a line at options.reference. */
  Chart.register({
    id: "kernWhiskers",
    beforeDatasetsDraw(chart, _args, options) {
      if (options.reference === undefined || options.reference === null) return;
      const { ctx, chartArea, scales, options: all } = chart;
      const isAcross = all.indexAxis === "y";
      const at = scales[isAcross ? "x" : "y"].getPixelForValue(options.reference);
      ctx.save();
      ctx.strokeStyle = kern.color("faint");
      ctx.setLineDash([4, 4]);
      ctx.beginPath();
      ctx.moveTo(isAcross ? at : chartArea.left, isAcross ? chartArea.top : at);
      ctx.lineTo(isAcross ? at : chartArea.right, isAcross ? chartArea.bottom : at);
      ctx.stroke();
      ctx.restore();
    },
    afterDatasetsDraw(chart) {
      chart.data.datasets.forEach((dataset, index) => {
        if (!dataset.whiskers || !chart.isDatasetVisible(index)) return;
        const { ctx, scales } = chart;
        ctx.save();
        ctx.strokeStyle = dataset.borderColor;
        ctx.lineWidth = 2;
        chart.getDatasetMeta(index).data.forEach((point, i) => {
          const whisker = dataset.whiskers[i];
          if (!whisker) return;
          const [low, high] = whisker.map((value) => scales.x.getPixelForValue(value));
          ctx.beginPath();
          ctx.moveTo(low, point.y); ctx.lineTo(high, point.y);
          for (const x of [low, high]) { ctx.moveTo(x, point.y - 4); ctx.lineTo(x, point.y + 4); }
          ctx.stroke();
        });
        ctx.restore();
      });
    },
  });

  /** Options that all charts share, in the colours of the moment. */
  function theme(options) {
    const soft = kern.color("soft"), grid = kern.color("grid");
    Chart.defaults.color = soft;
    Chart.defaults.borderColor = grid;
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 12;
    return {
      animation: false, responsive: true, maintainAspectRatio: false,
      ...options,
      plugins: {
        legend: { position: "top", align: "start", labels: { usePointStyle: true, boxHeight: 7, padding: 14 } },
        tooltip: { backgroundColor: kern.color("text"), titleColor: kern.color("page"), bodyColor: kern.color("page") },
        ...options.plugins,
      },
    };
  }
  kern.axis = (text, more) => ({ title: { display: true, text }, ...more });

  /**
   * Draws or draws anew the chart in the figure `id`. spec: caption, label (spoken), height in pixels, type, data,
   * options, table (a node). Of an empty spec the figure is emptied.
   */
  kern.chart = function (id, spec) {
    const figure = document.getElementById(id);
    kern.charts.get(id)?.destroy();
    kern.charts.delete(id);
    if (!spec) { figure.replaceChildren(); return; }
    const canvas = el("canvas", { role: "img", "aria-label": spec.label });
    const holder = el("div", { class: "canvas" }, canvas);
    holder.style.height = spec.height + "px";
    const folded = kern.folded(id + "-figures", spec.table);
    figure.replaceChildren(el("figcaption", {}, spec.caption), holder, folded);
    kern.charts.set(id, new Chart(canvas, { type: spec.type, data: spec.data, options: theme(spec.options || {}) }));
  };

  function progressChart(id, data, key, caption, unit, label, reference) {
    const { evaluations } = data.progress, values = data.progress[key];
    // Before the first kernel is proven there is no best: 0 would squeeze the curve.
    const points = evaluations.map((x, i) => ({ x, y: values[i] })).filter((point) => point.y > 0);
    if (points.length === 0) return kern.chart(id, null);
    kern.chart(id, {
      caption, label, height: 260, type: "line",
      data: { datasets: [{ label: caption, data: points, stepped: true, borderColor: kern.color("accent"), borderWidth: 2,
        backgroundColor: kern.color("accent-soft"), fill: key === "qd_score" ? "origin" : false, pointRadius: points.length < 3 ? 3 : 0,
        pointHitRadius: 8 }] },
      options: {
        parsing: false,
        interaction: { mode: "nearest", axis: "x", intersect: false },
        scales: { x: kern.axis("candidates beyond the seeds", { type: "linear", ticks: { precision: 0 }, min: 0 }),
          y: kern.axis(unit, { beginAtZero: key === "qd_score", grace: "5%" }) },
        plugins: { legend: { display: false }, kernWhiskers: { reference } },
      },
      table: kern.table(caption, [["candidates", true], [unit, true], ["cells filled", true]],
        sampled(evaluations.length, 60).map((i) => [number.whole(evaluations[i]), number.fixed(values[i], 3),
          number.whole(data.progress.elites[i])])),
    });
  }

  /** At most `count` indices of `length`, evenly spread, with the first and the last. */
  function sampled(length, count) {
    if (length <= count) return [...Array(length).keys()];
    return [...Array(count).keys()].map((i) => Math.round((i * (length - 1)) / (count - 1)));
  }

  kern.views.push(function (data) {
    const best = data.progress.best.at(-1) || 0, last = data.progress.evaluations.at(-1) || 0;
    const stale = data.stagnation;
    const forecast = stale.forecast_variations > 0 ? " By its history the next improvement takes about " +
      kern.plural(Math.max(1, stale.forecast_variations), "variation") + " (" + number.usd(stale.forecast_usd) + ", " +
      number.duration(stale.forecast_device_s) + " of the device): a guess." : "";
    kern.fill("progress-lead", kern.plural(stale.barren, "variation"), " since the fastest elite was last beaten.", forecast);
    const word = kern.measured(data.run.is_modelled);
    progressChart("best-chart", data, "best", "Best so far", "fitness, × the best seed (" + word + ")",
      `Line: the best fitness rises to ${number.factor(best)} after ${number.whole(last)} candidates, ${word}.`, 1);
    progressChart("qd-chart", data, "qd_score", "Quality and diversity (QD score)", "sum of fitness over cells (" + word + ")",
      `Line: the QD score rises to ${number.fixed(data.progress.qd_score.at(-1) || 0, 2)} with ` +
      `${data.metrics.num_elites} of ${data.cells} cells filled.`, null);
  });

  kern.views.push(function (data) {
    const rows = data.arms.filter((arm) => arm.variations > 0 && arm.operator_name !== "seed");
    const name = (arm) => arm.operator_name + (arm.endpoint ? " · " + arm.endpoint : "") +
      (arm.prompt_version ? " · " + arm.prompt_version.slice(0, 8) : "");
    const byGain = [...rows].sort((a, b) => b.gain_bits - a.gain_bits || b.variations - a.variations);
    const spent = data.spent, limits = data.limits;
    kern.fill("arms-lead", "An arm is an operator with an endpoint and a prompt; the bandit draws those most that bring most per " +
      "dollar. Gain is in bits: twice as fast is 1.");
    kern.fill("cost", el("p", {}, el("strong", {}, number.usd(spent.usd)), limits.usd > 0 ? " of " + number.usd(limits.usd) : "",
      " for ", kern.plural(spent.model_calls, "call"), ": ", number.tokens(spent.input_tokens), " tokens in (",
      number.tokens(spent.cached_input_tokens), " cached), ", number.tokens(spent.output_tokens), " out. ",
      el("strong", {}, number.duration(spent.device_s)), " of the device, ", number.duration(spent.worker_s),
      " of workers, ", number.duration(spent.wall_s), " on the wall clock."));
    const shown = byGain.slice(0, 16);
    kern.chart("arms-chart", shown.length === 0 ? null : {
      caption: "What each arm brought" + (byGain.length > shown.length ? `, the first ${shown.length} of ${byGain.length}` : ""),
      label: "Bars: " + shown.slice(0, 3).map((arm) => name(arm) + " " + number.fixed(arm.gain_bits, 3) + " bits").join(", "),
      height: 56 + 26 * shown.length, type: "bar",
      data: { labels: shown.map(name), datasets: [
        { label: "gain, bits", data: shown.map((arm) => arm.gain_bits), backgroundColor: kern.color("accent"), barThickness: 12 }] },
      options: { indexAxis: "y", scales: { x: kern.axis("bits of gain", { beginAtZero: true }), y: { grid: { display: false } } },
        plugins: { legend: { display: false } } },
      table: kern.table("Gain by arm", [["arm"], ["bits", true]], shown.map((arm) => [name(arm), number.fixed(arm.gain_bits, 3)])),
    });
    kern.fill("arms-table", kern.table(null, [["arm"], ["share now", true], ["asked", true], ["refused", true], ["right", true],
      ["elites", true], ["bits", true], ["bits per $", true], ["calls", true], ["tokens in", true], ["out", true], ["$", true],
      ["device", true]],
    [...byGain, ...data.arms.filter((arm) => arm.operator_name === "seed")].map((arm) => [name(arm), number.share(arm.share),
      number.whole(arm.variations), number.whole(arm.rejections), number.whole(arm.passed), number.whole(arm.elites),
      number.fixed(arm.gain_bits, 3), arm.recent_bits_per_usd === null ? "–" : number.fixed(arm.recent_bits_per_usd, 2), number.whole(arm.calls.calls),
      number.tokens(arm.calls.input_tokens), number.tokens(arm.calls.output_tokens), number.fixed(arm.calls.usd, 4),
      number.duration(arm.device_s)])));
  });
}
