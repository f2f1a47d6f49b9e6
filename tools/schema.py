"""``python -m tools.schema``: the JSON schema by which editors complete and check configuration files."""

import argparse
from pathlib import Path

from opentrans.config.schema import describe_files
from opentrans.system.files import write_json

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/config.schema.json"


def main() -> None:
    """Write the schema, made from the typed configuration."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    write_json(SCHEMA, describe_files())


if __name__ == "__main__":
    main()
