# SPDX-License-Identifier: Apache-2.0
"""The scripts for a machine with a GPU, as far as they run without one."""
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

import numpy as np

import chart
import sanitizer
import sketch
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
             "unit": "TFLOP/s", "peers": {"eager": 2e-3, "cublaslt": 8e-3}},
            {"name": "product-f32-64", "seconds": 4e-3, "work": 4e9,
             "unit": "TFLOP/s", "peers": {}},
            {"name": "copy", "seconds": 1e-3, "work": 3e9, "unit": "TB/s",
             "peers": {}},
            {"name": "a&b<c", "seconds": 0.25, "work": 0, "unit": "calls/s",
             "peers": {"compiled": 0.125}}]
    w, peer = chart.WIDTH, chart.PEERS
    wanted = [(w, chart.OWN, "4"), (w / 2, peer["eager"], "2 eager"),
              (w / 8, peer["cublaslt"], "0.5 cublaslt"),
              (w / 4, chart.OWN, "1"), (w, chart.OWN, "3"),
              (w / 2, chart.OWN, "4"), (w, peer["compiled"], "8 compiled")]
    expect(bars(rows) == wanted, f"bars {bars(rows)}")
    expect(not bars([]), "bars of nothing")


def bench_run(rig, stem, *options):
    """tests/gpu/bench on the stand-in driver; what it prints, and the rows
    of STEM.json, if it wrote that."""
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, "bench"), "--smoke",
         "--dlcc=" + rig.dlcc, "--out=" + rig.path(stem),
         f"--driver={rig.driver}", *options],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    expect(done.returncode == 0, done.stdout[-300:] + done.stderr[-500:])
    path = rig.path(stem + ".json")
    if not os.path.exists(path):
        return done.stdout, []
    with open(path) as f:
        return done.stdout, json.load(f)


def bench(rig):
    """--smoke: a small product, a copy and a network on the stand-in."""
    names = ["gpt2_decode-1-half", "product-f16-64", "copy"]
    said, rows = bench_run(rig, "bench", "--arch=sm_80",
                           f"--filter=^({'|'.join(names)})$")
    expect([r["name"] for r in rows] == names and
           all(r["seconds"] > 0 for r in rows), str(rows))
    with open(rig.path("bench.svg")) as f:
        root = xml.parse(f).getroot()
    words = {t.text for t in root.iter(SVG + "text")}
    expect(set(names) <= words, str(words))
    expect(len(re.findall(r" us .*/s$", said, re.M)) == 2, said)


def prepared(rig):
    """Weights that are left out are replaced by numbers like them."""
    folder, name = rig.path("prepared"), "--filter=^bert_base-2-fp16$"
    bench_run(rig, "none", "--prepare=" + folder, "--light", "--arch=sm_80",
              name)
    names = sorted(os.listdir(folder))
    expect(names == ["mbert_base_2_fp16.npz", "mbert_base_2_fp16.so",
                     "prepared.json"], str(names))
    _, rows = bench_run(rig, "timed", "--prepared=" + folder,
                        "--dlcc=/nothing", name)
    expect(len(rows) == 1 and rows[0]["seconds"] > 0, str(rows))


def sketched(rig):
    """Floats keep their distribution, all else its bytes."""
    rng = np.random.default_rng(1)
    whole = np.arange(5000)
    parts = [rng.normal(2, 0.5, 10240).astype(np.float32),
             rng.normal(0, 0.01, 20480).astype(np.float16), whole,
             np.zeros(512, np.float32)]
    data = b"".join(p.tobytes() for p in parts)
    paths = rig.path("weights.bin"), rig.path("weights.npz")
    with open(paths[0], "wb") as f:
        f.write(data)
    sketch.write(*paths)
    got = sketch.read(paths[1]).tobytes()
    expect(len(got) == len(data), f"{len(got)} bytes of {len(data)}")
    at = 0
    for p, mean, deviation in zip(parts, (2, 0), (0.5, 0.01)):
        like = np.frombuffer(got, p.dtype, p.size, at).astype(np.float64)
        at += p.nbytes
        expect(abs(like.mean() - mean) < deviation / 20 and
               abs(like.std() - deviation) < deviation / 20 and
               not np.array_equal(like, p),
               f"{p.dtype}: {like.mean()} {like.std()}")
    expect(got[at:] == data[at:], "integers and zeros are not what they were")


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
    for case in (drawn, bench, prepared, sketched, sanitized, subjects):
        yield case.__name__, lambda c=case: c(rig)
