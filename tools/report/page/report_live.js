// SPDX-License-Identifier: Apache-2.0
// Begins to draw; where the page is served, follows the run and, if that was allowed, steers it.
"use strict";

{
  const { el } = kern;

  /** The line shows every reading; `spoken`, which is read aloud, changes only when something happened. */
  function say(text, spoken, isOff) {
    const line = document.getElementById("live"), status = document.getElementById("live-spoken");
    line.hidden = false;
    line.textContent = text;
    line.classList.toggle("is-off", Boolean(isOff));
    if (status.textContent !== spoken) status.textContent = spoken;
  }

  function spoken() {
    const best = kern.data.best;
    return `The run is ${kern.data.run.state}` + (best && best.speedup > 0 ? `, the best is #${best.ordinal} at ` +
      kern.number.factor(best.speedup) : "");
  }

  function follow() {
    const events = new EventSource("events");
    events.addEventListener("facts", (event) => {
      kern.data = JSON.parse(event.data);
      kern.render();
      say("live · " + new Date().toLocaleTimeString() + " · " + kern.data.run.state, spoken());
    });
    events.addEventListener("problem", (event) => say(JSON.parse(event.data), JSON.parse(event.data), true));
    events.addEventListener("error", () => say("connection lost, trying again", "connection lost", true));
    events.addEventListener("open", () => say("live · " + kern.data.run.state, spoken()));
  }

  const token = () => document.getElementById("steer-token").value.trim();

  /** What the form began from: what somebody else writes meanwhile is not overwritten. */
  let revision = "", began = {};

  async function send(steering) {
    const answer = document.getElementById("steer-answer");
    answer.textContent = "sending";
    const reply = await fetch("steer", { method: "POST", headers: { "Content-Type": "application/json", "X-Kernelites-Token": token(),
      "X-Kernelites-Steering": revision }, body: JSON.stringify(steering) }).catch((error) => ({ ok: false, text: async () => String(error) }));
    if (reply.ok) ({ revision } = await reply.json());
    answer.textContent = reply.ok ? "steer.json is written; the run looks at it at once" : "refused: " + (await reply.text());
  }

  /** What the form says, over what steer.json says of members that the form does not show. */
  function steering() {
    const lines = (id) => document.getElementById(id).value.split("\n").map((line) => line.trim()).filter(Boolean);
    const next = { ...began };
    for (const [name, values] of [["hints", lines("steer-hints")], ["focus_cells", lines("steer-cells")]]) {
      delete next[name];
      if (values.length) next[name] = values;
    }
    delete next.pause;
    delete next.stop;  // of an earlier session: only the button stops a run
    if (document.getElementById("steer-pause").checked) next.pause = true;
    return next;
  }

  function steerForm() {
    const section = document.getElementById("steer"), now = kern.data.steering;
    section.hidden = false;
    [revision, began] = [kern.data.steering_revision, now];
    // The token comes behind the # of the address, which no browser sends anywhere.
    const given = new URLSearchParams(location.hash.slice(1)).get("token") || "";
    if (given) history.replaceState(null, "", location.pathname);
    section.replaceChildren(el("h2", { id: "steer-title" }, "Steer"),
      el("p", { class: "lead" }, "Writes steer.json in the run’s folder; every change is an event of the run."),
      el("form", { submit: (event) => { event.preventDefault(); send(steering()); } },
        el("label", { for: "steer-token" }, "Token"), el("input", { id: "steer-token", type: "password", autocomplete: "off", value: given }),
        el("label", { for: "steer-hints" }, "Hints, one a line"), el("textarea", { id: "steer-hints" }, (now.hints || []).join("\n")),
        el("label", { for: "steer-cells" }, "Cells to aim at, one a line"), el("textarea", { id: "steer-cells" }, (now.focus_cells || []).join("\n")),
        el("label", { for: "steer-pause" }, "Pause"), el("span", {}, el("input", { id: "steer-pause", type: "checkbox", checked: now.pause || null })),
        el("div", { class: "wide-row" }, el("button", { class: "button primary", type: "submit" }, "Steer"),
          el("button", { class: "button", type: "button", click: () => {
            if (confirm("Stop the run? What is under way ends first.")) send({ ...steering(), stop: true });
          } }, "Stop the run"),
          el("span", { id: "steer-answer", role: "status" }))));
  }

  function begin() {
    kern.data = JSON.parse(document.getElementById("run-data").textContent);
    kern.render();
    if (kern.data.live) follow();
    if (kern.data.live && kern.data.live.can_steer) steerForm();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => kern.render());
    const print = (isPrinting) => () => {
      kern.isPrinting = isPrinting;
      kern.render();
    };
    addEventListener("beforeprint", print(true));
    addEventListener("afterprint", print(false));
    document.documentElement.dataset.drawn = "yes";
  }

  begin();
}
