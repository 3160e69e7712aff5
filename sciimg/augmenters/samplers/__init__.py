"""Solvers that carry noise to data along a path; one interface, continuous time, float64 state.

``SAMPLERS[name](predict, path, x, times, normal)`` where ``predict(x, t)`` returns the expected (x_0, epsilon) given x_t, ``times`` falls
from about 1 to 0, and ``normal(shape)`` gives fresh noise (used by ``ancestral`` alone). A predictor with a closed form (Gaussian data)
serves as well as a network, which is how their order of convergence is verified.
"""

from sciimg.augmenters.samplers.solvers import SAMPLERS, Normal, Predict, Solver, time_grid

__all__ = ["SAMPLERS", "Normal", "Predict", "Solver", "time_grid"]
