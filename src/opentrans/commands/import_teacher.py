"""Turn published CLIP weights into the teacher's artefact."""

import argparse

from opentrans.commands._arguments import add_output

HELP = "import open_clip weights (teacher.architecture, teacher.pretrained) as the teacher"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_output(parser, "teacher to write (safetensors)")


def run(args: argparse.Namespace) -> None:
    """Import and write."""
    from opentrans.clip.importing import import_teacher
    from opentrans.errors import UserError

    settings = args.config.teacher
    if settings.pretrained is None:
        raise UserError("config: teacher.pretrained", "missing", "name an open_clip tag or file, or use train-teacher")
    import_teacher(settings.architecture, settings.pretrained).save(args.output)
