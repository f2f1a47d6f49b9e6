"""Find a network inside any model: by a prefix or a pattern, through whatever wraps it, with helpful errors."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from opentrans.errors import UserError

_SUGGESTIONS = 3
_COMPILED = "OptimizedModule"  # torch.compile's wrapper
_ANOTHER = "give the network that it was made for, or its prefix"


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

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"module {self.prefix!r}" if self.prefix else "the model"


def locate(module: nn.Module, prefix: str = "") -> Located:
    """The part of `module` at `prefix`, a dotted name or a pattern (``*.visual``) that fits exactly one part.

    Raises:
        UserError: nothing, or more than one part, is called so; the message lists the nearest names.
    """
    wrappers = [name for name, part in module.named_modules() if _is_wrapper(part)]
    # A wrapper and what it wraps get the same name here; the later, inner one stays.
    parts = {_unwrap(name, wrappers): part for name, part in module.named_modules()}

    prefix = prefix.rstrip(".")
    names = [prefix] if prefix in parts else [name for name in parts if name and fnmatchcase(name, prefix)]
    if not names:
        problem = f"the model has no such module{describe_nearest(prefix, parts)}"
        raise UserError(f"prefix {prefix!r}", problem, "correct it")
    if len(names) > 1:
        raise UserError(f"prefix {prefix!r}", f"fits {len(names)} modules: {_list(names)}", "give one of them")

    name = names[0]
    start = f"{name}." if name else ""
    return Located(
        prefix=name,
        module=parts[name],
        parameters=_select_below(module.named_parameters(remove_duplicate=False), start, wrappers),
        buffers=_select_below(module.named_buffers(remove_duplicate=False), start, wrappers),
    )


def check_names(wanted: Mapping[str, tuple[int, ...]], located: Located, where: object, kind: str) -> None:
    """Refuse with a `UserError` names or shapes that the located part does not have.

    The message lists the nearest names, or the prefix under which everything would fit, if there is one.

    Args:
        wanted: the shape of each parameter.
        located: the part of the model.
        where: for messages.
        kind: what `wanted` lists (mask, weight, row), for messages.
    """
    state = located.state
    for name, shape in wanted.items():
        if name not in state:
            problem = f"{kind} fits no parameter of {located.title}{describe_nearest(name, state)}"
            raise UserError(f"{where}: {name}", problem, _suggest_prefix(wanted, state))
        if tuple(state[name].shape) != tuple(shape):
            problem = f"{kind} has shape {tuple(shape)}, the model's parameter {tuple(state[name].shape)}"
            raise UserError(f"{where}: {name}", problem, _ANOTHER)


def check_complete(known: Collection[str], located: Located, where: object, artefact: str, remedy: str) -> None:
    """Refuse with a `UserError` a part that has a convolution which `known`, the names of `artefact`, lacks."""
    for name, layer in located.module.named_modules():
        weight = f"{name}.weight"
        if isinstance(layer, nn.Conv2d) and weight in located.parameters and weight not in known:
            raise UserError(f"{where}: {weight}", f"this convolution of the model is not in the {artefact}", remedy)


def describe_nearest(name: str, names: Iterable[str]) -> str:
    """The names most like `name`, in brackets, or nothing."""
    choices = [choice for choice in names if choice]
    # First those that end alike: what is missing is most often a prefix.
    endings = (f".{name}", "." + ".".join(name.split(".")[-3:]))
    same = [choice for ending in endings for choice in sorted(choices, key=len) if choice.endswith(ending)]
    close = difflib.get_close_matches(name, choices, n=_SUGGESTIONS, cutoff=0.4)
    nearest = list(dict.fromkeys([*same, *close]))[:_SUGGESTIONS]
    return f" (nearest names: {', '.join(nearest)})" if nearest else ""


def _suggest_prefix(wanted: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> str:
    first = next(iter(wanted))
    for prefix in (name.removesuffix(first) for name in state if name.endswith(f".{first}")):
        if all(prefix + name in state and state[prefix + name].shape == shape for name, shape in wanted.items()):
            return f"it fits under prefix {prefix.rstrip('.')!r}"
    return _ANOTHER


def _is_wrapper(part: nn.Module) -> bool:
    return isinstance(part, DataParallel | DistributedDataParallel) or type(part).__name__ == _COMPILED


def _unwrap(name: str, wrappers: list[str]) -> str:
    """`name` without the component that each wrapper adds for what it wraps."""
    parts = name.split(".")
    own = (part for index, part in enumerate(parts) if ".".join(parts[:index]) not in wrappers or not part)
    return ".".join(own)


def _select_below(named: Iterable[tuple[str, Tensor]], start: str, wrappers: list[str]) -> dict:
    clean = ((_unwrap(name, wrappers), tensor) for name, tensor in named)
    return {name.removeprefix(start): tensor for name, tensor in clean if name.startswith(start)}


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:_SUGGESTIONS])
    return shown if len(names) <= _SUGGESTIONS else f"{shown}, ..."
