#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The report of ten thousand candidates, and a live page, in a real browser: what a person sees, hears and presses."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path

from chromium import BrowserError, Page, find_browser

HOSTILE = "</script><img src=x onerror=\"window.hacked=1\"><svg onload='window.hacked=2'>{{data}}<!-- \u2028 &lt;"
SHARED_BYTES_MIN = 512 << 20
LOAD_S_MAX = 2
REPORT_S_MAX = 3
CHARTS = ("times-chart", "best-chart", "qd-chart", "roofline-chart", "arms-chart")
# Of a canvas: how many of its pixels are not empty.
INK = """(() => { const canvas = document.querySelector('#%s canvas');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let ink = 0; for (let i = 3; i < data.length; i += 4) ink += data[i] > 0; return ink; })()"""
# Contrast of an element's text with the page behind it, by WCAG 2.
CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (color, under) => { canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1); canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3); };
  const light = (color) => color.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const page = getComputedStyle(document.body).backgroundColor;
  const low = [];
  const texts = 'p, h1, h2, li, th, td, dt, dd, b, button, a, summary, small, figcaption, .tag';
  for (const node of document.querySelectorAll(texts)) {
    if (!node.innerText || !node.innerText.trim() || !node.getClientRects().length) continue;
    let behind = page;
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
    for (const layer of layers) behind = 'rgb(' + rgb(layer, behind).join(',') + ')';
    const a = light(rgb(getComputedStyle(node).color, behind)), b = light(rgb(behind, behind));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(node.tagName + ' ' + node.innerText.slice(0, 20) + ' ' + ratio.toFixed(2));
  }
  return low.slice(0, 5).join('; '); })()"""


class Rig:
    """Programs, folders and one browser page that all facts share."""

    def __init__(self, options, folder):
        self.options, self.folder = options, Path(folder)
        self.page = None
        self.report_s = self.report_cpu_s = 0

    def fill(self, name, *arguments):
        """A run folder of dice."""
        run = self.folder / name
        subprocess.run([self.options.large_run, run, "--small", *arguments], check=True, timeout=100)
        return run

    def report(self, run):
        """The report's file as an address."""
        before, begin = os.times(), time.monotonic()
        subprocess.run([self.options.program, "report", run], check=True, timeout=60, stdout=subprocess.DEVNULL)
        self.report_s, after = time.monotonic() - begin, os.times()
        # On a busy machine it also waits for others: what it took itself is what is compared.
        self.report_cpu_s = sum(after[2:4]) - sum(before[2:4])
        return (run / "report.html").as_uri()


def expect(holds, words):
    """Fails the fact with what was seen."""
    if not holds:
        raise AssertionError(words)


def large_report_is_quick_and_whole(rig):
    """A report of 10,000 candidates is written in 3 s, loads in 2 s, and draws every chart without a complaint."""
    page = rig.page
    address = rig.report(rig.fill("large", "--variations", "10000"))
    page.size(1280, 800)
    page.scheme("light")
    load_s = page.go(address)
    own_s = page.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart") / 1000
    print(f"report {rig.report_s:.2f} s ({rig.report_cpu_s:.2f} s of a processor), "
          f"page drawn after {load_s:.2f} s (load event {own_s:.2f} s)")
    expect(rig.report_cpu_s < REPORT_S_MAX, f"report took {rig.report_cpu_s:.1f} s")
    expect(max(load_s, own_s) < LOAD_S_MAX, f"loading took {load_s:.1f} s")
    expect(page.problems == [], f"the console says {page.problems}")
    for chart in CHARTS:
        expect(page.evaluate(INK % chart) > 500, f"{chart} is empty")
    expect(page.evaluate("document.querySelectorAll('#lineage-graph circle').length") > 20, "no lineage")


def page_asks_for_nothing(rig):
    """Nothing but the file itself is asked for."""
    expect(len(rig.page.requests) == 1, f"it asked for {rig.page.requests}")


def first_screen_answers(rig):
    """Which kernel, how much faster, how sure and why stand on the first screen."""
    seen = rig.page.evaluate("""(() => { const hero = document.querySelector('.hero'), data = kern.data;
      return { text: hero.innerText, bottom: hero.getBoundingClientRect().bottom, high: innerHeight,
        best: data.best.ordinal, x: data.best.speedup.toFixed(3),
        low: data.best.over_baseline.low.toFixed(3) }; })()""")
    expect(seen["bottom"] <= seen["high"], f"it ends at {seen['bottom']} of {seen['high']}")
    for words in (f"#{seen['best']}", seen["x"], seen["low"], "interval", "measured", "How sure", "Why it is faster",
                  "float64 reference", "step by step"):
        expect(words in seen["text"], f"{words} is not in: {seen['text']}")


def heat_map_is_a_table_for_the_keyboard(rig):
    """Tab reaches a cell, arrows lead on, Enter shows the elite; cells have colours and numbers."""
    page = rig.page
    page.evaluate("document.querySelector('#grid-lead').tabIndex = -1, document.querySelector('#grid-lead').focus()")
    for _ in range(3):
        page.press("Tab", 9)
        if page.evaluate("document.activeElement.matches('.heat td button')"):
            break
    first = page.evaluate("document.activeElement.closest('.heat td button')?.dataset.ordinal")
    expect(first, "Tab does not reach the grid")
    page.press("ArrowDown", 40)
    second = page.evaluate("document.activeElement.dataset.ordinal")
    expect(second and second != first, "an arrow does not lead to another cell")
    page.press("Enter", 13)
    card = f"document.querySelector('#elite h3').innerText.includes('#{second}')"
    expect(page.wait_for(card, 5), "Enter shows nothing")
    expect(page.evaluate("document.activeElement.ariaPressed") == "true", "the cell is not pressed")
    colors = page.evaluate("new Set([...document.querySelectorAll('.heat tbody td:not(.empty)')].map((td) => "
                           "getComputedStyle(td).backgroundColor)).size")
    expect(colors > 3, f"{colors} colours")


def everything_has_a_name(rig):
    """Charts are spoken and have tables, controls have names, headings do not skip a level."""
    page = rig.page
    unnamed = page.evaluate("""[...document.querySelectorAll('canvas')].filter((canvas) =>
      !(canvas.ariaLabel || '').match(/\\d/) || !canvas.closest('figure').querySelector('details table')).length""")
    expect(unnamed == 0, f"{unnamed} charts without words or table")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "img", "textbox", "checkbox", "combobox", "region", "table", "Canvas"}
    silent = [node["role"]["value"] for node in nodes if not node.get("ignored")
              and node.get("role", {}).get("value") in roles - {"table"} and not node.get("name", {}).get("value")]
    expect(silent == [], f"without a name: {silent}")
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.tagName[1]))")
    expect(all(after <= before + 1 for before, after in zip(levels, levels[1:])), f"headings {levels}")
    expect(page.evaluate("document.documentElement.lang") == "en", "no language")


def text_is_legible_in_both_schemes(rig):
    """Every text stands out 4.5 to 1, in light and in dark; the two differ."""
    page, backgrounds = rig.page, []
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        time.sleep(0.2)
        backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        low = page.evaluate(CONTRAST)
        expect(low == "", f"{scheme}: {low}")
    page.scheme("light")
    expect(backgrounds[0] != backgrounds[1], "dark is as light")


def narrow_screen_scrolls_down_only(rig):
    """On 400 pixels nothing is cut off at the side."""
    rig.page.size(400, 860)
    time.sleep(0.2)
    wide = rig.page.evaluate("document.documentElement.scrollWidth")
    rig.page.size(1280, 800)
    expect(wide <= 400, f"{wide} pixels wide")


def print_is_light(rig):
    """Printed in a dark scheme it is dark on white, without navigation."""
    page = rig.page
    page.scheme("dark", "print")
    seen = page.evaluate("[getComputedStyle(document.body).backgroundColor, "
                         "getComputedStyle(document.querySelector('.top')).display]")
    page.scheme("light")
    expect(seen == ["rgb(255, 255, 255)", "none"], f"{seen}")


def young_run_has_a_page(rig):
    """A run that has only begun, and one that has only its seeds, are drawn as such, without a complaint."""
    page = rig.page
    for name, option, words in (("bare", "--bare", "No kernel has been proven"),
                                ("seeds", "--variations=0", "Nothing has beaten the ")):
        page.go(rig.report(rig.fill(name, option)))
        expect(page.problems == [], f"the console says {page.problems}")
        expect(words in page.evaluate("document.querySelector('.hero').innerText"), f"not a word of it: {words}")


def modelled_page_claims_no_certainty(rig):
    """Modelled times get no tick and no interval, but what the model is off; the launch that is gone is why."""
    page = rig.page
    page.go(rig.report(rig.fill("modelled", "--variations", "60", "--modelled")))
    expect(page.problems == [], f"the console says {page.problems}")
    text = page.evaluate("document.querySelector('.hero').innerText")
    for words in ("Modelled", "Not measured: run it on a GPU", "The time model is off by",
                  "launch combine is gone: 4.88 µs (modelled)", page.evaluate("kern.data.best_words[0]")):
        expect(words in text, f"{words} is not in: {text}")
    ticks = page.evaluate("[...document.querySelectorAll('.answers li.yes')].map((li) => li.innerText)")
    expect(all(tick.startswith("Right:") for tick in ticks), f"sure of {ticks}")
    told = page.evaluate("['headline', 'times', 'grid'].map((id) => document.getElementById(id).innerText).join(' ')")
    for words in ("exact", "measured in its code", "interval"):
        expect(words not in told, f"a modelled page says {words}")
    bottom = page.evaluate("document.querySelector('.hero').getBoundingClientRect().bottom - innerHeight")
    expect(bottom <= 0, f"the first screen ends {bottom} below the window")


def model_text_stays_text(rig):
    """What a model wrote is shown letter by letter and becomes neither markup nor script."""
    page = rig.page
    run = rig.fill("hostile", "--variations", "120", "--text", HOSTILE)
    page.go(rig.report(run))
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    expect(page.evaluate("window.hacked === undefined"), "it ran")
    expect(page.evaluate("document.querySelectorAll('img, iframe, object, embed').length") == 0, "it became an element")
    for place, words in (("#elite", "</script><img src=x"), ("#source-text", "<svg onload=")):
        shown = page.evaluate(f"document.querySelector('{place}').innerText")
        expect(words in shown, f"{words} is not shown in {place}")
    expect(page.problems == [], f"the console says {page.problems}")


def policy_stops_what_got_in(rig):
    """Even a script in the file does not run, and the page may not reach the network."""
    page, file = rig.page, rig.folder / "hostile" / "report.html"
    text = file.read_text(encoding="utf-8")
    changed = rig.folder / "changed.html"
    changed.write_text(text.replace("</main>", "<script>window.hacked = 1</script></main>"), encoding="utf-8")
    page.go(changed.as_uri())
    expect(page.evaluate("window.hacked === undefined"), "it ran")
    expect(any("Content Security Policy" in problem for problem in page.problems), f"no refusal in {page.problems}")
    refused = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => String(error))")
    expect("TypeError" in refused, refused)
    expect(any("connect-src" in problem for problem in page.problems), f"{page.problems}")


def served(rig, run, *arguments):
    """The serving process and its address."""
    process = subprocess.Popen([rig.options.program, "report", run, "--serve", *arguments], text=True,
                               stdout=subprocess.PIPE)
    return process, process.stdout.readline().strip()


def live_page_follows_the_run(rig):
    """While a run writes, the page draws what comes in, without being loaded again."""
    run = rig.folder / "live"
    writer = subprocess.Popen([rig.options.large_run, run, "--small", "--variations", "150", "--pause-ms", "40"])
    deadline = time.monotonic() + 20
    while not (run / "run.db").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    server, address = served(rig, run)
    try:
        rig.page.go(address)
        first = rig.page.evaluate("kern.data.counters.told")
        expect(rig.page.wait_for(f"kern.data.counters.told > {first}", 20), f"it stays at {first}")
        expect(writer.wait(60) == 0, "the run was disturbed")
        expect(rig.page.wait_for("kern.data.run.state === 'stopped'", 20), "it does not see the end")
        told = rig.page.evaluate("kern.data.counters.told")
        figures = rig.page.evaluate("document.querySelector('.figures').innerText")
        expect(f"of {told:,}" in figures, f"the figures are old: {figures}")
        spoken = rig.page.evaluate("document.getElementById('live-spoken').innerText")
        expect("stopped" in spoken and "best is #" in spoken, f"it is told as: {spoken}")
        expect("live" in rig.page.evaluate("document.getElementById('live').innerText"), "it does not say 'live'")
        expect(rig.page.problems == [], f"the console says {rig.page.problems}")
        expect(rig.page.evaluate("document.getElementById('steer').hidden"), "it offers to steer")
    finally:
        server.terminate()
        server.wait(10)
        writer.kill()
        writer.wait(10)


def page_steers_with_its_token(rig):
    """The form writes steer.json with the address's token, and the token leaves the address bar."""
    run = rig.folder / "live"
    server, address = served(rig, run, "--steer")
    page = rig.page
    try:
        page.go(address)
        expect("token" not in page.evaluate("location.href"), "the token stays in the address")
        page.evaluate("document.getElementById('steer-hints').value = 'keys fit into registers'")
        page.evaluate("document.querySelector('#steer form').requestSubmit()")
        expect(page.wait_for("document.getElementById('steer-answer').innerText.includes('is written')", 10),
               page.evaluate("document.getElementById('steer-answer').innerText"))
        expect("keys fit into registers" in (run / "steer.json").read_text(encoding="utf-8"), "nothing was written")
        request = urllib.request.Request(address.split("#")[0] + "steer", data=b"{}", method="POST",
                                         headers={"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=10)
            expect(False, "it takes steering without a token")
        except urllib.error.HTTPError as error:
            expect(error.code == 403, f"status {error.code}")
    finally:
        server.terminate()
        server.wait(10)


FACTS = (large_report_is_quick_and_whole, page_asks_for_nothing, first_screen_answers,
         heat_map_is_a_table_for_the_keyboard, everything_has_a_name, text_is_legible_in_both_schemes,
         narrow_screen_scrolls_down_only, print_is_light, young_run_has_a_page, modelled_page_claims_no_certainty,
         model_text_stays_text, policy_stops_what_got_in, live_page_follows_the_run, page_steers_with_its_token)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="kernelites")
    parser.add_argument("--large-run", required=True, help="the program that makes runs")
    parser.add_argument("--only", help="facts whose names contain this")
    options = parser.parse_args()
    browser = find_browser()
    if browser is None:
        print("no Chromium here: tools/setup installs Debian's; elsewhere put one of its names into PATH")
        print("0 passed, 1 failed")
        return 1
    passed = failed = 0
    memory = "/dev/shm"  # the dice need no disk; in a container it may be small
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < SHARED_BYTES_MIN:
        memory = None
    with tempfile.TemporaryDirectory(prefix="kernelites_web_", dir=memory) as folder, Page(browser) as page:
        rig = Rig(options, folder)
        rig.page = page
        for fact in FACTS:
            if options.only and options.only not in fact.__name__:
                continue
            begin = time.monotonic()
            try:
                fact(rig)
                passed += 1
                print(f"{fact.__name__}: {time.monotonic() - begin:.1f} s")
            except (AssertionError, BrowserError, subprocess.SubprocessError, OSError) as error:
                failed += 1
                print(f"FAILED {fact.__name__}: {error}")
                traceback.print_exc()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
