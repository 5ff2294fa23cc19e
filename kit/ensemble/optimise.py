"""Ways to look for the weights with the highest MAP."""

import warnings

import numpy as np


def regions(scores) -> np.ndarray:
    """The most that each member may weigh, from its own MAP `(M,)`.

    The paper's first step, which it leaves open: the best member may weigh
    up to 1, the worst up to 1/4, the others in proportion between.
    """
    scores = np.asarray(scores, np.float64)
    spread = np.ptp(scores)
    if not spread:
        return np.ones(len(scores))
    return 0.25 + 0.75 * (scores - scores.min()) / spread


class Walk:
    """What one method tried: points of the search space and their MAP."""

    def __init__(self, method, objective, upper, constant, points=()):
        self.method, self.objective = method, objective
        self.upper, self.constant = upper, constant
        self.points, self.values, self.converged = [], [], True
        for point in points:
            self.step(point)

    def step(self, point):
        self.points.append([float(x) for x in point])
        self.values.append(self.objective(*self.split(point)))

    def split(self, point):
        """Weights, with sum 1, and constant behind a point."""
        weights = np.array(point[: len(self.objective.rank)])
        weights = weights if weights.any() else np.ones_like(weights)
        # A constant that is searched is so on a logarithmic scale.
        searched = self.constant is None
        constant = float(np.expm1(point[-1])) if searched else self.constant
        return weights / weights.sum(), constant

    @property
    def best(self):
        return self.split(self.points[int(np.argmax(self.values))])


def search(name, objective, constant, rule, seed, notes) -> list[Walk]:
    """One walk a method, over the same space."""
    single = np.eye(len(objective.rank))
    equal = np.ones((1, len(single)))
    alone = [objective(weights, constant or 0.0) for weights in single]
    upper = regions(alone)
    if constant is None:
        upper = np.append(upper, np.log1p(1000.0))
        single, equal = (np.pad(p, ((0, 0), (0, 1))) for p in (single, equal))
    space = objective, upper, constant
    bayes = Walk("Bayesian optimisation", *space)
    kept = notes.points.get(name, [])
    while not _settled(bayes, rule):
        step = len(bayes.points)
        bayes.step(kept[step] if step < len(kept) else _propose(bayes, seed))
        if step >= len(kept):
            notes.take(name, bayes)
    chance = Walk("random search", *space)
    ascent = Walk("coordinate ascent", *space, equal)
    for step in range(len(bayes.points)):
        rng = np.random.default_rng([seed, step])
        chance.step(rng.random(len(upper)) * upper)
        if step:
            ascent.step(_along_axis(ascent, step - 1))
    fixed = Walk("best single", *space, single)
    return [fixed, Walk("equal weights", *space, equal), chance, ascent, bayes]


def _settled(walk, rule):
    most, patience, tolerance = rule
    early = walk.values[:-patience]
    gain = max(walk.values) - max(early) if len(early) >= 10 else np.inf
    walk.converged = gain <= tolerance
    return walk.converged or len(walk.values) >= most


def _propose(walk, seed):
    """The next point: a pure function of those before it, so resumable.

    First equal weights, the regions' ends and a Latin hypercube; then the
    point of highest expected improvement under a Gaussian process.
    """
    size, step = len(walk.upper), len(walk.points)
    if step == 0:
        return np.where(np.arange(size) < len(walk.objective.rank), 0.2, 0)
    if step == 1:
        return walk.upper
    first = 2 * size
    if step < 2 + first:
        rng = np.random.default_rng(seed)
        cells = rng.permuted(np.tile(np.arange(first), (size, 1)), axis=1)
        cube = (cells.T + rng.random((first, size))) / first
        return cube[step - 2] * walk.upper
    from skopt import Optimizer
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    optimizer = Optimizer(
        [(0.0, float(high)) for high in walk.upper],
        base_estimator="GP",
        n_initial_points=0,
        acq_func="EI",
        random_state=seed + step,
    )
    # Matrices of 100 rows: more threads only wait for each other.
    with threadpool_limits(1), warnings.catch_warnings():
        # Of a fit at its bounds or a point met before: neither is wrong.
        warnings.simplefilter("ignore")
        optimizer.tell(walk.points, [-v for v in walk.values])
        return optimizer.ask()


def _along_axis(walk, step):
    """The best point moved along one axis, in steps that shrink by round."""
    point = np.array(walk.points[int(np.argmax(walk.values))])
    moves = 2 * len(point)
    axis, down = divmod(step % moves, 2)
    length = walk.upper[axis] * 0.5 * 0.7 ** (step // moves)
    point[axis] = np.clip(
        point[axis] + (-length if down else length), 0, walk.upper[axis]
    )
    return point
