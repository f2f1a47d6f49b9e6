"""Eigenvalue spectra of convolutions and the power-law exponent alpha of their tails (Eq. 2).

A weight (O, I, kh, kw) is kh * kw matrices O x I, scaled by sqrt(1/2); their squared singular values are pooled
into one spectrum. Two estimators: ``weightwatcher`` (the package with its defaults: x_min is searched over all
eigenvalues) and ``released`` (the authors' code: x_min near the peak of the spectrum).
"""

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from opentrans.errors import UserError
from opentrans.freezing.fits import LayerSpectrum

MIN_EIGENVALUES = 8  # weightwatcher's default; the released code has no limit, but fits of fewer points mean nothing
ZERO_EIGENVALUE = 1e-5
HISTOGRAM_BINS = 100


def estimate_alphas(
    weights: Mapping[str, Float[Tensor, "_o _i _kh _kw"]], estimator: str = "weightwatcher"
) -> list[LayerSpectrum]:
    """Fit every layer of `weights`, in its order, by ``weightwatcher`` or ``released``.

    Raises:
        UserError: a weight is NaN or infinite, or on the meta device; it names the layer.
    """
    for name, weight in weights.items():
        check_values(name, weight)

    if estimator == "released":
        return [_fit_released(name, weight) for name, weight in weights.items()]
    if estimator != "weightwatcher":
        raise ValueError(f"unknown estimator {estimator}")
    return _fit_weightwatcher(weights)


def check_values(name: str, weight: Tensor) -> None:
    """Refuse a weight that no spectrum can be taken of with a `UserError` that names its layer."""
    if weight.is_meta:
        raise UserError(name, "the weights are on the meta device: they have no values", "load the weights first")
    n_bad = int((~weight.detach().isfinite()).sum())
    if n_bad:
        raise UserError(name, f"{n_bad} of its weights are NaN or infinite", "load weights that are finite")


def compute_spectrum(weight: Float[Tensor, "o i kh kw"]) -> Float[np.ndarray, " n"]:
    """The pooled squared singular values of a convolution's scaled slices, ascending."""
    slices = weight.detach().cpu().double().flatten(2).permute(2, 0, 1) * math.sqrt(0.5)
    return np.sort(torch.linalg.svdvals(slices).square().flatten().numpy())


def fit_tail(values: Float[np.ndarray, " n"]) -> tuple[float, float, float, int]:
    """The released estimator on ascending positive `values`.

    Hill's alpha = 1 + n / (sum ln x - n ln x_min) over the n values from x_min on; among the candidates near the
    peak of the histogram of log10 x, the x_min of smallest Kolmogorov-Smirnov distance.

    Returns:
        alpha, x_min, distance, number of values in the tail.
    """
    logs = np.log(values)
    sizes = np.arange(len(values), 0, -1.0)  # of the tail that starts at each value
    excess = np.cumsum(logs[::-1])[::-1] - sizes * logs

    lowest, highest = _bound_xmin(values)
    best = (math.nan, math.nan, math.inf, 0)
    for start in np.flatnonzero((values >= lowest) & (values <= highest)):
        if start == len(values) - 1 or excess[start] <= 0:
            continue

        alpha = 1 + sizes[start] / excess[start]
        ranks = np.arange(len(values) - start) / sizes[start]
        distance = np.abs(1 - (values[start:] / values[start]) ** (1 - alpha) - ranks).max()
        if distance < best[2]:
            best = (float(alpha), float(values[start]), float(distance), len(values) - int(start))
    return best


def _bound_xmin(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """``xmin_peak``: bounds around the fullest of 100 bins, the lower one a log10 as in the released code."""
    counts, edges = np.histogram(np.log10(values), HISTOGRAM_BINS)
    peak = 10 ** edges[np.argmax(counts)]
    return math.log10(0.95 * peak), 1.5 * peak


def _fit_released(name: str, weight: Tensor) -> LayerSpectrum:
    values = compute_spectrum(weight)
    values = values[values > ZERO_EIGENVALUE]
    shape, count = tuple(weight.shape), len(values)

    if count < MIN_EIGENVALUES:
        return LayerSpectrum(name, shape, count, note=_describe_small(count))
    alpha, xmin, distance, tail = fit_tail(values)
    if math.isnan(alpha):
        return LayerSpectrum(name, shape, count, note="no fit: the eigenvalues have no tail")
    return LayerSpectrum(name, shape, count, alpha, xmin, distance, tail)


def _describe_small(count: int) -> str:
    return f"no fit: {count} eigenvalues, at least {MIN_EIGENVALUES} are needed"


def _fit_weightwatcher(weights: Mapping[str, Tensor]) -> list[LayerSpectrum]:
    rows = {int(row["longname"]): row for row in _analyze([_as_layer(weight) for weight in weights.values()])}
    return [_read_row(name, weight, rows.get(number)) for number, (name, weight) in enumerate(weights.items())]


def _as_layer(weight: Tensor) -> nn.Conv2d:
    outputs, inputs, *size = weight.shape
    layer = nn.Conv2d(inputs, outputs, tuple(size), bias=False)  # type: ignore[arg-type]
    layer.weight.data = weight.detach().cpu().float().clone()
    return layer


def _read_row(name: str, weight: Tensor, row: Mapping[str, Any] | None) -> LayerSpectrum:
    shape, count = tuple(weight.shape), min(weight.shape[:2]) * math.prod(weight.shape[2:])
    if row is None:
        note = _describe_small(count) if count < MIN_EIGENVALUES else "no fit: passed over by weightwatcher"
        return LayerSpectrum(name, shape, count, note=note)
    alpha = float(row["alpha"])
    if not (math.isfinite(alpha) and alpha > 0):
        return LayerSpectrum(name, shape, int(row["num_evals"]), note="no fit: weightwatcher failed")
    tail = int(row["num_pl_spikes"])
    fit = alpha, float(row["xmin"]), float(row["D"]), tail
    return LayerSpectrum(name, shape, int(row["num_evals"]), *fit, note=str(row["warning"]))


def _analyze(layers: list[nn.Conv2d]) -> list[dict[str, Any]]:
    """The table of weightwatcher; layers that it skips are not in it."""
    with _quiet():
        import weightwatcher  # slow, and it announces itself on import

        model = nn.ModuleList(layers)
        table = weightwatcher.WeightWatcher(model=model).analyze()
    return [] if table is None or "longname" not in table else table.to_dict("records")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence prints, warnings and logging, and undo weightwatcher's changes to the root logger."""
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    logging.disable(logging.CRITICAL)

    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings(action="ignore"))
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            yield

    finally:
        logging.disable(disabled)
        root.handlers[:], root.level = handlers, level
