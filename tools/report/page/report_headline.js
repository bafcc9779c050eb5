// SPDX-License-Identifier: Apache-2.0
// The first screen: what the best kernel is, how much faster, how sure that is, and why.
"use strict";

{
  const { el, fill, number } = kern;

  const mark = (isGood, ...children) => el("li", { class: isGood === null ? null : isGood ? "yes" : "no" }, ...children);

  function context(data) {
    const run = data.run;
    return el("p", { class: "context" }, el("strong", {}, run.task), run.title ? ": " + run.title : "", " on ",
      run.device || "no device yet", " ", run.device ? kern.tag(run.is_modelled) : null, "; the run is ",
      el("strong", {}, run.state), run.end ? `: it ${kern.brief(run.end, 200)}` : "");
  }

  /** "the best of the 2 seeds it began with (#2 split_kv.cu)". */
  function baselineWords(data) {
    const all = data.run.seeds.length, timed = all - data.run.seeds_untimed.length, baseline = data.baseline;
    const which = baseline ? ` (#${baseline.ordinal} ${kern.brief(baseline.summary.replace(/^seed /, ""), 40)})` : "";
    if (timed < all) return (timed > 1 ? `the best of the ${timed} seeds` : "the only seed") + " that could be timed" + which;
    return (all > 1 ? `the best of the ${all} seeds it began with` : "the seed it began with") + which;
  }

  /** Words of engine/core/time_verdict.h. */
  const noDuelWords = (seed) => ["not_modelled", "deadline"].includes(seed.reason) ?
    "passes every check and has no time here" : "passed its examination and was refused in stage time";

  /** Seeds of the task that nobody timed in this run: it was not given them, they have no time on its device, or were refused while timed. */
  function leftOut(data) {
    const names = data.run.seeds_left_out;
    const words = names.length === 0 ? [] :
      [` Left out of this run: the task’s ${names.length === 1 ? "seed" : "seeds"} ${names.join(", ")}, which may be as fast.`];
    for (const seed of data.run.seeds_untimed)
      words.push(` Left out of all duels: #${seed.ordinal} ${kern.brief(seed.seed, 40)}, which ${noDuelWords(seed)}` +
        ` (${seed.reason}: ${kern.brief(seed.message, 240)}).`);
    return words.length === 0 ? null : el("strong", { class: "bad" }, words);
  }

  const beyondSeeds = (data) => kern.plural(Math.max(0, data.counters.told - data.spent.seeds), "candidate") + " beyond " +
    kern.plural(data.spent.seeds, "seed");

  const verdict = (factor, claim, ...interval) => el("div", { class: "verdict" }, el("h1", {}, el("span", { class: "factor" }, factor),
    el("span", { class: "claim" }, claim)), el("p", { class: "interval" }, ...interval));
  const times = (value) => [value, el("small", {}, "×")];

  /** A modelled gain of a size at which a device disagreed too often says nothing. */
  const isBelowError = (data) => Boolean(data.model_error) && !data.model_error.is_exceeded;

  function factorOf(data) {
    const best = data.best, baseline = data.baseline, told = beyondSeeds(data);
    if (!best || best.speedup <= 0)
      return data.run.seed_failure ? verdict("–", data.run.seeds_untimed.length ? "No seed has a time here, though some pass every check" :
        "No seed passed", kern.brief(data.run.seed_failure, 200)) :
        verdict("–", "No kernel has been proven and timed yet", told, " told so far.");
    if (baseline && baseline.ordinal === best.ordinal)
      return verdict(times("1"), `Nothing has beaten ${baselineWords(data)} yet`,
        `After ${told}; ${number.whole(data.counters.passed)} of all are right.`, leftOut(data));
    const gain = best.over_baseline, over = `geometric mean over ${kern.plural(best.times.length, "workload")} by weight`;
    const claim = `the speed of ${baselineWords(data)}, by kernel #${best.ordinal}`;
    if (best.is_modelled || !gain)
      return verdict(times(number.factor(best.speedup).slice(0, -1)), claim, el("strong", { class: "bad" }, "Modelled"),
        ` by the virtual GPU from what the kernels execute, not measured on a device; ${over}.`,
        isBelowError(data) ? el("strong", {}, " Less than the model can tell from none: it may be no gain at all.") : null, leftOut(data));
    return verdict(times(number.factor(best.speedup).slice(0, -1)), claim, el("strong", {}, `${number.percentInterval(gain)} ` +
      `${kern.interval(gain)}`), `, measured; ${over}, n = ${kern.plural(gain.rounds, "paired round")} in ${kern.plural(gain.duels, "duel")}.`, leftOut(data));
  }

  /** The best is the baseline itself: nothing to compare it with. */
  const isUnbeaten = (data) => Boolean(data.baseline) && data.baseline.ordinal === data.best.ordinal;

  /** How near the best is to what the device can do at most. */
  function roomLeft(best) {
    const shares = best.times.map((time) => time.of_floor).filter((share) => share > 0);
    if (shares.length === 0) return null;
    const low = number.share(Math.min(...shares)), high = number.share(Math.max(...shares));
    return el("li", {}, "at ", low === high ? low : `${low} to ${high}`, " of its roofs, by the maker’s figures");
  }

  function whatCard(data) {
    const best = data.best;
    const timed = isUnbeaten(data) ? [] : best.times.filter((time) => time.over_baseline);
    const byGain = [...timed].sort((a, b) => b.over_baseline.x - a.over_baseline.x);
    const line = (time) => number.us(time.baseline.us) + " → " + number.us(time.own.us) + " at " + time.workload;
    return el("div", { class: "card" }, el("h2", {}, "Which kernel"),
      el("p", {}, el("strong", {}, "#" + best.ordinal), " ", el("code", {}, best.id.slice(0, 8)), ", by ", best.operator,
        best.endpoint ? " with " + best.endpoint : "", best.parent ? " from #" + best.parent : "", "."),
      el("ul", {},
        data.best_words.map((words) => el("li", {}, kern.brief(words, 150))),
        byGain.length > 1 && byGain[0].baseline ? el("li", {}, "most: ", number.factor(byGain[0].over_baseline.x), ", ",
          line(byGain[0])) : null,
        byGain.length > 0 && byGain.at(-1).baseline ? el("li", {}, byGain.length > 1 ? "least: " : "",
          number.factor(byGain.at(-1).over_baseline.x), ", ", line(byGain.at(-1))) : null,
        roomLeft(best)),
      el("p", {}, el("a", { href: "#source" }, "Source and what changed")));
  }

  /** What a time model shows is no proof: how far it is off, and what that leaves of the gain. */
  function proofByModel(data, where) {
    const error = data.model_error;
    const marks = [mark(false, "Not measured: run it on a GPU before you believe it"),
      error ? mark(null, `The time model is ${error.words}`) : mark(null, "Nobody has compared the time model with such a device")];
    if (isUnbeaten(data)) return marks;
    if (error)
      marks.push(mark(error.is_exceeded ? null : false, error.agreement[0].toUpperCase() + error.agreement.slice(1),
        error.is_exceeded ? "" : `: a gain of ${number.share(Math.abs(data.best.speedup - 1))} cannot be told from none`));
    const timed = data.best.times.filter((time) => time.over_baseline);
    const below = error ? timed.filter((time) => time.over_baseline.x < error.least_told) : [];
    if (where) marks.push(mark(below.length ? false : null, "Less time by the model on ", where, below.length ? `, but less than it can tell from none on ` +
      `${below.length}: ` + below.slice(0, 3).map((time) => `${time.workload} ${number.factor(time.over_baseline.x)}`).join(", ") +
      (below.length > 3 ? ", …" : "") : ""));
    return marks;
  }

  function proofOfSpeed(data) {
    const best = data.best, gains = best.times.map((time) => time.over_baseline).filter(Boolean);
    const sure = gains.filter((gain) => gain.low > 1).length;
    const marks = [];
    const where = sure < gains.length ? `${sure} of ${gains.length} workloads` : sure === 1 ? "its workload" : `every one of ${sure} workloads`;
    if (best.is_modelled) return proofByModel(data, gains.length ? where : null);
    if (gains.length && !isUnbeaten(data)) marks.push(mark(sure === gains.length, "Faster on ", where, ": whole interval above 1×"));
    if (isUnbeaten(data))
      marks.push(mark(null, kern.plural(best.proof.duels, "duel"), " with the other seeds and with itself"));
    else if (best.proof.confirmations > 0)
      marks.push(mark(true, "Confirmed in a fresh process with fresh inputs (", kern.plural(best.proof.duels, "duel"), ")"));
    else marks.push(mark(null, "First of its cell: ", kern.plural(best.proof.duels, "duel"), ", none to confirm it"));
    if (data.null_half_width > 0)
      marks.push(mark(null, "A kernel against itself: within ", number.fixed(100 * Math.expm1(data.null_half_width), 2), " %"));
    return marks;
  }

  function proofOfRightness(data) {
    const proof = data.best.proof, marks = [];
    // Each output is compared row by row: the rows are the same ones.
    const rows = Math.max(0, ...proof.checks.map((check) => check.rows));
    const gated = proof.checks.filter((check) => check.gate_row > 0);
    const worst = Math.max(0, ...gated.map((check) => check.worst_row / check.gate_row));
    const trials = Math.max(0, ...proof.checks.map((check) => check.trials));
    if (rows > 0)
      marks.push(mark(true, "Right: ", kern.plural(rows, "row"), " in ", kern.plural(trials, "trial"),
        proof.checks.length > 1 ? ` of each of ${proof.checks.length} outputs` : "", " against the float64 reference", gated.length ? ", worst error " + number.share(worst) + " of its gate" : ""));
    const unchecked = proof.stages.filter((stage) => stage.outcome === "unchecked").map((stage) => stage.stage +
      (stage.remark ? ` (${kern.brief(stage.remark, 70)})` : ""));
    if (unchecked.length) marks.push(mark(null, "Not looked at: ", unchecked.join(", ")));
    if (proof.judgement.startsWith("flagged")) marks.push(mark(false, "A model has doubts: ", proof.judgement));
    if (proof.claims_not_executed.length)
      marks.push(mark(false, "Its summary claims what the code does not do: ", proof.claims_not_executed.join(", ")));
    return marks;
  }

  const k_ends = { reply: "replies gave no candidate", duplicate: "compiled to known code", unfinished: "were left unfinished",
    placing: "were right and no faster than the elite of their cell" };

  /** Where most proposals ended, and who came nearest. */
  function whyNothingCard(data) {
    const seeds = (step) => (step.step === "reply" ? data.spent.seeds : 0);  // nobody proposed them
    const ends = data.spent.model_calls > 0 ? k_ends : { ...k_ends, reply: "proposals gave no candidate" };
    const lost = [...data.funnel].sort((a, b) => b.ended - a.ended).filter((step) => step.ended > 0).slice(0, 3);
    const nearest = [...data.elites].filter((elite) => elite.ordinal !== data.best.ordinal && elite.speedup > 0)
      .sort((a, b) => b.speedup - a.speedup)[0];
    return el("div", { class: "card" }, el("h2", {}, "Why nothing is faster"), el("ul", {},
      nearest ? el("li", {}, "nearest of another kind: #" + nearest.ordinal + " at " + number.factor(nearest.speedup)) : null,
      lost.map((step) => el("li", {}, `${number.whole(step.ended)} of ${number.whole(step.reached - seeds(step))} ${ends[step.step] || "failed at " + step.step} (` +
        step.reasons.slice(0, 2).map((reason) => reason.reason).join(", ") + ")"))));
  }

  /** Where one step gained and what accounts for it: "#42 by tune 1.006×, at a workload: launch combine is gone: 4.88 us". */
  function stepReason(step, factsMost) {
    const facts = step.facts.filter((fact) => fact.worth_us === null || Math.abs(fact.worth_us) > 0.1 * Math.abs(step.before_us - step.after_us));
    return [el("strong", {}, `#${step.child} ${number.factor(step.gain.speedup)}`), ` by ${step.operator}`, step.workload ? `, at ${step.workload} ` +
      `${number.us(step.before_us)} → ${number.us(step.after_us)}` : "", facts.length ? ": " : "",
    facts.slice(0, factsMost).map((fact) => `${kern.brief(fact.words, 150).replace(/(\d) us\b/g, "$1 µs")} (${fact.source})`).join("; ")];
  }

  /** A tuner's words say no more than the step does. */
  const quote = (best) => best.summary && best.endpoint ?
    el("p", { class: "quote" }, "Its author: “", kern.brief(best.summary, 110), "”") : null;

  function whyCard(data) {
    if (isUnbeaten(data)) return whyNothingCard(data);
    const reasons = data.reasons, lines = [];
    const add = (...children) => lines.push(el("li", {}, ...children));
    const steps = reasons.steps.map((step) => "#" + step.ordinal +
      (step.over_parent ? " " + number.factor(step.over_parent.x) : step.operator === "seed" ? " seed" : ""));
    // What it changed in kind comes first, then what each step did.
    if (reasons.bottleneck_before && reasons.bottleneck_before !== reasons.bottleneck_after)
      add("limit: ", reasons.bottleneck_before, " → ", reasons.bottleneck_after);
    if (reasons.copy_share_before > 0 && reasons.copy_share_after > 0 && data.why.length < 2)
      add("share of the copy rate: ", number.share(reasons.copy_share_before), " → ", number.share(reasons.copy_share_after));
    if (steps.length > 1) add("step by step: ", (steps.length > 5 ? "… → " : "") + steps.slice(-5).join(" → "));
    for (const step of data.why) add(...stepReason(step, data.why.length > 2 ? 1 : 2));
    // In what kind the code differs, over all of its kernels: no occupancy and no counts of text, which can be another
    // launch's or another workload's than the one that the lines above tell of.
    const kinds = reasons.changes.filter((change) => !change.startsWith("occupancy"))
      .map((change) => change.replace("->", "→"));
    if (kinds.length) add("the code is of another kind: ", kinds.slice(0, 4).join(", "));
    if (data.why.some((step) => step.explained === "uncounted"))
      add("no hardware counters prove which of it is the cause: kernelites profile counts");
    return el("div", { class: "card" }, el("h2", {}, "Why it is faster"),
      lines.length ? el("ul", {}, lines) : el("p", {}, "It is what the run began with."),
      quote(data.best));
  }

  function figures(data) {
    const { counters, spent, limits, metrics } = data;
    const of = (limit, text) => (limit > 0 ? el("small", {}, " of " + text(limit)) : null);
    const rows = [
      ["Beyond the seeds", number.whole(spent.candidates), of(limits.candidates, number.whole)],
      ["Right", number.whole(counters.passed), el("small", {}, " of " + number.whole(counters.candidates))],
      ["Cells filled", number.whole(metrics.num_elites), el("small", {}, " of " + number.whole(data.cells))],
      ["Model calls", number.whole(spent.model_calls), null],
      ["Money", number.usd(spent.usd), of(limits.usd, number.usd)],
      ["Device time", number.duration(spent.device_s), of(limits.device_s, number.duration)],
      ["Wall clock", number.duration(spent.wall_s), of(60 * limits.minutes, number.duration)],
    ];
    return el("dl", { class: "figures" }, rows.map(([name, value, limit]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value, limit))));
  }

  kern.views.push(function (data) {
    document.getElementById("run-task").textContent = data.run.task;
    const isProven = data.best && data.best.speedup > 0;
    fill("headline", el("div", { class: "hero" }, context(data), factorOf(data),
      isProven ? el("div", { class: "answers" }, whatCard(data),
        el("div", { class: "card" }, el("h2", {}, "How sure"), el("ul", {}, proofOfSpeed(data), proofOfRightness(data))),
        whyCard(data)) : null), figures(data));
    const run = data.run;
    fill("provenance", "Run ", el("code", {}, run.folder), " begun ", new Date(1000 * run.started_unix_s).toISOString()
      .slice(0, 16).replace("T", " "), " UTC, seed ", run.seed, ", ", run.strategy, "; task ", el("code", {},
      run.task_digest.slice(0, 12)), ", harness ", run.harness_version || "?", ", ", run.toolkit || "no toolkit", ", ",
      run.device, run.driver_version ? ", driver for CUDA " + Math.floor(run.driver_version / 1000) + "." +
        Math.floor((run.driver_version % 1000) / 10) : "", ".");
  });
}
