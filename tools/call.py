"""How a tool ends."""

import sys
from collections.abc import Callable

from opentrans.errors import UserError


def call(main: Callable[[], None]) -> None:
    """Call `main`; a `UserError` becomes one line on standard error and exit status 2, as with a command."""
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
