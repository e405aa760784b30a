# SPDX-License-Identifier: Apache-2.0
"""The scripts for a machine with a GPU, as far as they run without one."""
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

import chart
import sanitizer
from rig import HERE, Missed, expect

SVG = "{http://www.w3.org/2000/svg}"

# Stands for compute-sanitizer: it runs the program, or finds something.
SAID_NOTHING = "========= ERROR SUMMARY: 0 errors"
SAID = "========= Invalid __global__ read of size 4 bytes"
FAKE = """#!/bin/sh
for a; do
	case $a in
	--log-file=*) log=${{a#*=}} ;;
	--tool=memcheck | --error-exitcode={found}) ;;
	--*) echo "unknown option $a" >&2; exit 2 ;;
	*) break ;;
	esac
	shift
done
"$@" || exit 3
echo '{said}' >"$log"
exit {code}
"""


def bars(rows):
    """[(width, color, what is written behind it)] of each chart's bars."""
    root = xml.fromstring(chart.chart("a <title>", rows))
    expect(root.find(SVG + "text").text == "a <title>", "the title")
    parts = [p for p in root if p.tag in (SVG + "rect", SVG + "text")]
    return [(float(p.get("width")), p.get("fill"), parts[i + 1].text)
            for i, p in enumerate(parts) if p.get("x") and
            p.tag == SVG + "rect"]


def drawn(rig):
    """Bars are as long as what they stand for, panel by panel."""
    rows = [{"name": "product-f16-64", "seconds": 1e-3, "work": 4e9,
             "torch": 2e-3},
            {"name": "product-f32-64", "seconds": 4e-3, "work": 4e9},
            {"name": "copy", "seconds": 1e-3, "work": 3e9},
            {"name": "a&b<c", "seconds": 0.25, "work": 0, "torch": 0.125}]
    w = chart.WIDTH
    wanted = [(w, chart.OWN, "4"), (w / 2, chart.OTHER, "2 PyTorch"),
              (w / 4, chart.OWN, "1"), (w, chart.OWN, "3"),
              (w / 2, chart.OWN, "4"), (w, chart.OTHER, "8 PyTorch")]
    expect(bars(rows) == wanted, f"bars {bars(rows)}")
    expect(not bars([]), "bars of nothing")


def bench(rig):
    """--smoke: a small product and a copy on the stand-in driver."""
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, "bench"), "--smoke",
         "--dlcc=" + rig.dlcc, "--out=" + rig.path("bench"),
         f"--driver={rig.driver}",
         "--arch=sm_80", "--filter=^(product-f16-64|copy)$"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    expect(done.returncode == 0, done.stderr[-500:])
    with open(rig.path("bench.json")) as f:
        rows = json.load(f)
    expect([r["name"] for r in rows] == ["product-f16-64", "copy"] and
           all(r["seconds"] > 0 for r in rows), str(rows))
    with open(rig.path("bench.svg")) as f:
        root = xml.parse(f).getroot()
    names = {t.text for t in root.iter(SVG + "text")}
    expect({"product-f16-64", "copy"} <= names, str(names))
    expect(len(re.findall(r" us .*/s$", done.stdout, re.M)) == 2,
           done.stdout)


def sanitized(rig):
    """What compute-sanitizer finds is a failure."""
    name, make, kind, arch = sanitizer.MODELS[0]
    for code, said in ((0, SAID_NOTHING), (sanitizer.FOUND, SAID)):
        path = rig.path("sanitizer")
        with open(path, "w") as f:
            f.write(FAKE.format(found=sanitizer.FOUND, said=said, code=code))
        os.chmod(path, 0o755)
        why = ""
        try:
            sanitizer.checked(rig, path, "memcheck", name, make, kind, arch)
        except Missed as e:
            why = str(e)
        expect(SAID in why if code else not why, f"{code}: {why!r}")


def subjects(rig):
    """The models for it are right in themselves."""
    for name, make, kind, arch in sanitizer.MODELS:
        path = rig.path("nothing")
        with open(path, "w") as f:
            f.write(FAKE.format(found=sanitizer.FOUND, said=SAID_NOTHING,
                                code=0))
        os.chmod(path, 0o755)
        sanitizer.checked(rig, path, "memcheck", name, make, kind, arch)
    return f"{len(sanitizer.MODELS)} models"


def cases(rig, full):
    for case in (drawn, bench, sanitized, subjects):
        yield case.__name__, lambda c=case: c(rig)
