# SPDX-License-Identifier: Apache-2.0
"""Requests for a worker's batch that enumerate and measure the spaces of tests/support/landscapes.

  landscape_requests.py examine OUT.jsonl                            every point, to stage check, on the virtual GPU
  landscape_requests.py duel EXAMINED.jsonl OUT.jsonl [DONE.jsonl]   times of what passed; DONE: less what is there
  landscape_requests.py model OUT.jsonl                              what passed, modelled by the virtual GPU
  landscape_requests.py modelled REPLIES.jsonl                       writes modelled_times.json of them
A point is the number of its tuning in the product of its kernel's tunables, the last one fastest. The order of points
is random and fixed, so that a batch that was cut off is an unbiased sample, and a later one takes up the rest."""

import hashlib
import itertools
import json
import random
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
ORDER = 20261125
MODELLED_ARMS = 8  # of a duel on the virtual GPU
POINTS_A_LINE = 3
REPEATED = 0.05  # of the points are timed in a second duel: for the noise


def document(task):
    """The task without its comments."""
    text = (ROOT / "tasks" / task / "task.json").read_text()
    return json.loads(re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*', lambda m: m.group(1) or "", text))


def reduced(task, space):
    """The task with the workloads, check shapes, families and properties of the landscape: thousands of points are
    examined, each of them on few inputs."""
    doc = document(task)
    doc["bench"] = [w for w in doc["bench"] if w["name"] in space["workloads"]]
    doc["check"] = [w for w in doc["check"] if w["name"] in space["check"]]
    doc["families"] = {name: f for name, f in doc["families"].items() if name in space["families"]}
    doc["properties"] = {name: p for name, p in doc["properties"].items() if name in space["properties"]}
    doc["hold_out"] = doc["hold_out"][:1]
    return doc


def tunables(source):
    found = re.findall(r"^// tune: (\w+) = (.*)$", source, re.M)
    return {name: [int(x) for x in values.split("|")] for name, values in found}


class Space:
    def __init__(self, name, space):
        self.name, self.space = name, space
        self.source = (HERE / space["kernel"]).read_text()
        self.tunables = tunables(self.source)
        self.tunings = [dict(zip(self.tunables, values)) for values in itertools.product(*self.tunables.values())]
        self.task = reduced(name, space)
        self.reference = (ROOT / "tasks" / name / "reference.cu").read_text()

    def request(self, kind, device, deadline_s, **what):
        return {"kernelites_request": 1, "device": device, "deadline_s": deadline_s, "task_document": self.task,
                "reference_source": self.reference, kind: what}

    def candidate(self, point):
        return {"source": self.source, "tuning": self.tunings[point]}


def key_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


def spaces():
    return {name: Space(name, space) for name, space in json.loads((HERE / "landscapes.json").read_text()).items()}


def all_points(by_name):
    points = [(name, i) for name, space in by_name.items() for i in range(len(space.tunings))]
    random.Random(ORDER).shuffle(points)
    return points


def replies(path):
    for line in Path(path).read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            pass  # a torn tail


def write(path, requests):
    with open(path, "w", encoding="utf-8") as out:
        for request in requests:
            out.write(json.dumps(request) + "\n")


def examine(out, limit=None):
    by_name = spaces()
    requests = []
    for name, point in all_points(by_name)[:limit]:
        space = by_name[name]
        # One key for all points of a kernel: all meet the same inputs and shapes, and the reference is compiled once.
        request = space.request("examine", "vgpu", 90, candidate=space.candidate(point), key=key_of(name),
                                is_reexamination=False, is_thorough=False, last_stage="check")
        requests.append({**request, "id": f"{name}/{point}"})
    write(out, requests)
    print(len(requests), "examinations")


def passed_points(examined):
    """Point -> what tells its code and launches from others', for those that passed to the end of stage check."""
    found = {}
    for reply in replies(examined):
        examination = reply.get("examination")
        if not examination or examination["verdict"]["reason"] != "stopped_as_asked":
            continue
        name, point = reply["id"].split("/")
        found[name, int(point)] = key_of(examination["code_digest"] + json.dumps(examination["plans"], sort_keys=True))
    return found


def timed_and_bad(done):
    """Points with times, and those that a duel could not use."""
    timed, bad = set(), set()
    for reply in replies(done) if done else ():
        duel, name = reply.get("duel"), reply["id"].split("/")[0]
        if not duel:
            continue
        if duel["verdict"]["is_passed"]:
            timed |= {(name, int(label)) for label in duel["arms"]}
        elif match := re.search(r"arm '(\d+)'", duel["verdict"]["message"]):
            bad.add((name, int(match.group(1))))
    return timed, bad


def duel(examined, out, done=None):
    by_name, passed = spaces(), passed_points(examined)
    timed, bad = timed_and_bad(done)
    requests = []
    for name, space in by_name.items():
        first = {}  # of points with the same code and launches one is timed
        for owner, point in all_points(by_name):
            if owner == name and (owner, point) in passed:
                first.setdefault(passed[owner, point], point)
        known = {passed[name, p] for owner, p in timed | bad if owner == name}
        points = [p for code, p in first.items() if p != 0 and code not in known]
        rng = random.Random(f"{ORDER} {name} {len(points)}")
        if points:  # in a later session, of those that an earlier one has timed
            again = sorted(p for owner, p in timed if owner == name and p != 0) or points
            points = points + rng.sample(again, int(len(again) * REPEATED))
        arms_max = space.space["arms"] - 1
        groups = [points[i:i + arms_max] for i in range(0, len(points), arms_max)]
        for group in groups:
            labels = [0, *dict.fromkeys(group)]  # the default is in every duel: for the drift
            arms = [{"label": str(p), "candidate": space.candidate(p)} for p in labels]
            text = f"{name}/{'_'.join(str(p) for p in labels)}"
            request = space.request("duel", "gpu", 240, arms=arms, workloads=space.space["workloads"], confidence=0.99,
                                    rounds=space.space["rounds"], may_stop_early=False, key=key_of(text))
            requests.append({**request, "id": f"{name}/{key_of(text)[:12]}"})
    # Those that compile longest begin early, so that nobody waits for them at the end.
    rng = random.Random(ORDER)
    requests.sort(key=lambda r: rng.random() * len(r["duel"]["arms"]) / 16)
    write(out, requests)
    print(len(requests), "duels,", sum(len(r["duel"]["arms"]) for r in requests), "arms")


def timed_points(name):
    """Points with measured times, of twins the first."""
    points = json.loads((HERE / f"{name}_landscape.json").read_text())["points"]
    return [i for i, (_, why, twin, time_us, *_) in enumerate(points) if why == "passed" and twin == i and time_us]


def model(out):
    requests = []
    for name, space in spaces().items():
        points = timed_points(name)
        for i in range(0, len(points), MODELLED_ARMS):
            arms = [{"label": str(p), "candidate": space.candidate(p)} for p in points[i:i + MODELLED_ARMS]]
            request = space.request("duel", "vgpu", 900, arms=arms, workloads=space.space["workloads"], rounds=1,
                                    confidence=0.99, may_stop_early=False, key=key_of(name))
            requests.append({**request, "id": f"{name}/{i}"})
    write(out, requests)
    print(len(requests), "duels")


def modelled(path):
    by_name = spaces()
    times = {name: {} for name in by_name}
    for reply in replies(path):
        duel, name = reply.get("duel"), reply["id"].split("/")[0]
        if duel and duel["verdict"]["is_passed"]:
            for arm, label in enumerate(duel["arms"]):
                times[name][label] = [round(duel["timing"][w][arm]["time_us_median"], 3)
                                      for w in by_name[name].space["workloads"]]
    lines = []
    for name in sorted(times):
        points = [f'"{p}": {json.dumps(us)}' for p, us in sorted(times[name].items(), key=lambda entry: int(entry[0]))]
        rows = [", ".join(points[i:i + POINTS_A_LINE]) for i in range(0, len(points), POINTS_A_LINE)]
        lines.append(f' "{name}": {{\n  ' + ",\n  ".join(rows) + "\n }")
    (HERE / "modelled_times.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(sum(len(points) for points in times.values()), "points")


if __name__ == "__main__":
    {"examine": examine, "duel": duel, "model": model, "modelled": modelled}[sys.argv[1]](*sys.argv[2:])
