"""What checks the shapes and types of opentrans' functions in the tests; pyproject.toml names it."""

import random
from unittest.mock import patch

# beartype draws which item of a list it looks at. With a generator of its own every round of tests draws the same,
# and Python's state, which is part of a checkpoint, stays as it is.
with patch("random.getrandbits", random.Random(0).getrandbits):
    from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # the tower: an int is a float, as for mypy
