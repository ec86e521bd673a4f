#!/usr/bin/env python3
"""Measures the peers of `layer5-bench quality speed` that its own build leaves out, and stores what they answered.

    python3 layer5-bench/peers/patterns.py [OUT.json]      # default: patterns.json beside this file

Makes a throw-away virtual environment, installs the peers into it from PyPI, runs each row on one thread and keeps the least
time. augurs' change detector is Rust, but its crates would double what the bench builds: it is built in a throw-away package
by `cargo`. A peer that does not install or does not run is left out with a message. Shapes and sizes are those of
src/quality/speed.rs; the random numbers are others, which no row's time depends on.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import venv
from datetime import date
from pathlib import Path

PEERS = ["numpy", "stumpy", "ruptures", "statsforecast", "scikit-learn", "river"]

INSIDE = r"""
import json, sys, time, warnings
warnings.filterwarnings("ignore")
from importlib.metadata import version
import numpy as np

rng = np.random.default_rng(1)
rows = []

def wave(n):
    return 3 * np.sin(np.arange(n) * 2 * np.pi / 250) + rng.standard_normal(n)

def seasonal(n):
    t = np.arange(n) * 2 * np.pi
    return 100 + 10 * np.sin(t / 24) + 4 * np.sin(t / 168) + rng.standard_normal(n)

def least(work, runs):
    work()
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best * 1e3

def peer(row, name, package, command, prepare, runs=7, pieces=1):
    try:
        ms = least(prepare(), runs) / pieces
    except Exception as error:
        print(f"left out: {row} of {name}: {error}", file=sys.stderr)
        return
    rows.append({"row": row, "peer": name, "version": version(package), "ms": ms, "command": command})
    print(f"{row:20} {name:16} {ms:12.5f} ms", file=sys.stderr)

def profile(n):
    import stumpy
    values = wave(n)
    return lambda: stumpy.stump(values, 100)

def streaming():
    import stumpy
    stream = stumpy.stumpi(wave(10_000), 100, egress=True)
    def work():
        for v in wave(100):
            stream.update(v)
    return work

def mass():
    import stumpy
    query, values = wave(100), wave(50_000)
    return lambda: stumpy.mass(query, values)

def jumps():
    return rng.standard_normal(5_000) + 3.0 * (np.arange(5_000) * 12 // 5_000 % 2)

def pelt():
    import ruptures
    values = jumps()
    return lambda: ruptures.Pelt(model="l2", min_size=2, jump=1).fit(values).predict(pen=20)

def kernel():
    import ruptures
    values = jumps()
    return lambda: ruptures.KernelCPD(kernel="linear", min_size=2).fit(values).predict(pen=20)

def mstl():
    import pandas as pd
    from statsforecast.mstl import mstl
    values = seasonal(1_008)
    return lambda: mstl(values, [24, 168])

def ets(season):
    from statsforecast.models import AutoETS
    values = seasonal(720)
    return lambda: AutoETS(season_length=season).forecast(values, 24)

def k_means():
    from sklearn.cluster import KMeans
    points = rng.standard_normal((1_000, 10)) + 4.0 * (np.arange(1_000)[:, None] % 5 == np.arange(10) % 5)
    return lambda: KMeans(5, n_init=10, random_state=1).fit(points)

def correlation():
    values = rng.standard_normal(5_000)
    def work():
        bins = np.fft.rfft(values - values.mean(), 10_000)
        return np.fft.irfft(bins * bins.conj(), 10_000)[:5_000]
    return work

def adwin():
    from river import drift
    values = rng.standard_normal(2_000)
    def work():
        detector = drift.ADWIN()
        for v in values:
            detector.update(v)
    return work

peer("profile-10k", "stumpy", "stumpy", "stump(x, 100)", lambda: profile(10_000), 5)
peer("profile-50k", "stumpy", "stumpy", "stump(x, 100)", lambda: profile(50_000), 2)
peer("profile-update-10k", "stumpy", "stumpy", "stumpi(x, 100, egress=True).update(v)", streaming, 5, 100)
peer("mass-50k", "stumpy", "stumpy", "mass(q, x)", mass)
peer("pelt-5k", "ruptures kernel", "ruptures", "KernelCPD('linear', min_size=2).predict(pen=20)", kernel)
peer("fpop-5k", "ruptures kernel", "ruptures", "KernelCPD('linear', min_size=2).predict(pen=20)", kernel)
peer("pelt-5k", "ruptures Pelt", "ruptures", "Pelt('l2', min_size=2, jump=1).predict(pen=20)", pelt, 1)
peer("mstl-1008", "statsforecast", "statsforecast", "mstl(x, [24, 168])", mstl)
peer("ets-720", "statsforecast", "statsforecast", "AutoETS(1).forecast(x, 24)", lambda: ets(1), 5)
peer("ets-720-24", "statsforecast", "statsforecast", "AutoETS(24).forecast(x, 24)", lambda: ets(24), 3)
peer("k-means-1000", "scikit-learn", "scikit-learn", "KMeans(5, n_init=10).fit(x)", k_means)
peer("autocorrelation-5k", "numpy", "numpy", "irfft(|rfft(x, 10000)|^2)", correlation, 50)
peer("change-step", "river ADWIN", "river", "ADWIN().update(v)", adwin, 5, 2_000)
print(json.dumps(rows))
"""

BOCPD_TOML = """
[package]
name = "bocpd"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
augurs-changepoint = "0.10"
"""

BOCPD = r"""
use augurs_changepoint::{Detector, NormalGammaDetector};
fn main() {
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 33) as f64 + 0.5) / 2_147_483_648.0
    };
    let mut normal = || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    let values: Vec<f64> = (0..2_000).map(|_| normal()).collect();
    let best = (0..5).map(|_| {
        let start = std::time::Instant::now();
        let found = NormalGammaDetector::default().detect_changepoints(&values);
        assert!(!found.is_empty());
        start.elapsed().as_secs_f64()
    }).fold(f64::INFINITY, f64::min);
    println!("{}", best * 1e3 / values.len() as f64);
}
"""


def bocpd():
    """One row, or none where it can't be built."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "src").mkdir()
        Path(folder, "Cargo.toml").write_text(BOCPD_TOML)
        Path(folder, "src", "main.rs").write_text(BOCPD)
        done = subprocess.run(["cargo", "run", "-q", "--release"], cwd=folder, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print("left out: augurs-changepoint does not build here", file=sys.stderr)
            return []
        lock = Path(folder, "Cargo.lock").read_text().split('name = "augurs-changepoint"')[1]
        return [{
            "row": "change-step",
            "peer": "augurs BOCPD",
            "version": lock.split('"')[1],
            "ms": float(done.stdout),
            "command": "NormalGammaDetector::default().detect_changepoints(x)",
        }]


def cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("patterns.json")
    with tempfile.TemporaryDirectory() as folder:
        given = os.environ.get("PEERS_PYTHON")
        if not given:
            venv.create(folder, with_pip=True)
        python = given or os.path.join(folder, "bin", "python")
        for peer in PEERS if not given else []:
            if subprocess.run([python, "-m", "pip", "install", "-q", peer]).returncode:
                print(f"left out: {peer} does not install here", file=sys.stderr)
        threads = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"]
        one = {**os.environ, **{name: "1" for name in threads}}
        done = subprocess.run([python, "-c", INSIDE], env=one, stdout=subprocess.PIPE, text=True, check=True)
        answer = {
            "machine": f"{cpu()}, {os.cpu_count()} cores, Python {platform.python_version()}, one thread",
            "measured": date.today().isoformat(),
            "script": "python3 layer5-bench/peers/patterns.py",
            "rows": json.loads(done.stdout.splitlines()[-1]) + bocpd(),
        }
    out.write_text(json.dumps(answer, indent=2) + "\n")


main()
