"""Which cards a build of torch has code for; without torch, which the caller may have to ask in another process."""

import re
from collections.abc import Sequence


def supports_card(architectures: Sequence[str], capability: tuple[int, int]) -> bool:
    """Whether code for one of `architectures` (``sm_80``, ``compute_120``) runs on a card.

    Machine code runs on later cards of the same major version, intermediate code (``compute``) on all later ones.
    """
    for architecture in architectures:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", architecture)
        if match:
            built = (int(match[2]), int(match[3]))
            same = built[0] == capability[0] or match[1] == "compute"
            if same and built <= capability:
                return True
    return False
