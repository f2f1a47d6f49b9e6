"""Run commands one after another, in each process that ``torchrun`` starts: a JSON list of argument lists."""

import json
import sys

from opentrans.cli import main
from opentrans.training import devices

devices.stop_processes = lambda: None  # one group for all commands; ending with the process

for words in json.loads(sys.argv[1]):
    if status := main(words):
        sys.exit(status)
