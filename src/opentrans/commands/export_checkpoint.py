"""``export-checkpoint``: an FC-CLIP run as a checkpoint that the published code loads."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_output

HELP = "write an FC-CLIP run for the published code"
GROUP = "use"
EXAMPLE = "opentrans export-checkpoint --run RUN --output fcclip.pth"
OWN_CONFIG = True  # the run's, unless one is given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--run", type=Path, required=True, help="the run's folder or checkpoint, inside its results")
    add_output(parser, "detectron2 checkpoint (.pth)")


def run(args: argparse.Namespace) -> None:
    """Load the run, write it under the published names."""
    from opentrans.clip.weights import load_artefact
    from opentrans.errors import UserError
    from opentrans.evaluation.loading import load_run
    from opentrans.integrations.fcclip import export_state, write_detectron2
    from opentrans.models.fcclip import FcClip
    from opentrans.runs.find import find_run

    found = find_run(args.run, args.config)
    target = load_run(found)
    if not isinstance(target, FcClip):
        raise UserError(args.run, f"is a run of {found.run_id.target}", "give a run of an fcclip target")
    write_detectron2(args.output, export_state(target.state_dict(), load_artefact(found.teacher)[0]))
