#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the manifest of docs/kubernetes against the schemas of several Kubernetes releases, offline.

   kubernetes_test.py --manifest FILE --wheels FOLDER

FOLDER holds the package kubernetes-validate (tools/setup --cluster). A schema knows no cluster: besides, labels,
selectors and names must fit together and the pods must have no rights. Each check is made of broken copies, too.
"""
import argparse
import copy
import sys
from pathlib import Path

RELEASES = ("1.28", "1.31", "1.34", "1.37")


def worker_container(manifest):
    return manifest["spec"]["template"]["spec"]["containers"][0]


def troubles(manifests, kubernetes_validate):
    """What is wrong with them, in words."""
    found = []
    for manifest in manifests:
        for release in RELEASES:
            try:
                kubernetes_validate.validate(manifest, release, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{release}: {str(error).splitlines()[0]}")
    workers, policy = manifests
    pod = workers["spec"]["template"]
    labels = pod["metadata"]["labels"]
    for name, wanted in (("selector", workers["spec"]["selector"]["matchLabels"]),
                         ("policy", policy["spec"]["podSelector"]["matchLabels"])):
        if not set(wanted.items()) <= set(labels.items()):
            found.append(f"the {name} does not select the pods")
    if set(policy["spec"].get("policyTypes", [])) != {"Ingress", "Egress"} or "egress" in policy["spec"]:
        found.append("the pods have network")
    mounts = {mount["name"] for mount in worker_container(workers)["volumeMounts"]}
    if not mounts <= {volume["name"] for volume in pod["spec"]["volumes"]}:
        found.append("a volume that is mounted is not there")
    rights = worker_container(workers)["securityContext"]
    if rights.get("privileged") or rights.get("allowPrivilegeEscalation", True) or not rights.get("runAsNonRoot"):
        found.append("the pods have rights")
    if str(worker_container(workers)["resources"]["limits"].get("nvidia.com/gpu")) != "1":
        found.append("a worker has not one GPU")
    return found


def broken_copies(manifests):
    """Each with one thing wrong, which must be found."""
    def copies(change):
        changed = copy.deepcopy(manifests)
        change(*changed)
        return changed
    yield "an unknown field", copies(lambda workers, _: workers["spec"].update(replica=2))
    yield "a word for a number", copies(lambda workers, _: workers["spec"].update(replicas="two"))
    yield "no selector", copies(lambda workers, _: workers["spec"]["selector"].update(matchLabels={"app": "other"}))
    yield "a policy of others", copies(lambda _, policy: policy["spec"]["podSelector"].update(matchLabels={"a": "b"}))
    yield "a way out", copies(lambda _, policy: policy["spec"].update(egress=[{}]))
    yield "rights", copies(lambda workers, _: worker_container(workers)["securityContext"].update(privileged=True))
    yield "two GPUs", copies(lambda workers, _: worker_container(workers)["resources"]["limits"].update(
        {"nvidia.com/gpu": 2}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--wheels", type=Path, required=True)
    options = parser.parse_args()
    sys.path.insert(0, str(options.wheels))
    try:
        import kubernetes_validate
        import yaml
    except ImportError:
        print(f"kubernetes-validate is not in {options.wheels} (tools/setup --cluster fetches it)")
        return 1
    manifests = list(yaml.safe_load_all(options.manifest.read_text()))
    problems = troubles(manifests, kubernetes_validate)
    missed = [name for name, broken in broken_copies(manifests) if not troubles(broken, kubernetes_validate)]
    problems += [f"not found in a broken copy: {name}" for name in missed]
    for problem in problems:
        print(problem)
    print(f"{len(manifests)} manifests, releases {' '.join(RELEASES)}")
    print("0 passed, 1 failed" if problems else "1 passed, 0 failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
