"""Find the backbone inside any model: by a prefix or a pattern, through whatever wraps it, with helpful errors."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from opentrans.errors import UserError

SUGGESTIONS = 3
COUNTER = "num_batches_tracked"  # frozen batch norms of other frameworks keep no such counter
COMPILED = "OptimizedModule"  # torch.compile's wrapper


@dataclass(frozen=True)
class Located:
    """A part of a model. Names are relative to it, without the parts that wrappers (DDP, torch.compile) add."""

    prefix: str
    module: nn.Module
    parameters: Mapping[str, nn.Parameter]
    buffers: Mapping[str, Tensor]

    @property
    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        return {**self.parameters, **self.buffers}


def locate(module: nn.Module, prefix: str = "") -> Located:
    """The part of `module` at `prefix`, a dotted name or a pattern (``*.visual``) that fits exactly one part.

    Raises:
        UserError: nothing, or more than one part, is called so; the message lists the nearest names.
    """
    wrappers = [name for name, part in module.named_modules() if _is_wrapper(part)]
    parts = {_unwrap(name, wrappers): part for name, part in module.named_modules()}  # the innermost of a wrapper wins
    prefix = prefix.rstrip(".")
    names = [prefix] if prefix in parts else [name for name in parts if name and fnmatchcase(name, prefix)]
    if not names:
        raise UserError(f"prefix {prefix!r}", f"the model has no such module{nearest(prefix, parts)}", "correct it")
    if len(names) > 1:
        raise UserError(f"prefix {prefix!r}", f"fits {len(names)} modules: {_list(names)}", "give one of them")
    found, start = names[0], f"{names[0]}." if names[0] else ""
    return Located(
        prefix=found,
        module=parts[found],
        parameters=_below(module.named_parameters(remove_duplicate=False), start, wrappers),
        buffers=_below(module.named_buffers(remove_duplicate=False), start, wrappers),
    )


def check_names(wanted: Mapping[str, tuple[int, ...]], located: Located, where: object, kind: str) -> None:
    """Refuse with a `UserError` names or shapes that the located part does not have.

    The message lists the nearest names, or the prefix under which everything would fit, if there is one.
    """
    state = located.state
    for name, shape in wanted.items():
        if name not in state:
            place = f"module {located.prefix!r}" if located.prefix else "the model"
            problem = f"{kind} fits no parameter of {place}{nearest(name, state)}"
            raise UserError(f"{where}: {name}", problem, _suggest(wanted, state))
        if tuple(state[name].shape) != tuple(shape):
            problem = f"{kind} has shape {tuple(shape)}, the model's parameter {tuple(state[name].shape)}"
            raise UserError(f"{where}: {name}", problem, "give the prefix of the network that it was made for")


def nearest(name: str, names: Iterable[str]) -> str:
    """The names most like `name`, in brackets, or nothing."""
    choices = [choice for choice in names if choice]
    endings = (f".{name}", "." + ".".join(name.split(".")[-3:]))
    same = [choice for ending in endings for choice in sorted(choices, key=len) if choice.endswith(ending)]
    close = difflib.get_close_matches(name, choices, n=SUGGESTIONS, cutoff=0.4)
    found = list(dict.fromkeys([*same, *close]))[:SUGGESTIONS]
    return f" (nearest names: {', '.join(found)})" if found else ""


def _suggest(wanted: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> str:
    first = next(iter(wanted))
    prefixes = [name.removesuffix(first) for name in state if name.endswith(f".{first}")]
    fits = [
        prefix
        for prefix in prefixes
        if all(prefix + name in state and state[prefix + name].shape == shape for name, shape in wanted.items())
    ]
    if fits:
        return f"it fits under prefix {fits[0].rstrip('.')!r}"
    return "give the prefix of the network that it was made for"


def _is_wrapper(part: nn.Module) -> bool:
    return isinstance(part, DataParallel | DistributedDataParallel) or type(part).__name__ == COMPILED


def _unwrap(name: str, wrappers: list[str]) -> str:
    """`name` without the component that each wrapper adds for what it wraps."""
    parts = name.split(".")
    return ".".join(part for place, part in enumerate(parts) if ".".join(parts[:place]) not in wrappers or not part)


def _below(named: Iterable[tuple[str, Tensor]], start: str, wrappers: list[str]) -> dict:
    clean = ((_unwrap(name, wrappers), tensor) for name, tensor in named)
    return {name.removeprefix(start): tensor for name, tensor in clean if name.startswith(start)}


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:SUGGESTIONS])
    return shown if len(names) <= SUGGESTIONS else f"{shown}, ..."
