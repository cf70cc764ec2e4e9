"""For tests: the contract of a backend in one call, and three backends to check a benchmark with.

>>> from braingan.testing import Noise, check_backend
>>> check_backend(Noise())
"""

from braingan.testing.backends import Copycat, Noise, Oracle
from braingan.testing.contract import check_backend

__all__ = ["Copycat", "Noise", "Oracle", "check_backend"]
