"""Peers of the optimizer on the public problems, on cross-validated tuning and against the clock; JSON on standard output.

The functions are those of `layer5-bench/src/quality/optimize/public.rs`; random search's regret is computed here the same
way for every peer. Tuning and the clock run Layer5 too, through the protocol of `layer5 optimize`. Every peer has one
thread and a start of its own choice; what it reached is the noise-free value of the best point it was told.
"""

import argparse
import importlib.metadata
import json
import math
import os
import subprocess
import sys
import time
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

warnings.filterwarnings("ignore")
FLOOR = 1e-9


def branin(x):
    a = x[1] - 5.1 / (4 * math.pi**2) * x[0] ** 2 + 5 / math.pi * x[0] - 6
    return a * a + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x[0]) + 10


WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
A3 = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
P3 = np.array([[0.3689, 0.1170, 0.2673], [0.4699, 0.4387, 0.7470], [0.1091, 0.8732, 0.5547], [0.03815, 0.5743, 0.8828]])
A6 = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])
P6 = np.array([[0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886], [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
               [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650], [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381]])


def hartmann(a, p):
    return lambda x: -float(WEIGHTS @ np.exp(-np.sum(a * (np.asarray(x) - p) ** 2, axis=1)))


def ackley(x):
    x = np.asarray(x)
    return -20 * math.exp(-0.2 * math.sqrt(np.mean(x * x))) - math.exp(np.mean(np.cos(2 * math.pi * x))) + 20 + math.e


def rosenbrock(x):
    x = np.asarray(x)
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def levy(x):
    w = 1 + (np.asarray(x) - 1) / 4
    inner = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2))
    return float(math.sin(math.pi * w[0]) ** 2 + inner + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2))


def rastrigin(x):
    x = np.asarray(x)
    return float(np.sum(x * x - 10 * np.cos(2 * math.pi * x) + 10))


def michalewicz(x):
    return -sum(math.sin(v) * math.sin((i + 1) * v * v / math.pi) ** 20 for i, v in enumerate(x))


def mixed6(x):
    kind, flag = "abcd".index(x[4]), ["off", "on"].index(x[5])
    centre, penalty = [1.0, -1.5, 2.5, 0.5][kind], [0.6, 0.0, 0.9, 0.4][kind]
    return (0.2 * (x[0] - centre) ** 2 + 0.1 * (x[1] + 0.5 * x[0]) ** 2 + 0.5 * (math.log10(x[2]) + 2.5 - 0.5 * flag) ** 2
            + 0.02 * (x[3] - 12 - 4 * flag) ** 2 + penalty + 0.3 * (1 - flag))


def box(low, high, d):
    return [("float", low, high, False)] * d


# name: space, function, minimum, standard deviation of the noise
PUBLIC = {
    "branin": ([("float", -5, 10, False), ("float", 0, 15, False)], branin, 0.397887357729739, 0),
    "hartmann3": (box(0, 1, 3), hartmann(A3, P3), -3.862782147820, 0),
    "hartmann6": (box(0, 1, 6), hartmann(A6, P6), -3.322368011416, 0),
    "ackley5": (box(-32.768, 32.768, 5), ackley, 0, 0),
    "rosenbrock4": (box(-5, 10, 4), rosenbrock, 0, 0),
    "levy6": (box(-10, 10, 6), levy, 0, 0),
    "rastrigin5": (box(-5.12, 5.12, 5), rastrigin, 0, 0),
    "michalewicz5": (box(0, math.pi, 5), michalewicz, -4.687658179, 0),
    "noisy branin": ([("float", -5, 10, False), ("float", 0, 15, False)], branin, 0.397887357729739, 5.0),
    "noisy hartmann6": (box(0, 1, 6), hartmann(A6, P6), -3.322368011416, 0.1),
    "mixed6": (box(-5, 5, 2) + [("float", 1e-5, 1, True), ("int", 1, 32), ("cat", list("abcd")), ("cat", ["off", "on"])],
               mixed6, 0, 0),
}


def tuning():
    """Cross-validated losses; their regret is measured against the best value that anybody here found."""
    from sklearn.datasets import load_diabetes, load_digits
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, SVR

    xd, yd = load_diabetes(return_X_y=True)
    yd = (yd - yd.mean()) / yd.std()
    xc, yc = load_digits(return_X_y=True)
    xc, yc = xc[::3], yc[::3]

    def svr(x):
        model = make_pipeline(StandardScaler(), SVR(C=x[0], gamma=x[1], epsilon=x[2]))
        return -cross_val_score(model, xd, yd, cv=5, scoring="neg_mean_squared_error").mean()

    def svc(x):
        model = make_pipeline(StandardScaler(), SVC(C=x[0], gamma=x[1]))
        return 1 - cross_val_score(model, xc, yc, cv=3).mean()

    def gbm(x):
        model = GradientBoostingRegressor(learning_rate=x[0], n_estimators=x[1], max_depth=x[2], subsample=x[3], random_state=0)
        return -cross_val_score(model, xd, yd, cv=3, scoring="neg_mean_squared_error").mean()

    log = lambda low, high: ("float", low, high, True)
    return {
        "SVR diabetes": ([log(1e-3, 1e3), log(1e-5, 1e1), log(1e-3, 1.0)], svr, None, 0),
        "SVC digits": ([log(1e-3, 1e3), log(1e-6, 1.0)], svc, None, 0),
        "GBM diabetes": ([log(1e-3, 0.5), ("int", 10, 120), ("int", 1, 5), ("float", 0.3, 1.0, False)], gbm, None, 0),
    }


def draw(space, rng):
    out = []
    for p in space:
        if p[0] == "cat":
            out.append(p[1][rng.integers(len(p[1]))])
        elif p[0] == "int":
            out.append(int(rng.integers(p[1], p[2] + 1)))
        elif p[3]:
            out.append(math.exp(rng.uniform(math.log(p[1]), math.log(p[2]))))
        else:
            out.append(rng.uniform(p[1], p[2]))
    return out


def from_unit(space, u):
    """The nearest point: what peers that know the unit cube alone are given."""
    out = []
    for p, v in zip(space, np.clip(u, 0, 1)):
        if p[0] == "cat":
            out.append(p[1][min(int(v * len(p[1])), len(p[1]) - 1)])
        elif p[0] == "int":
            out.append(p[1] + min(int(v * (p[2] - p[1] + 1)), p[2] - p[1]))
        elif p[3]:
            out.append(math.exp(math.log(p[1]) + v * (math.log(p[2]) - math.log(p[1]))))
        else:
            out.append(p[1] + v * (p[2] - p[1]))
    return out


class Spent(Exception):
    pass


class Told:
    """The objective as an optimizer sees it, counting; remembers the truth of the best value told."""

    def __init__(self, f, noise, seed, n):
        self.f, self.noise, self.n = f, noise, n
        self.rng = np.random.default_rng(seed + 77)
        self.best, self.truth, self.curve = math.inf, math.inf, []
        self.gaps, self.left = [], None

    def __call__(self, x):
        """The value at `x`; `gaps` are the peer's own seconds from one value to the next question."""
        if self.left is not None:
            self.gaps.append(time.perf_counter() - self.left)
        if len(self.curve) >= self.n:
            raise Spent
        try:
            return self.value(x)
        finally:
            self.left = time.perf_counter()

    def value(self, x):
        true = self.f(x)
        value = true + (self.noise * self.rng.standard_normal() if self.noise else 0)
        if value < self.best:
            self.best, self.truth = value, true
        self.curve.append(self.truth)
        return value


def random_search(space, told, seed):
    rng = np.random.default_rng(seed)
    while True:
        told(draw(space, rng))


def cobyqa(space, told, seed):
    from scipy.optimize import Bounds, minimize

    d, rng = len(space), np.random.default_rng(seed)
    while True:
        minimize(lambda u: told(from_unit(space, u)), rng.uniform(size=d), method="COBYQA", bounds=Bounds(np.zeros(d), np.ones(d)),
                 options={"initial_tr_radius": 0.25, "maxfev": 500})


def pycma(space, told, seed):
    import cma

    d, rng = len(space), np.random.default_rng(seed)
    while True:
        cma.fmin2(lambda u: told(from_unit(space, u)), rng.uniform(size=d), 0.3,
                  {"bounds": [0, 1], "verbose": -9, "seed": seed + 1, "maxfevals": 500}, restarts=0)


def suggested(trial, space):
    """A point asked of Optuna or Rustuna, parameter by parameter."""
    x = []
    for i, p in enumerate(space):
        if p[0] == "cat":
            x.append(trial.suggest_categorical(f"x{i}", p[1]))
        elif p[0] == "int":
            x.append(trial.suggest_int(f"x{i}", p[1], p[2]))
        else:
            x.append(trial.suggest_float(f"x{i}", p[1], p[2], log=p[3]))
    return x


def optuna_tpe(space, told, seed):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
    optuna.create_study(sampler=sampler).optimize(lambda trial: told(suggested(trial, space)), n_trials=told.n + 1)


def rustuna(sampler_name):
    def run(space, told, seed):
        import rustuna

        study = rustuna.create_study(sampler=getattr(rustuna.samplers, sampler_name)(seed=seed + 1))
        while True:
            trial = study.ask()
            study.tell(trial.number, told(suggested(trial, space)))

    return run


def egobox(space, told, seed):
    import egobox as egx

    def declared(p):
        if p[0] == "cat":
            return egx.XSpec(egx.XType.ENUM, tags=p[1])
        if p[0] == "int":
            return egx.XSpec(egx.XType.INT, [p[1], p[2]])
        return egx.XSpec(egx.XType.FLOAT, [math.log(p[1]), math.log(p[2])] if p[3] else [p[1], p[2]])

    def point(row):
        out = []
        for p, v in zip(space, row):
            if p[0] == "cat":
                out.append(p[1][int(v)])
            elif p[0] == "int":
                out.append(int(v))
            else:
                out.append(math.exp(v) if p[3] else v)
        return out

    # It calls back from Rust, where an exception of ours would be taken for a failed evaluation: its end is counted instead.
    def batch(rows):
        return np.array([[told(point(row)) if len(told.curve) < told.n else 0.0] for row in np.atleast_2d(rows)])

    n_doe = len(space) + 3
    optimizer = egx.Egor([declared(p) for p in space], n_doe=n_doe, seed=seed)
    optimizer.minimize(batch, max_iters=told.n - n_doe + 1, seed=seed)


def botorch_rust(space, told, seed):
    from botorch_rs.acquisition import LogExpectedImprovement
    from botorch_rs.fit import fit_gpytorch_mll
    from botorch_rs.mlls import ExactMarginalLogLikelihood
    from botorch_rs.models import SingleTaskGP
    from botorch_rs.models.transforms import Standardize
    from botorch_rs.optim import optimize_acqf

    d, rng = len(space), np.random.default_rng(seed)
    u = rng.uniform(size=(d + 3, d))
    y = np.array([[-told(from_unit(space, row))] for row in u])
    while True:
        try:
            model = SingleTaskGP(u, y, outcome_transform=Standardize(m=1))
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
            gain = LogExpectedImprovement(model, best_f=float(y.max()))
            box = np.array([np.zeros(d), np.ones(d)])
            next_u, _ = optimize_acqf(gain, bounds=box, q=1, num_restarts=5, raw_samples=256)
            next_u = np.asarray(next_u).reshape(1, d)
        except Spent:
            raise
        except Exception as error:  # a fit that fails costs it an even draw, not the run
            print("botorch-rust:", error, file=sys.stderr)
            next_u = rng.uniform(size=(1, d))
        u = np.vstack([u, next_u])
        y = np.vstack([y, [[-told(from_unit(space, next_u[0]))]]])


def layer5(binary):
    """The protocol of `layer5 optimize`: one JSON object a line each way."""

    def run(space, told, seed):
        def declared(i, p):
            if p[0] == "cat":
                return {"name": f"x{i}", "type": "categorical", "choices": p[1]}
            if p[0] == "int":
                return {"name": f"x{i}", "type": "int", "low": p[1], "high": p[2]}
            return {"name": f"x{i}", "type": "float", "low": p[1], "high": p[2], "log": p[3]}

        child = subprocess.Popen([binary, "optimize"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def say(**request):
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
            answer = json.loads(child.stdout.readline())
            if "error" in answer:
                raise RuntimeError(answer["error"])
            return answer

        try:
            say(cmd="init", space=[declared(i, p) for i, p in enumerate(space)], seed=seed)
            while True:
                trial = say(cmd="ask")
                value = told([trial["params"][f"x{i}"] for i in range(len(space))])
                say(cmd="tell", id=trial["id"], value=value)
        finally:
            child.stdin.close()
            child.wait()

    return run


def run_once(run, problem, seed, n):
    space, f, _, noise = problem
    told = Told(f, noise, seed, n)
    try:
        run(space, told, seed)
    except Spent:
        pass
    if len(told.curve) < n:
        raise RuntimeError(f"stopped after {len(told.curve)} of {n} evaluations")
    return told


def curves(run, problem, seeds, n):
    return [run_once(run, problem, seed, n).curve for seed in seeds]


def reached(problem_name, minimum, baseline, found, budgets):
    """Gain over random search and median regret at each budget."""
    for b in budgets:
        regret = lambda cs: np.array([max(c[b - 1] - minimum, FLOOR) for c in cs])
        gain = np.mean(np.log10(regret(baseline))) - np.mean(np.log10(regret(found)))
        yield {"problem": problem_name, "n": b, "gain": gain, "median": float(np.median(regret(found)))}


def version(package):
    return importlib.metadata.version(package)


def peers():
    return {
        f"COBYQA scipy {version('scipy')}": cobyqa,
        f"CMA pycma {version('cma')}": pycma,
        f"TPE optuna {version('optuna')}": optuna_tpe,
        f"GP egobox {version('egobox')}": egobox,
        f"TPE rustuna {version('rustuna')}": rustuna("TPESampler"),
        f"CMA rustuna {version('rustuna')}": rustuna("CmaEsSampler"),
        f"GP botorch-rust {version('botorch-rust')}": botorch_rust,
    }


LEFT_OUT = {
    "Optuna GP, BoTorch": "need torch, some gigabytes for a virtual environment that is thrown away",
    "SMAC, HEBO": "hundreds of milliseconds a suggestion: hours for these runs",
}


def on_functions(run, args, budgets):
    for name, problem in PUBLIC.items():
        if args.only in name:
            baseline = curves(random_search, problem, range(1000, 1100), budgets[-1])
            yield from reached(name, problem[2], baseline, curves(run, problem, range(args.seeds), budgets[-1]), budgets)


def on_tuning(runs, args, budgets):
    """Results by peer; regrets are measured against the lowest loss that anybody here found."""
    found = {peer: [] for peer in runs}
    for name, problem in tuning().items():
        if args.only not in name:
            continue
        by_peer = {peer: curves(run, problem, range(args.tuning_seeds), budgets[-1]) for peer, run in runs.items()}
        baseline = curves(random_search, problem, range(1000, 1000 + args.tuning_seeds), budgets[-1])
        lowest = min(c[-1] for cs in [*by_peer.values(), baseline] for c in cs)
        for peer, cs in by_peer.items():
            found[peer] += reached(name, lowest, baseline, cs, budgets)
    return found


def on_the_clock(run):
    """Milliseconds from one value to the next question, on the valley of `benches/ask_tell.rs`: means of ten."""
    told = run_once(run, (box(-2, 2, 5), rosenbrock, 0, 0), 1, 106)
    mean_ms = lambda n: 1e3 * float(np.mean(told.gaps[n - 6 : n + 4]))
    return [{"n": n, "ms": mean_ms(n)} for n in (50, 100)]


def joined(paths):
    """One file of several, each of which has a part of the runs."""
    parts = [json.load(open(path)) for path in paths]
    whole = parts[0]
    for part in parts[1:]:
        for peer in part["peers"]:
            mine = next((p for p in whole["peers"] if p["name"] == peer["name"]), None)
            if mine is None:
                whole["peers"].append(peer)
                continue
            for key in ("results", "speed"):
                mine[key] = mine.get(key, []) + peer.get(key, [])
    whole["peers"].sort(key=lambda p: "left_out" in p)
    return whole


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10, help="runs of each function; 0 leaves them out")
    parser.add_argument("--tuning-seeds", type=int, default=10, help="runs of real tuning; 0 leaves it out")
    parser.add_argument("--speed", action="store_true", help="time suggestions as well")
    parser.add_argument("--budgets", default="25,50")
    parser.add_argument("--only", default="", help="problems whose name contains this")
    parser.add_argument("--peer", default="", help="peers whose name contains this")
    parser.add_argument("--layer5", help="the binary `layer5`, for real tuning and the clock")
    parser.add_argument("--join", nargs="+", metavar="FILE", help="run nothing: join what several runs wrote")
    args = parser.parse_args()
    if args.join:
        json.dump(joined(args.join), sys.stdout, indent=1)
        return
    budgets = [int(b) for b in args.budgets.split(",")]
    runs = {name: run for name, run in peers().items() if args.peer in name}
    found = {name: {"name": name, "results": list(on_functions(run, args, budgets)) if args.seeds else []} for name, run in runs.items()}
    if args.layer5:
        runs["Layer5 over its protocol"] = layer5(args.layer5)
        found["Layer5 over its protocol"] = {"name": "Layer5 over its protocol", "results": []}
    if args.tuning_seeds:
        for name, results in on_tuning(runs, args, budgets).items():
            found[name]["results"] += results
    if args.speed:
        for name, run in runs.items():
            found[name]["speed"] = on_the_clock(run)
    left_out = [{"name": name, "left_out": reason} for name, reason in LEFT_OUT.items()]
    command = "layer5-bench/peers/optimize.sh " + " ".join(sys.argv[1:])
    json.dump({"command": command, "peers": [*found.values(), *left_out]}, sys.stdout, indent=1)


main()
